"""Prepare COCO 2017 in a folder: download, check, unpack and count. Parts that are complete are not touched."""
import sys

from ghostdet.cli import door, prepare_coco

if __name__ == '__main__':
    sys.exit(door.run(prepare_coco.main))
