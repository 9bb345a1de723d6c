"""Compare the speed of backbones, detectors, exported files, image loading and COCO evaluation.

python -m benchmarks.speed backbone --preset cpu
python -m benchmarks.speed backbone --preset family    # which backbone should I take?
python -m benchmarks.speed detector retinanet_ghostnet_1.1x_coco --shapes 320x320
python -m benchmarks.speed deploy retinanet_ghostnet_1.1x_coco --images photos/ --scale 320 320
python -m benchmarks.speed deploy --preset light --images photos/    # which detector for a CPU?
python -m benchmarks.speed loading retinanet_ghostnet_1.1x_coco --scale 1333 800 --scale 320 320
python -m benchmarks.speed eval
"""
import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import deploy_speed, eval_speed, loading_speed, network_speed
from benchmarks.contestants import MODES, NETWORKS, PLAIN
from benchmarks.light_table import measure_light, write_light
from benchmarks.network_speed import SpeedOptions
from benchmarks.speed_report import write_speed
from benchmarks.which_one import write_which_one
from ghostdet.cli import door
from ghostdet.cli.door import command_parser
from ghostdet.errors import UserError
from ghostdet.evaluation.fast_coco import check_installed
from ghostdet.files import make_folder, write_whole


def shape(text: str) -> tuple[int, int]:
    """Parse HEIGHTxWIDTH."""
    height, width = map(int, text.split('x'))
    return height, width


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    _backbone(commands.add_parser('backbone', help='backbones in inference or training'))
    _detector(commands.add_parser('detector', help='whole detectors, from the input tensor to the boxes'))
    _deploy(commands.add_parser('deploy',
                                help='exported files and mmdet\'s inference_detector, from image file to boxes'))
    _loading(commands.add_parser('loading', help='image loading by a config\'s pipelines and by mmdet\'s, on one core'))
    _eval(commands.add_parser('eval', help='COCO evaluation by pycocotools and by faster-coco-eval'))
    return parser.parse_args(arguments)


def _races(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--rounds', type=int, default=9, help='how many times to time each one; default 9')
    parser.add_argument('--device', choices=('cpu', 'cuda'), help='default: cpu, or cuda with --preset gpu')
    parser.add_argument('--operators', action='store_true', help='also show the fraction of each PyTorch operator')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'), metavar='DIR',
                        help='default %(default)s')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=('default',), help='default: default')
    parser.add_argument('--shapes', nargs='+', type=shape, default=[(320, 320)], metavar='HxW',
                        help='input sizes in pixels; default 320x320')
    parser.add_argument('--batches', nargs='+', type=int, default=(1,), metavar='N', help='batch sizes; default 1')
    parser.add_argument('--threads', nargs='+', type=int, default=(), metavar='N',
                        help='CPU threads; default: the number that torch uses')
    parser.add_argument('--precisions', nargs='+', choices=network_speed.PRECISIONS, default=('float32',),
                        help='default float32')
    parser.set_defaults(run=_run_races, preset=None)


def _backbone(parser: argparse.ArgumentParser) -> None:
    _races(parser)
    parser.add_argument('--preset', choices=network_speed.PRESETS, help='a prepared list of comparisons')
    parser.add_argument('--task', choices=('inference', 'training'), default='inference', help='default inference')
    parser.add_argument('--networks', nargs='+', choices=NETWORKS, default=PLAIN, metavar='NAME',
                        help=f'choose from {", ".join(NETWORKS)}; default {", ".join(PLAIN)}')


def _detector(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('configs', nargs='+', metavar='CONFIG',
                        help='configs of detectors: files, or names from "ghostdet configs"')
    _races(parser)
    parser.set_defaults(task='detector')


def _run_races(options: argparse.Namespace) -> None:
    chosen = vars(options)
    out = chosen.pop('out')
    chosen = {key: value for key, value in chosen.items() if key not in ('command', 'run')}
    chosen['device'] = options.device or ('cuda' if options.preset == 'gpu' else 'cpu')
    for table in network_speed.run(SpeedOptions(**chosen)):
        write_speed(table, out)  # after each race, so results survive if a later race fails
    if options.preset == 'family':
        write_which_one(table, out)
    print(f'{table.to_text()}\n\ntables and charts: {out}/')


def _deploy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('configs', nargs='*', metavar='CONFIG',
                        help='configs of detectors: files, or names from "ghostdet configs"')
    parser.add_argument('--preset', choices=('light',),
                        help='compare light detectors instead, with what they cost and their AP')
    parser.add_argument('--checkpoint', metavar='FILE',
                        help='trained weights of a single config; default: random weights, which produce many boxes')
    parser.add_argument('--images', type=Path, required=True, metavar='DIR', help='folder of images')
    parser.add_argument('--count', type=int, default=8, help='how many of the images to use; default %(default)s')
    parser.add_argument('--scale', nargs=2, type=int, metavar=('WIDTH', 'HEIGHT'),
                        help='resize images to fit into this size, in pixels; default: the config\'s')
    parser.add_argument('--rounds', type=int, default=9,
                        help='how many times to time each one, in turn; default %(default)s')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark_deploy'), metavar='DIR',
                        help='default %(default)s')
    parser.set_defaults(run=_run_deploy)


def _run_deploy(options: argparse.Namespace) -> None:
    if min(options.count, options.rounds, *(options.scale or [1])) < 1:
        raise UserError('--count, --rounds and --scale have to be at least 1')
    if bool(options.configs) == bool(options.preset) or (options.preset and (options.checkpoint or options.scale)):
        raise UserError('expected either configs, or --preset without --checkpoint and --scale')
    make_folder(options.out, '--out')
    images = loading_speed.images_in(options.images)[:options.count]
    if options.preset:
        table = measure_light(images, options.rounds)
        write_light(table, options.out)
        print(f'{table.to_markdown()}\ntables and chart: {options.out}/')
        return
    speed = deploy_speed.measure(options.configs, options.checkpoint, images, options.scale and tuple(options.scale),
                                 options.rounds)
    write_whole(options.out / 'deploy_speed.md', speed.to_markdown().encode())
    speed.draw(options.out / 'deploy_speed.png')
    print(f'{speed.to_text()}\n\ntable and chart: {options.out}/')


def _loading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config of a detector: a file, or a name from "ghostdet configs"')
    parser.add_argument('--images', type=Path, metavar='DIR', help='folder of images; default: generated JPEGs')
    parser.add_argument('--count', type=int, default=32, help='number of generated images; default 32')
    parser.add_argument('--size', nargs=2, type=int, default=(640, 480), metavar=('WIDTH', 'HEIGHT'),
                        help='size of generated images in pixels; default 640 480, as in most of COCO')
    parser.add_argument('--scale', nargs=2, type=int, action='append', metavar=('WIDTH', 'HEIGHT'),
                        help='resize images to fit into this size, in pixels; can be repeated; default 1333 800 and '
                             '320 320')
    parser.add_argument('--pairs', type=int, default=5, help='how many times to time each one, in turn; default 5')
    parser.add_argument('--out', type=Path, metavar='FILE.md', help='also write the table to this file')
    parser.set_defaults(run=_run_loading)


def _run_loading(options: argparse.Namespace) -> None:
    scales = [tuple(scale) for scale in options.scale or ((1333, 800), (320, 320))]
    if min(options.count, options.pairs, *options.size, *(side for scale in scales for side in scale)) < 1:
        raise UserError('--count, --pairs, --size and --scale have to be at least 1')
    with tempfile.TemporaryDirectory() as folder:
        images = (loading_speed.images_in(options.images) if options.images
                  else loading_speed.made_up(Path(folder), options.count, tuple(options.size)))
        speed = loading_speed.measure(options.config, images, scales, options.pairs)
    print(speed.to_text())
    if options.out:
        make_folder(options.out.parent, '--out')
        write_whole(options.out, speed.to_markdown().encode())


def _eval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--images', type=int, default=5000, help='number of images; default 5000')
    parser.add_argument('--detections', type=int, default=100, help='detections in each image; default 100')
    parser.add_argument('--kinds', type=int, default=12,
                        help='maximum number of classes in the detections of one image; default 12')
    parser.add_argument('--pairs', type=int, default=3, help='how many times to time each one, in turn; default 3')
    parser.set_defaults(run=_run_eval)


def _run_eval(options: argparse.Namespace) -> None:
    if min(options.images, options.detections, options.kinds, options.pairs) < 1:
        raise UserError('--images, --detections, --kinds and --pairs have to be at least 1')
    check_installed()
    with tempfile.TemporaryDirectory() as folder:
        print(eval_speed.compare(options.images, options.detections, options.kinds, options.pairs,
                                 Path(folder)).to_text())


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write tables and charts."""
    options = parse(arguments)
    options.run(options)


if __name__ == '__main__':
    sys.exit(door.run(main))
