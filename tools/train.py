"""Train a detector, evaluate it, and leave checkpoints, tables, curves and pictures in the work directory."""
import sys

from ghostdet.cli import door, train

if __name__ == '__main__':
    sys.exit(door.run(train.main))
