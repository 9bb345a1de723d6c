"""Reproduce the paper's table 9: train its unfinished detectors and compare the results with the paper.

ghostdet reproduce --data-root data/coco --work-dir work_dirs/table9
"""
import argparse
import signal
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.training.reproduction import Reproduction
from ghostdet.training.table9 import CELLS


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('--data-root', type=Path, help='folder with COCO 2017, as "ghostdet prepare-coco" prepares it')
    parser.add_argument('--mini', action='store_true', help='rehearse with the small built-in data')
    parser.add_argument('--work-dir', type=Path,
                        help='folder for the runs and the table; default work_dirs/table9[_mini]')
    parser.add_argument('--gpus', type=int, metavar='N',
                        help='number of GPUs; default: the largest number that splits 16 images evenly')
    parser.add_argument('--images-per-gpu', type=int, metavar='N',
                        help='lower it if memory is short; each step still has 16 images')
    parser.add_argument('--family', action='store_true',
                        help='also train RepGhostNet, GhostNetV2 and GhostNetV3; paper: none')
    parser.add_argument('--only', nargs='+', metavar='WORD',
                        help=f'run only detectors whose names contain one of the words; the names: {", ".join(CELLS)}')
    parser.add_argument('--seed', type=int, default=0, help='random seed; use one work directory for each seed')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='config settings to replace')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train the detectors that are not trained yet, and print table 9."""
    options = vars(parse(arguments))
    words, work_dir = options.pop('only'), options.pop('work_dir')
    work_dir = work_dir or Path('work_dirs') / ('table9_mini' if options['mini'] else 'table9')
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM, like Ctrl-C, lets the training run save first
    print(Reproduction(work_dir, **options).run(words).to_text())
    print(f'\n{work_dir}/table9.md, .json, .png')
