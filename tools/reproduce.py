"""Reproduce the paper's table 9: train the unfinished ones of its six detectors, and compare the results with the paper."""
import sys

from ghostdet.cli import door, reproduce

if __name__ == '__main__':
    sys.exit(door.run(reproduce.main))
