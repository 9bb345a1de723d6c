"""Look at a data set before a run: check it, count it, and draw twelve images with their boxes.

ghostdet data photos/
ghostdet data photos/ --tiles 416 --out photos_tiles/
"""
from ghostdet.cli.arguments import parse_options
from ghostdet.data.category_order import match_classes
from ghostdet.data.copies import check_empty, shared_images, write_coco
from ghostdet.data.depth import depth_of
from ghostdet.data.overview import write_overview
from ghostdet.data.sources import check_val_fraction, crowds_as_objects, find_sources, part_of
from ghostdet.data.tiled import Cutting, write_tiles
from ghostdet.files import make_folder
from ghostdet.messages import LOGGER
from ghostdet.options import LookOptions


def main(arguments: list[str] | None = None) -> None:
    """Check, print and draw."""
    options = parse_options(LookOptions, __doc__, arguments)
    cutting = Cutting.of(options)
    if options.out:
        check_empty(options.out)  # before the data set is read, which can take minutes
    make_folder(options.work_dir, '--work-dir')
    check_val_fraction(options.val_fraction, options.val_split, options.val_ann, options.val_img)
    readers = find_sources(options.data_root, options.train_split, options.val_split, not options.ignore_orientation,
                           **options.named)
    sources = match_classes({name: read() for name, read in readers.items()
                             if name == 'train' or not options.val_fraction})
    if options.crowds_are_objects:
        sources = {name: crowds_as_objects(source) for name, source in sources.items()}
    splits = [source.check(options.skip_bad) for source in sources.values()]
    if options.val_fraction:
        splits = [part_of(splits[0], name, options.val_fraction) for name in ('train', 'val')]
    bits = depth_of(splits, options.bits)
    if len(splits) == 1:
        LOGGER.warning('there is no val split: a run would evaluate on its training images. --val-fraction 0.2 cuts '
                       'one off')
    for checked in splits[1:]:
        checked.notes += shared_images(splits[0], checked)
    for checked in splits:
        print(f'\n{write_overview(checked, options.work_dir)}{options.work_dir / checked.split.name}.png')
    if options.out and cutting:
        print(f'\n{write_tiles(splits, options.out, cutting)}')
    elif options.out:
        write_coco(splits, options.out)
    if options.out:
        again = ['--ignore-orientation'] * options.ignore_orientation + [f'--bits {bits}'] * bool(cutting and bits)
        print(f'\n{options.out}/' + (f'; use it with {" ".join(again)}, too' if again else ''))
