"""Write a trained detector as a file that finds boxes without PyTorch, and compare it with the checkpoint."""
import sys

from ghostdet.cli import door, export

if __name__ == '__main__':
    sys.exit(door.run(export.main))
