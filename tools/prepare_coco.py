"""COCO 2017 made ready in a folder: fetched, checked, unpacked and counted; what is there already is left alone."""
import sys

from ghostdet.cli import door, prepare_coco

if __name__ == '__main__':
    sys.exit(door.run(prepare_coco.main))
