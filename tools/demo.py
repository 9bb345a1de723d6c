"""A page on this machine where one drops an image and sees boxes, scores and the time they took."""
import sys

from ghostdet.cli import demo, door

if __name__ == '__main__':
    sys.exit(door.run(demo.main))
