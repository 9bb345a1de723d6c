"""Find objects in images, folders, videos and streams. Write the images with boxes, and all boxes in COCO format.

ghostdet predict detector.xml photos/ clip.mp4 --out found
ghostdet predict ghostdet://nanodet-plus-m_416 photos/ --out found    # a published detector of COCO's 80 classes
ghostdet predict detector.xml rtsp://camera/live --out clip.mp4 --show
"""
import argparse
import signal
from contextlib import ExitStack
from math import inf
from pathlib import Path

from ghostdet.cli.arguments import tile_side, with_auto
from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.infer.batch import Results, Watcher, predict
from ghostdet.infer.cores import usable_cores
from ghostdet.infer.detector import Detector
from ghostdet.infer.inputs import UNCERTAIN, Source, find_sources
from ghostdet.infer.label_files import FORMATS, LabelFiles
from ghostdet.infer.recording import Recording
from ghostdet.infer.sessions import HINTS
from ghostdet.infer.stream import TIMEOUT, Stream, is_stream, redacted
from ghostdet.infer.tiles import Tiles
from ghostdet.infer.uncertain import Uncertain
from ghostdet.infer.watching import Window, watch
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
    parser = _parser()
    options, unknown = parser.parse_known_intermixed_args(with_auto(arguments))
    if unknown:  # argparse would print the password in an address
        parser.error(f'unrecognized arguments: {" ".join(map(redacted, unknown))}')
    if not options.inputs:
        parser.error('the following arguments are required: INPUT' + (
            ' (put --classes behind them: it takes all words that follow)' if options.classes else ''))
    stream = _stream(options.inputs, options.follow)
    if stream is None and options.out is None:
        parser.error('the following arguments are required: --out')
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM, like Ctrl-C, keeps the results so far
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise UserError(f'--threshold {options.threshold}: expected a number from 0 to 1')
    if stream is None:
        _predict(options)
    else:
        _watch(stream, options)


def _predict(options: argparse.Namespace) -> None:
    """Find objects in images, folders and videos, and print a summary."""
    if options.show or options.seconds is not None:
        raise UserError('--show and --seconds are for cameras, addresses and --follow')
    if options.uncertain is not None and options.uncertain < 1:
        raise UserError(f'--uncertain {options.uncertain}: expected a number of images, at least 1')
    sources = find_sources([Path(name) for name in options.inputs], options.out)
    detector, threshold = _opened(options, inf if any(source.is_video for source in sources) else len(sources))
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


def _opened(options: argparse.Namespace, images: float = 1) -> tuple[Detector, float | list[float]]:
    """Return the detector, and its threshold or one for each class.

    Args:
        images: number of images that are there at once; so many are in the network at the same time, one on each core.
    """
    cores = options.threads or usable_cores()
    requests = cores if options.tiles else int(min(cores, images))
    detector = Detector(options.model, options.precision, options.threads, options.config, options.trust_checkpoint,
                        options.ignore_orientation, not options.no_self_check,
                        tiles=Tiles.chosen(options.tiles, options.tile_overlap, options.whole), requests=requests)
    threshold = _threshold(detector, options.threshold, options.thresholds_by_class)
    return detector, detector.thresholds_for(options.classes, threshold) if options.classes else threshold


def _stream(inputs: list[str], follow: bool) -> Stream | None:
    """Return the stream among the inputs; None if they are images, folders and complete videos.

    Raises:
        UserError: there are other inputs beside a stream, or --follow has no file.
    """
    streams = [name for name in inputs if is_stream(name)]
    if (streams or follow) and len(inputs) > 1:
        raise UserError(f'{redacted((streams or inputs)[0])} is a stream: run one command for each stream, without '
                        'other inputs')
    if follow and not Path(inputs[0]).is_file():
        raise UserError(f'--follow reads a video file that grows, and {redacted(inputs[0])} is not a file')
    return Stream(inputs[0], follow) if streams or follow else None


def _watch(stream: Stream, options: argparse.Namespace) -> None:
    """Find objects in a stream, and print a summary."""
    if options.out is None and not options.show:
        raise UserError(f'{stream.name}: choose --out FILE to record it, --show to see it, or both')
    if options.format or options.uncertain is not None:
        raise UserError('--format and --uncertain are for images, not for a stream')
    if options.seconds is not None and not options.seconds > 0:
        raise UserError(f'--seconds {options.seconds}: expected a number above 0')
    window = Window(f'ghostdet: {stream.name}') if options.show else None
    recording = Recording(options.out, not options.no_pictures) if options.out is not None else None
    detector, threshold = _opened(options)
    summary = watch(detector, stream, threshold, recording, window, options.seconds)
    if not summary.frames:
        raise UserError(f'{stream.name}: no frame arrived in {summary.seconds:.0f} s')
    print(summary.to_text() + (f'; results: {recording}' if recording else ''))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument('model',
                        help='checkpoint, the folder of a run, file of "ghostdet export" (.onnx, .xml, '
                             '.ncnn.param), or ghostdet://NAME')
    parser.add_argument('inputs', nargs='*', metavar='INPUT',
                        help='image, folder or video; or one stream: a camera (0) or an address (rtsp://, rtmp://, '
                             'http://, https://), in which $NAME stands for a variable of the environment')
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='folder for images and detections.json; of a stream: the recording (.mp4, .mkv, .avi), '
                             'with a .jsonl file beside it')
    _add_stream_options(parser)
    parser.add_argument('--threshold', type=float,
                        help='confidence threshold: drop boxes with a lower score; default: the one with the best F1 '
                             f'when the detector was evaluated, or {DEFAULT_THRESHOLD} if it is not known')
    parser.add_argument('--thresholds-by-class', action='store_true',
                        help='use for each class the threshold with its own best F1')
    _add_options_of_boxes(parser)
    parser.add_argument('--no-pictures', action='store_true', help='draw no images and videos')
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


def _add_options_of_boxes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--tiles', nargs='?', const=True, default=False, type=tile_side, metavar='N', help=TILES)
    parser.add_argument('--tile-overlap', type=int, metavar='N', help=TILE_OVERLAP.replace('%', '%%'))
    parser.add_argument('--whole', action='store_true', help=WHOLE)
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='keep only boxes of these classes; default: all')
    parser.add_argument('--format', choices=FORMATS,
                        help='also write labels for a person to correct, with their images, to labels_FORMAT in --out')
    parser.add_argument('--uncertain', type=int, metavar='N',
                        help='also list the N images with the most mistakes to expect, and draw some of them')


def _add_stream_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--show', action='store_true',
                        help='show a stream in a window; q or Esc ends it. Needs opencv-python in place of '
                             'opencv-python-headless')
    parser.add_argument('--seconds', type=float, metavar='N', help='end a stream after N seconds')
    parser.add_argument('--follow', action='store_true',
                        help=f'the input is a video file that grows: end when it has not grown for {TIMEOUT} s')


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
    if results.images and not results.boxes:
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
