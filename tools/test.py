"""Evaluate a checkpoint or an exported file. Write COCO's table, the detections and an image to the work directory."""
import sys

from ghostdet.cli import door, test

if __name__ == '__main__':
    sys.exit(door.run(test.main))
