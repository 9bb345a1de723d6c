"""Serve a demo page: drop an image, see its boxes, scores and the time they took."""
import sys

from ghostdet.cli import demo, door

if __name__ == '__main__':
    sys.exit(door.run(demo.main))
