"""How fast a config's pipelines load images: as mmdet ships them and as they are, beside the detector, all on one core.

python tools/benchmark_loading.py configs/retinanet_ghostnet_1.1x_coco.py --scale 1333 800 --scale 320 320
"""
import argparse
import sys
import tempfile
from pathlib import Path

from ghostdet import command
from ghostdet.analysis.loading_speed import images_in, made_up, measure
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of a detector')
    parser.add_argument('--images', type=Path, metavar='DIR', help='folder of images; default: JPEGs made up from a seed')
    parser.add_argument('--count', type=int, default=32, help='of made-up images; default 32')
    parser.add_argument('--size', nargs=2, type=int, default=(640, 480), metavar=('WIDTH', 'HEIGHT'),
                        help='of made-up images in pixels; default 640 480, as most of COCO')
    parser.add_argument('--scale', nargs=2, type=int, action='append', metavar=('WIDTH', 'HEIGHT'),
                        help='that images have to fit into, in pixels; may be given again; default 1333 800 and 320 320')
    parser.add_argument('--pairs', type=int, default=5, help='how many times each is timed, in turn; default 5')
    parser.add_argument('--out', type=Path, metavar='FILE.md', help='write the table too')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Parse, measure, tell."""
    options = parse(arguments)
    scales = [tuple(scale) for scale in options.scale or ((1333, 800), (320, 320))]
    if min(options.count, options.pairs, *options.size, *(side for scale in scales for side in scale)) < 1:
        raise UserError('--count, --pairs, --size and --scale have to be at least 1')
    with tempfile.TemporaryDirectory() as folder:
        images = images_in(options.images) if options.images else made_up(Path(folder), options.count, tuple(options.size))
        speed = measure(options.config, images, scales, options.pairs)
    print(speed.to_text())
    if options.out:
        make_folder(options.out.parent, '--out')
        write_whole(options.out, speed.to_markdown().encode())


if __name__ == '__main__':
    sys.exit(command.run(main))
