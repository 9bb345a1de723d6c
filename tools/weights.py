"""List, download, check and convert published weights."""
import sys

from ghostdet.cli import door, weights

if __name__ == '__main__':
    sys.exit(door.run(weights.main))
