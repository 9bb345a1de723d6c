"""How fast a detector's exported files are, from an image's file to its boxes, beside mmdet's inference_detector.

python tools/benchmark_deploy.py configs/retinanet_ghostnet_1.1x_coco.py --images photos/ --scale 320 320
"""
import argparse
import sys
from pathlib import Path

from ghostdet import command
from ghostdet.analysis.deploy_speed import measure
from ghostdet.analysis.loading_speed import images_in
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of a detector')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; default: random weights, with which much is found')
    parser.add_argument('--images', type=Path, required=True, metavar='DIR', help='folder of images')
    parser.add_argument('--count', type=int, default=8, help='how many of them; default %(default)s')
    parser.add_argument('--scale', nargs=2, type=int, metavar=('WIDTH', 'HEIGHT'),
                        help='that images have to fit into, in pixels; default: the config\'s')
    parser.add_argument('--rounds', type=int, default=9, help='how many times each is timed, in turn; default %(default)s')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark_deploy'), metavar='DIR', help='default %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, measure, tell."""
    options = parse(arguments)
    if min(options.count, options.rounds, *(options.scale or [1])) < 1:
        raise UserError('--count, --rounds and --scale have to be at least 1')
    make_folder(options.out, '--out')
    images = images_in(options.images)[:options.count]
    speed = measure(options.config, options.checkpoint, images, options.scale and tuple(options.scale), options.rounds)
    write_whole(options.out / 'deploy_speed.md', speed.to_markdown().encode())
    speed.draw(options.out / 'deploy_speed.png')
    print(f'{speed.to_text()}\n\ntable and chart: {options.out}/')


if __name__ == '__main__':
    sys.exit(command.run(main))
