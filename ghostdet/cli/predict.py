"""Find objects in images, folders and videos. Write the images with boxes, and all boxes in COCO format.

ghostdet predict detector.xml photos/ clip.mp4 --out found
ghostdet predict ghostdet://nanodet-plus-m_416 photos/ --out found    # a published detector of COCO's 80 classes
"""
import argparse
import signal
from contextlib import ExitStack
from pathlib import Path

from ghostdet.cli.arguments import tile_side, with_auto
from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.infer.batch import Results, Watcher, predict
from ghostdet.infer.detector import Detector
from ghostdet.infer.inputs import UNCERTAIN, Source, find_sources
from ghostdet.infer.label_files import FORMATS, LabelFiles
from ghostdet.infer.sessions import HINTS
from ghostdet.infer.tiles import Tiles
from ghostdet.infer.uncertain import Uncertain
from ghostdet.messages import LOGGER, SHOWN, shorten
from ghostdet.options import (
    DEFAULT_THRESHOLD,
    IGNORE_ORIENTATION,
    NO_SELF_CHECK,
    TILE_OVERLAP,
    TILES,
    TRUST,
    WHOLE,
)


def main(arguments: list[str] | None = None) -> None:
    """Predict, write the results and print a summary."""
    options = _parser().parse_args(with_auto(arguments))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM, like Ctrl-C, keeps the results so far
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise UserError(f'--threshold {options.threshold}: expected a number from 0 to 1')
    if options.uncertain is not None and options.uncertain < 1:
        raise UserError(f'--uncertain {options.uncertain}: expected a number of images, at least 1')
    sources = find_sources(options.inputs, options.out)
    detector = Detector(options.model, options.precision, options.threads, options.config, options.trust_checkpoint,
                        options.ignore_orientation, not options.no_self_check,
                        tiles=Tiles.chosen(options.tiles, options.tile_overlap, options.whole))
    threshold = _threshold(detector, options.threshold, options.thresholds_by_class)
    if options.classes:
        threshold = detector.thresholds_for(options.classes, threshold)
    with ExitStack() as opened:
        watchers: list[Watcher] = []
        if options.format:
            labels = opened.enter_context(_labels(options.format, options.out, sources, detector))
            watchers.append(labels.add)
        if options.uncertain:
            uncertain = Uncertain(options.uncertain, detector, threshold)
            watchers.append(uncertain.add)
        results = predict(detector, sources, options.out, threshold, not options.no_pictures, watchers)
    print(f'{results.to_text()}; results: {options.out}/')
    if options.format:
        print(f'labels of {len(labels.written)} images to correct: {labels.folder}/')
    if options.uncertain:
        names = {name: labels.path(name) for name in labels.names} if options.format else None
        lines = uncertain.write(options.out, names)
        print('\n'.join([f'look at these first ({options.out / UNCERTAIN}):', *lines[:SHOWN]]))
    _print_limits(results)
    if results.failed:
        raise UserError(f'{len(results.failed)} of {len(sources)} inputs were left out; the reasons are above')


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument('model',
                        help='checkpoint, the folder of a run, file of "ghostdet export" (.onnx, .xml, '
                             '.ncnn.param), or ghostdet://NAME')
    parser.add_argument('inputs', nargs='+', type=Path, metavar='INPUT', help='image, folder or video')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='folder for images and detections.json')
    parser.add_argument('--threshold', type=float,
                        help='confidence threshold: drop boxes with a lower score; default: the one with the best F1 '
                             f'when the detector was evaluated, or {DEFAULT_THRESHOLD} if it is not known')
    parser.add_argument('--thresholds-by-class', action='store_true',
                        help='use for each class the threshold with its own best F1')
    parser.add_argument('--tiles', nargs='?', const=True, default=False, type=tile_side, metavar='N', help=TILES)
    parser.add_argument('--tile-overlap', type=int, metavar='N',
                        help=TILE_OVERLAP.replace('%', '%%'))
    parser.add_argument('--whole', action='store_true', help=WHOLE)
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='keep only boxes of these classes; default: all')
    parser.add_argument('--no-pictures', action='store_true', help='draw no images and videos')
    parser.add_argument('--format', choices=FORMATS,
                        help='also write labels for a person to correct, with their images, to labels_FORMAT in --out')
    parser.add_argument('--uncertain', type=int, metavar='N',
                        help='also list the N images with the most mistakes to expect, and draw some of them')
    parser.add_argument('--precision', choices=HINTS, default='fp32',
                        help='arithmetic for an .xml file; default %(default)s')
    parser.add_argument('--threads', type=int, metavar='N',
                        help='CPU cores for the network; default: all that this process may use')
    parser.add_argument('--config', metavar='CONFIG',
                        help='config with the same network; default: the one that the checkpoint carries')
    parser.add_argument('--trust-checkpoint', action='store_true', help=TRUST)
    parser.add_argument('--ignore-orientation', action='store_true', help=IGNORE_ORIENTATION)
    parser.add_argument('--no-self-check', action='store_true', help=NO_SELF_CHECK)
    return parser


def _labels(kind: str, out: Path, sources: list[Source], detector: Detector) -> LabelFiles:
    """Return the label files to write, and say what a person may miss in them."""
    labels = FORMATS[kind](out / f'labels_{kind}', sources, detector.classes)
    if not detector.engine.upright:
        LOGGER.info('the boxes are those of images as they lie in the file: programs that apply the EXIF orientation '
                    'show turned images without their boxes')
    if len(labels.names) < len(sources):
        LOGGER.info(f'{len(sources) - len(labels.names)} videos get no labels: extract their frames first')
    return labels


def _print_limits(results: Results) -> None:
    """Say what the threshold and the detector's limit may hide."""
    if results.images and not results.annotations:
        print('no box has a score of at least the threshold: --threshold lowers it')
    if results.full:
        print(f'{results.full} images have {results.max_objects} boxes, the most that this detector returns: there may '
              'be more; to have them, export its checkpoint with --max-objects N')


def _threshold(detector: Detector, chosen: float | None, by_class: bool) -> float | list[float]:
    """Return the threshold, or one for each class, and say which it is if the user has not chosen it.

    Raises:
        UserError: the detector does not know its thresholds.
    """
    if chosen is not None:
        if by_class:
            raise UserError('--threshold and --thresholds-by-class exclude each other: choose one')
        return chosen
    if not detector.knows_threshold and by_class:
        raise UserError(f'{detector.model} does not know thresholds of its classes: they come from the evaluations of '
                        '"ghostdet train". Choose one for all classes with --threshold')
    if by_class:
        LOGGER.info('thresholds: ' + shorten([f'{name} {value:g}' for name, value
                                              in zip(detector.classes, detector.class_thresholds)]))
        return detector.class_thresholds
    LOGGER.info(f'threshold {detector.threshold:g}' + (
        ', with the best F1 when the detector was evaluated' if detector.knows_threshold else
        ': the best one is not known') + '; --threshold changes it')
    return detector.threshold
