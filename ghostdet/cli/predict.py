"""Find objects in images, folders and videos: pictures with boxes, and all boxes in COCO's format.

python tools/predict.py detector.xml photos/ clip.mp4 --out found
"""
import argparse
import signal
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.predict.batch import predict
from ghostdet.predict.detector import Detector
from ghostdet.predict.inputs import find_sources
from ghostdet.runtime.sessions import HINTS


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument('model', help='checkpoint, or .onnx or .xml of tools/export.py')
    parser.add_argument('inputs', nargs='+', type=Path, metavar='INPUT', help='image, folder or video')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for pictures and detections.json')
    parser.add_argument('--threshold', type=float, default=0.3, help='the least score of a box; default %(default)s')
    parser.add_argument('--no-pictures', action='store_true', help='write detections.json alone')
    parser.add_argument('--precision', choices=HINTS, default='fp32', help='what an .xml is computed in; default %(default)s')
    parser.add_argument('--threads', type=int, metavar='N', help='processor cores for the network; default all')
    parser.add_argument('--config', metavar='FILE', help='config of a checkpoint that does not hold it')
    parser.add_argument('--trust-checkpoint', action='store_true', help='open a checkpoint file that holds more than data')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, predict, tell."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops it keeps what was found
    if not 0 <= options.threshold <= 1:
        raise UserError(f'--threshold {options.threshold}: scores are from 0 to 1')
    sources = find_sources(options.inputs, options.out)
    detector = Detector(options.model, options.precision, options.threads, options.config, options.trust_checkpoint)
    results = predict(detector, sources, options.out, options.threshold, not options.no_pictures)
    print(f'{results.to_text()}; all of it: {options.out}/')
    if results.failed:
        raise UserError(f'{len(results.failed)} of {len(sources)} inputs were left out, for the reasons above')
