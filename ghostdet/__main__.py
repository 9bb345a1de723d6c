"""`python -m ghostdet` is the command `ghostdet`."""
import sys

from ghostdet.cli.command import main

if __name__ == '__main__':
    sys.exit(main())
