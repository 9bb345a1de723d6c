"""Find objects in images, folders and videos. Write pictures with boxes, and all boxes in COCO format."""
import sys

from ghostdet.cli import door, predict

if __name__ == '__main__':
    sys.exit(door.run(predict.main))
