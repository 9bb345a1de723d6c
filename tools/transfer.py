"""Test at small scale if pretraining helps: train a detector from scratch and from a classifier, both on generated pictures."""
import sys

from ghostdet.cli import door, transfer

if __name__ == '__main__':
    sys.exit(door.run(transfer.main))
