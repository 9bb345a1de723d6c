"""Export a trained detector to a file that runs without PyTorch, and compare the file with the checkpoint."""
import sys

from ghostdet.cli import door, export

if __name__ == '__main__':
    sys.exit(door.run(export.main))
