"""Look at a data set before a run: check it, count it, and draw twelve images with their boxes.

ghostdet data photos/
"""
import argparse
from pathlib import Path

from ghostdet.cli.data_flags import add_data_flags
from ghostdet.cli.door import command_parser
from ghostdet.data.coco import check_same_classes, class_names
from ghostdet.data.copies import shared_images, write_coco
from ghostdet.data.overview import write_overview
from ghostdet.data.sources import check_val_fraction, find_sources, part_of
from ghostdet.files import make_folder
from ghostdet.messages import LOGGER


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('data_root', type=Path, metavar='DIR', help='folder of the data set')
    add_data_flags(parser.add_argument)
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='also write the data set in COCO\'s layout to this folder')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/data'), metavar='DIR',
                        help='folder for the pictures with boxes; default %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Check, print and draw."""
    options = parse(arguments)
    make_folder(options.work_dir, '--work-dir')
    check_val_fraction(options.val_fraction, options.val_split, options.val_ann, options.val_img)
    readers = find_sources(
        options.data_root, options.train_split, options.val_split, not options.ignore_orientation,
        train_ann=options.train_ann, train_img=options.train_img, val_ann=options.val_ann, val_img=options.val_img)
    sources = {name: read() for name, read in readers.items() if name == 'train' or not options.val_fraction}
    classes = {name: class_names(source.content, source.split.annotations) for name, source in sources.items()}
    check_same_classes(classes, {name: source.split for name, source in sources.items()})
    splits = [source.check(options.skip_bad) for source in sources.values()]
    if options.val_fraction:
        splits = [part_of(splits[0], name, options.val_fraction) for name in ('train', 'val')]
    if len(splits) == 1:
        LOGGER.warning('there is no val split: a run would evaluate on its training images. --val-fraction 0.2 cuts '
                       'one off')
    for checked in splits:
        if checked is not splits[0]:
            checked.notes += shared_images(splits[0], checked)
        print(f'\n{write_overview(checked, options.work_dir)}{options.work_dir / checked.split.name}.png')
    if options.out:
        write_coco(splits, options.out)
        print(f'\n{options.out}/' + ('; use it with --ignore-orientation, too' if options.ignore_orientation else ''))
