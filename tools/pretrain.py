"""Train the ImageNet classifier whose weights a detector starts from, on ImageNet or any folder in its layout.

python tools/pretrain.py configs/pretrain/ghostnet_1.1x_imagenet.py --data-root /data/imagenet
"""
import argparse
import sys
from pathlib import Path

from ghostdet import command
from ghostdet.engine import console
from ghostdet.engine.pretrain import pretrain


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', type=Path, help='folder for logs and checkpoints; default ./work_dirs/CONFIG')
    parser.add_argument('--data-root', type=Path, help='folder with train/CLASS/*.jpg and val/CLASS/*.jpg')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='auto|FILE', help='go on from the last checkpoint, or FILE')
    parser.add_argument('--cfg-options', nargs='+', action=console.Options, default={}, metavar='KEY=VALUE',
                        help='settings to replace')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='job launcher')
    parser.add_argument('--trust-checkpoint', action='store_true', help='open a checkpoint that holds more than data')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, train, print the accuracy."""
    for name, value in pretrain(parse(arguments)).items():
        print(f'{name}: {value:.2f}')


if __name__ == '__main__':
    sys.exit(command.run(main))
