"""Find objects in images, folders and videos. Write the images with boxes, and all boxes in COCO format.

ghostdet predict detector.xml photos/ clip.mp4 --out found
ghostdet predict ghostdet://nanodet-plus-m_416 photos/ --out found    # a published detector of COCO's 80 classes
"""
import signal
from pathlib import Path

from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.infer.batch import predict
from ghostdet.infer.detector import Detector
from ghostdet.infer.inputs import find_sources
from ghostdet.infer.sessions import HINTS
from ghostdet.options import IGNORE_ORIENTATION, NO_SELF_CHECK, TRUST


def main(arguments: list[str] | None = None) -> None:
    """Predict, write the results and print a summary."""
    parser = command_parser(__doc__)
    parser.add_argument('model',
                        help='checkpoint, the folder of a run, file of "ghostdet export" (.onnx, .xml, '
                             '.ncnn.param), or ghostdet://NAME')
    parser.add_argument('inputs', nargs='+', type=Path, metavar='INPUT', help='image, folder or video')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='folder for images and detections.json')
    parser.add_argument('--threshold', type=float, default=0.3,
                        help='confidence threshold: drop boxes with a lower score; default %(default)s')
    parser.add_argument('--no-pictures', action='store_true', help='write only detections.json')
    parser.add_argument('--precision', choices=HINTS, default='fp32',
                        help='arithmetic for an .xml file; default %(default)s')
    parser.add_argument('--threads', type=int, metavar='N',
                        help='CPU cores for the network; default: all that this process may use')
    parser.add_argument('--config', metavar='CONFIG',
                        help='config with the same network; default: the one that the checkpoint carries')
    parser.add_argument('--trust-checkpoint', action='store_true', help=TRUST)
    parser.add_argument('--ignore-orientation', action='store_true', help=IGNORE_ORIENTATION)
    parser.add_argument('--no-self-check', action='store_true', help=NO_SELF_CHECK)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM, like Ctrl-C, keeps the results so far
    if not 0 <= options.threshold <= 1:
        raise UserError(f'--threshold {options.threshold}: expected a number from 0 to 1')
    sources = find_sources(options.inputs, options.out)
    detector = Detector(options.model, options.precision, options.threads, options.config, options.trust_checkpoint,
                        options.ignore_orientation, not options.no_self_check)
    results = predict(detector, sources, options.out, options.threshold, not options.no_pictures)
    print(f'{results.to_text()}; results: {options.out}/')
    if results.images and not results.annotations:
        print(f'no box has a score of at least {options.threshold:g}: --threshold lowers this')
    if results.full:
        print(f'{results.full} images have {results.max_objects} boxes, the most that this detector returns: there may '
              'be more; export or test with --max-objects N')
    if results.failed:
        raise UserError(f'{len(results.failed)} of {len(sources)} inputs were left out; the reasons are above')
