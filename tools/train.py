"""Train and evaluate a detector. Write checkpoints, tables, curves and images to the work directory."""
import sys

from ghostdet.cli import door, train

if __name__ == '__main__':
    sys.exit(door.run(train.main))
