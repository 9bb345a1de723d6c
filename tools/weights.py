"""Published ImageNet weights: what there is, fetching, converting to the authors' names, and checking a file."""
import sys

from ghostdet.cli import door, weights

if __name__ == '__main__':
    sys.exit(door.run(weights.main))
