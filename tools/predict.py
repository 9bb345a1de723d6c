"""Find objects in images, folders and videos: pictures with boxes, and all boxes in COCO's format."""
import sys

from ghostdet.cli import door, predict

if __name__ == '__main__':
    sys.exit(door.run(predict.main))
