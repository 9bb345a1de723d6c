"""Draw a layer's feature maps, mark the most similar pairs, and measure how well primary maps predict cheap ones."""
import sys

from ghostdet.cli import door, visualize

if __name__ == '__main__':
    sys.exit(door.run(visualize.main))
