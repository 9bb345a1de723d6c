"""Train the ImageNet classifier whose weights a detector starts from, on ImageNet or any folder in its layout."""
import sys

from ghostdet.cli import door, pretrain

if __name__ == '__main__':
    sys.exit(door.run(pretrain.main))
