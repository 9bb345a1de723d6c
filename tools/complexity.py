"""Count parameters and multiply-accumulates of detectors, by part, and of their backbones as ImageNet classifiers."""
import sys

from ghostdet.cli import complexity, door

if __name__ == '__main__':
    sys.exit(door.run(complexity.main))
