"""Score detections against annotations, both in COCO's format, as COCO's evaluation does.

ghostdet score instances_val2017.json detections.bbox.json
"""
import json
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError, reason
from ghostdet.evaluation.coco_table import evaluate


def main(arguments: list[str] | None = None) -> None:
    """Evaluate, and print COCO's table."""
    parser = command_parser(__doc__)
    parser.add_argument('annotations', type=Path, help='annotation file in COCO format')
    parser.add_argument('detections', type=Path, help='JSON list of detections: image_id, category_id, bbox, score')
    parser.add_argument('--fast-eval', action='store_true',
                        help='use faster-coco-eval (must be installed): the same numbers')
    options = parser.parse_args(arguments)
    for file in (options.annotations, options.detections):
        if not file.is_file():
            raise UserError(f'there is no file {file.absolute()}')
    try:
        if not isinstance(json.loads(options.detections.read_text()), list):
            raise ValueError('no list')
        table = evaluate(options.annotations, options.detections, fast=options.fast_eval)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:  # pycocotools checks nothing
        raise UserError(f'{options.detections} cannot be scored against {options.annotations} ({reason(error)}): '
                        'expected COCO\'s annotation and result formats, with the same image and category ids'
                        ) from error
    print(table.to_text())
