"""Flags that several commands share."""
import argparse
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from ghostdet.cli.data_flags import add_data_flags
from ghostdet.cli.door import command_parser


class KeyValues(DictAction):
    """Parse KEY=VALUE pairs as mmengine does. Anything else is a usage error."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 *others: Any) -> None:
        """Add the pairs to the parsed arguments."""
        odd = [pair for pair in values if '=' not in pair]
        if odd:
            raise argparse.ArgumentError(self, f'expected KEY=VALUE, got {", ".join(map(repr, odd))}')
        super().__call__(parser, namespace, values, *others)


def run_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the flags that training and evaluation share."""
    made = command_parser(description)
    made.add_argument('config', help='config file, or a name from "ghostdet configs"')
    made.add_argument('--work-dir', type=Path, help='folder for logs and results; default ./work_dirs/CONFIG')
    made.add_argument('--cfg-options', nargs='+', action=KeyValues, default={}, metavar='KEY=VALUE',
                      help='config settings to replace, for example optim_wrapper.optimizer.lr=0.01')
    made.add_argument('--fast-eval', action='store_true',
                      help='evaluate with faster-coco-eval (must be installed): same numbers, less time')
    made.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='job launcher')
    made.add_argument('--trust-checkpoint', action='store_true',
                      help='also open checkpoint files that hold more than data; they can run any program with '
                           'your rights')
    data = made.add_argument_group('your own data; classes come from its annotation files')
    data.add_argument('--data-root', type=Path,
                      help='folder of a data set in COCO\'s layout, Roboflow\'s or CVAT\'s COCO export, YOLO or '
                           'Pascal VOC')
    add_data_flags(data.add_argument)
    made.add_argument('--check-expected', action='store_true',
                      help='compare the AP with `expected` in the config; exit code 1 if it is below the tolerance')
    return made
