"""Feature maps of a layer, the most similar ones joined, and how well cheap maps are predicted from their primary ones."""
import sys

from ghostdet.cli import door, visualize

if __name__ == '__main__':
    sys.exit(door.run(visualize.main))
