"""Whether pretraining helps, at small scale: the classifier on generated pictures, then the detector from it and from scratch."""
import sys

from ghostdet.cli import door, transfer

if __name__ == '__main__':
    sys.exit(door.run(transfer.main))
