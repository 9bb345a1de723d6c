"""Evaluate a checkpoint or an exported file; write the COCO table, detections and a picture to the work directory."""
import sys

from ghostdet.cli import door, test

if __name__ == '__main__':
    sys.exit(door.run(test.main))
