"""Train the ImageNet classifier whose weights a detector starts from. Any folder with ImageNet's layout works.

ghostdet pretrain ghostnet_1.1x_imagenet --data-root /data/imagenet
"""
from pathlib import Path

from ghostdet.cli.arguments import KeyValues
from ghostdet.cli.door import command_parser
from ghostdet.training.classifier import pretrain
from ghostdet.training.options import PretrainOptions


def parse(arguments: list[str] | None) -> PretrainOptions:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('config', help='config file, or a name from "ghostdet configs"')
    parser.add_argument('--work-dir', type=Path, help='folder for logs and checkpoints; default ./work_dirs/CONFIG')
    parser.add_argument('--data-root', type=Path, help='folder with train/CLASS/*.jpg and val/CLASS/*.jpg')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='auto|FILE',
                        help='continue from the last checkpoint, or from FILE')
    parser.add_argument('--cfg-options', nargs='+', action=KeyValues, default={}, metavar='KEY=VALUE',
                        help='config settings to replace')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none', help='job launcher')
    parser.add_argument('--trust-checkpoint', action='store_true',
                        help='also open a checkpoint file that holds more than data')
    return PretrainOptions(**vars(parser.parse_args(arguments)))


def main(arguments: list[str] | None = None) -> None:
    """Train, and print the accuracy."""
    for name, value in pretrain(parse(arguments)).items():
        print(f'{name}: {value:.2f}')
