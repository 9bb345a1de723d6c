"""Train the ImageNet classifier whose weights a detector starts from. Any folder with ImageNet's layout works."""
import sys

from ghostdet.cli import door, pretrain

if __name__ == '__main__':
    sys.exit(door.run(pretrain.main))
