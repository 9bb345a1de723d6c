"""Finds, checks and replaces the data sets of a config."""
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config

from ghostdet.data.category_order import in_order, match_classes, spelled_alike
from ghostdet.data.checked import Checked
from ghostdet.data.coco import Split, class_names
from ghostdet.data.loading import COLOURS, LOADING, is_upright
from ghostdet.data.shapes import ShapesSet
from ghostdet.data.sources import Source, part_of
from ghostdet.errors import DataError, UserError
from ghostdet.files import write_json
from ghostdet.messages import brief, shorten

LOADERS = dict(train='train_dataloader', val='val_dataloader', test='test_dataloader')
EVALUATORS = dict(val='val_evaluator', test='test_evaluator')


def configured_splits(cfg: Config, names: tuple[str, ...]) -> dict[str, Split]:
    """Return the splits that the config names. Generates the built-in data if it is missing.

    Raises:
        UserError: a data set is not in COCO's format.
    """
    if cfg.get('shapes'):
        ShapesSet(**cfg.shapes).write(Path(cfg.data_root))
    for name in names:
        kind = dataset_of(cfg, name).type
        if kind != 'CocoDataset':
            raise UserError(f'the config\'s {LOADERS[name]} reads a {kind}: these tools take data in COCO\'s format')
    return {name: split_of(cfg, name) for name in names}


def split_of(cfg: Config, name: str) -> Split:
    """Return the split that the config's loader `name` ('train', 'val' or 'test') reads."""
    dataset = dataset_of(cfg, name)
    root = Path(dataset.get('data_root') or '')
    return Split(name, root / dataset.ann_file, root / dataset.get('data_prefix', {}).get('img', ''))


def classes_of(cfg: Config, name: str) -> tuple[str, ...]:
    """Return the classes of the config's loader `name`; its annotation file may have more."""
    dataset = dataset_of(cfg, name)
    return (dataset.get('metainfo') or {}).get('classes') or DATASETS.get(dataset.type).METAINFO['classes']


def prepare_datasets(cfg: Config, sources: dict[str, Source], replaces: bool, skip_bad: bool, folder: Path,
                     val_fraction: float = 0) -> list[Checked]:
    """Check each split, and set in the config which data a run uses.

    Args:
        sources: splits by the name of the loader that reads them.
        replaces: the splits replace the config's data; the classes come from their annotation files.
        skip_bad: leave bad records out instead of refusing them.
        folder: where to write a corrected copy of an annotation file, if anything was changed or left out.
        val_fraction: fraction of the images of the train split that the other loaders read instead; 0: none. All
            `sources` are the train split then.

    Raises:
        DataError: something is missing or wrong, or the classes are not those of the config or of the other split.
    """
    if replaces:
        sources = match_classes(sources)
        cfg.pop('shapes', None)
    classes = {name: class_names(source.content, source.split.annotations) for name, source in sources.items()}
    for head in heads(cfg.model) if replaces else ():
        head['num_classes'] = len(next(iter(classes.values())))
    results = []
    for name, source in sources.items():
        split, used = source.split, classes[name] if replaces else classes_of(cfg, name)
        _check_classes(classes[name], used, split)
        checked = in_order(source, used, 'the config').check(skip_bad, unlabelled=name == 'test')
        if val_fraction:
            checked = part_of(checked, name, val_fraction)
        _point(cfg, name, _write_cleaned(checked, folder) if checked.changed else split, used)
        results.append(checked)
    return results


def ignore_orientation(cfg: Config) -> None:
    """Make all loaders take the pixels of images as they lie in the file, by mmcv's own setting."""
    for name in LOADERS:
        for step in pipeline_steps(cfg, name, LOADING):
            step['color_type'] = COLOURS[1]
    for step in (step for hook in later_pipelines(cfg) for step in hook['switch_pipeline']):
        if str(step['type']).split('.')[-1] in LOADING:
            step['color_type'] = COLOURS[1]


def later_pipelines(cfg: Config) -> list[dict]:
    """Return the hooks that give the train loader another pipeline, `switch_pipeline`, for the last epochs."""
    return [hook for hook in cfg.get('custom_hooks') or [] if hook.get('switch_pipeline')]


def reads_upright(cfg: Config, name: str) -> bool:
    """Return whether the loader `name` turns images as their EXIF orientation says."""
    return all(is_upright(step.get('color_type', COLOURS[0])) for step in pipeline_steps(cfg, name, LOADING))


def pipeline_steps(cfg: Config, name: str, types: Sequence[str]) -> list[dict]:
    """Return the steps of the given types in a loader's data set and its wrappers, inner ones first."""
    dataset, steps = cfg.get(LOADERS[name], {}).get('dataset', {}), list[dict]()
    while dataset:
        steps = [step for step in dataset.get('pipeline') or [] if str(step['type']).split('.')[-1] in types] + steps
        dataset = dataset.get('dataset')
    return steps


def dataset_of(cfg: Config, name: str) -> Any:
    """Return the data set config of a loader, without wrappers such as RepeatDataset."""
    dataset = cfg[LOADERS[name]].dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def _point(cfg: Config, name: str, split: Split, classes: tuple[str, ...]) -> None:
    """Make a loader and its evaluator read `split`. If val and test read the same file, change both."""
    same = (name == 'val' and cfg.get(LOADERS['test'])
            and split_of(cfg, 'val').annotations == split_of(cfg, 'test').annotations)
    for loader in ('val', 'test') if same else (name,):
        dataset_of(cfg, loader).update(
            data_root='', ann_file=str(split.annotations.absolute()), metainfo=dict(classes=classes),
            data_prefix=dict(img=str(split.images.absolute())))
        if loader in EVALUATORS:
            cfg[EVALUATORS[loader]].ann_file = str(split.annotations.absolute())


def heads(node: Any, key: str = '') -> Iterator[dict]:
    """Yield the parts of a model's config that predict classes, so no region proposal heads."""
    if isinstance(node, dict):
        if 'num_classes' in node and key != 'rpn_head':
            yield node
        for name, child in node.items():
            yield from heads(child, name)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from heads(child, key)


def _check_classes(names: tuple[str, ...], expected: tuple[str, ...], split: Split) -> None:
    """Check that the annotation file has the config's classes.

    It may have more: mmdet ignores categories that the config does not name.

    Raises:
        DataError: a class is missing.
    """
    missing = [label for label in expected if label not in names]
    if missing:
        pairs = spelled_alike(missing, names)
        hint = f' ({brief(pairs[0][1])} differs from {brief(pairs[0][0])} only by case or spaces)' if pairs else ''
        raise DataError(f'{split.annotations} has the classes {shorten(names)}, but the config expects {len(expected)} '
                        f'classes; missing: {shorten(missing)}{hint}. To use the classes of the file, name the data '
                        'with --data-root or --train-ann')


def _write_cleaned(checked: Checked, folder: Path) -> Split:
    """Write the corrected annotations, and a list of what was left out, to `folder`."""
    name = checked.split.name
    write_json(folder / f'{name}.json', checked.content)
    write_json(folder / f'{name}_left_out.json', dict(
        notes=[asdict(note) for note in checked.notes], dropped_boxes=checked.dropped, bad_records=checked.bad))
    return Split(name, folder / f'{name}.json', checked.split.images)
