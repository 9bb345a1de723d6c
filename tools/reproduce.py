"""The paper's table 9: trains what is not finished yet of its six detectors, and writes the table, paper beside measured."""
import sys

from ghostdet.cli import door, reproduce

if __name__ == '__main__':
    sys.exit(door.run(reproduce.main))
