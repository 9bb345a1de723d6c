"""Score detections against annotations, both in COCO's format, as COCO's evaluation does; recommend a threshold.

ghostdet score instances_val2017.json detections.bbox.json
ghostdet score instances_val2017.json detections.bbox.json --precision-at-least 0.95
"""
import json
from argparse import Namespace
from math import isfinite
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError, reason
from ghostdet.evaluation.coco_table import LIMIT, evaluate
from ghostdet.evaluation.mistakes import Mistakes
from ghostdet.evaluation.operating_point import OperatingPoint
from ghostdet.tables import aligned_table


def main(arguments: list[str] | None = None) -> None:
    """Evaluate, and print COCO's table."""
    parser = command_parser(__doc__)
    parser.add_argument('annotations', type=Path, help='annotation file in COCO format')
    parser.add_argument('detections', type=Path, help='JSON list of detections: image_id, category_id, bbox, score')
    parser.add_argument('--fast-eval', action='store_true',
                        help='use faster-coco-eval (must be installed): the same numbers')
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument('--precision-at-least', type=float, default=0., metavar='P',
                        help='choose a threshold with this precision and the most recall; default: the best F1')
    wanted.add_argument('--recall-at-least', type=float, default=0., metavar='R',
                        help='choose a threshold with this recall and the most precision')
    parser.add_argument('--max-objects', type=int, default=LIMIT, metavar='N',
                        help='also count N detections of an image; COCO\'s AP counts %(default)s')
    options = parser.parse_args(arguments)
    _check(options)
    try:
        boxes = json.loads(options.detections.read_text())
        if not isinstance(boxes, list):
            raise ValueError('no list')
        if not all(isfinite(box['score']) for box in boxes):
            raise ValueError('a score is not finite')
        table = evaluate(options.annotations, options.detections, fast=options.fast_eval,
                         max_objects=options.max_objects)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:  # pycocotools checks nothing
        raise UserError(f'{options.detections} cannot be scored against {options.annotations} ({reason(error)}): '
                        'expected COCO\'s annotation and result formats, with the same image and category ids'
                        ) from error
    print(table.to_text())
    point = OperatingPoint.choose(table.matches, options.precision_at_least, options.recall_at_least)
    print(f'\n{aligned_table(point.table())}\n{point.to_line()}')
    mistakes = Mistakes.of(options.annotations, options.detections, point)
    for true, found, number in mistakes.most_confused():
        print(f'{true} taken for {found}: {number}')


def _check(options: Namespace) -> None:
    for name in ('precision_at_least', 'recall_at_least'):
        if not 0 <= getattr(options, name) <= 1:
            raise UserError(f'--{name.replace("_", "-")} {getattr(options, name):g}: expected a number from 0 to 1')
    if options.max_objects < 1:
        raise UserError(f'--max-objects {options.max_objects}: expected a number of at least 1')
    for file in (options.annotations, options.detections):
        if not file.is_file():
            raise UserError(f'there is no file {file.absolute()}')
