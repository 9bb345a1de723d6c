"""Evaluate checkpoints and exported files."""
import json
from collections.abc import Collection
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ghostdet.data.coco import read_annotations
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole
from ghostdet.images.decode import decode, naming, write
from ghostdet.images.drawing import draw
from ghostdet.images.listing import picture_name
from ghostdet.images.opencv import cv2
from ghostdet.infer.checkpoint import CheckpointDetector
from ghostdet.infer.cores import usable_cores
from ghostdet.infer.detections import Detections
from ghostdet.infer.engine import Engine
from ghostdet.infer.exported import ExportedDetector
from ghostdet.infer.ordered import grouped, ordered
from ghostdet.infer.sessions import is_exported
from ghostdet.infer.tiles import TiledEngine, Tiles
from ghostdet.options import DEFAULT_THRESHOLD, EvaluationOptions
from ghostdet.packaged_configs import config_name, packaged_configs
from ghostdet.progress import progress
from ghostdet.training import launch
from ghostdet.training.checkpoints import checkpoint_of
from ghostdet.training.config_file import read_config
from ghostdet.training.datasets import EVALUATORS, classes_of, reads_upright, split_of
from ghostdet.training.max_objects import max_objects_of
from ghostdet.training.plan import RunPlan, plan_evaluation
from ghostdet.training.report import Report, clear_detections, detections_file
from ghostdet.training.training_data import max_objects_for
from ghostdet.weights.class_rows import labels_in_data
from ghostdet.weights.schemes import safe_loading


def evaluate(options: EvaluationOptions) -> Report | None:
    """Evaluate a checkpoint or an exported file; its name says which.

    Returns:
        The report; None in all processes but the first.

    Raises:
        UserError: something is missing or wrong.
    """
    tiles = Tiles.chosen(options.tiles, options.tile_overlap, options.whole)
    is_file = is_exported(options.checkpoint)
    if not is_file and options.precision != 'fp32':
        raise UserError(f'--precision {options.precision} works only with exported files: a checkpoint is evaluated in '
                        'fp32')
    if not is_file and not tiles:
        return launch.evaluate(options)
    _check_options(options, is_file)
    detector, plan = _exported(options) if is_file else _checkpoint(options)
    evaluator = plan.cfg[EVALUATORS['test']]
    if isinstance(tiles, Tiles):
        detector = TiledEngine(detector, tiles)
        evaluator.max_objects = options.max_objects or max_objects_for(plan.checked[0])
    detect(detector, plan.cfg, options)
    return launch.report_of(plan, 'test')


def _exported(options: EvaluationOptions) -> tuple[Engine, RunPlan]:
    """Open an exported file, and decide how to evaluate it."""
    detector = ExportedDetector(options.checkpoint, options.precision, ignore_orientation=options.ignore_orientation,
                                self_check=not options.no_self_check, bits=options.bits,
                                requests=usable_cores())
    if options.tiles is False:
        _check_max_objects(options, detector.max_objects)
    config = options.config or _config_of(detector, options.checkpoint)
    plan = plan_evaluation(read_config(config, options.cfg_options), options)
    if options.max_objects is None and detector.max_objects not in (None, max_objects_of(plan.cfg)):
        plan.cfg[EVALUATORS['test']].max_objects = detector.max_objects  # of a checkpoint with --max-objects
    return detector, plan


def _checkpoint(options: EvaluationOptions) -> tuple[Engine, RunPlan]:
    """Open a checkpoint, and decide how to evaluate it."""
    options = replace(options, checkpoint=checkpoint_of(options.checkpoint))
    with safe_loading(options.trust_checkpoint):
        plan = launch.plan_checkpoint(options)
    return CheckpointDetector(options.checkpoint, None, options.config, options.trust_checkpoint,
                              options.ignore_orientation, options.bits), plan


def _config_of(detector: ExportedDetector, file: str) -> str:
    """Return the name of the packaged config that an exported file was made with.

    Raises:
        UserError: it was made with another config.
    """
    name = config_name(detector.manifest.config)
    if name not in packaged_configs():
        raise UserError(f'{file} was made with the config {name}, which ghostdet does not have: name a config before '
                        'the file, as in "ghostdet test CONFIG FILE"')
    return name


def detect(detector: Engine, cfg: Config, options: EvaluationOptions) -> None:
    """Run a detector on the test images; write its detections to the work directory in COCO's result format.

    Detections of classes that the data does not have are dropped.

    Raises:
        UserError: the file has no class of the data, or takes images in another orientation.
        DataError: an image cannot be read.
    """
    classes = classes_of(cfg, 'test')
    labels = labels_in_data(detector.classes, classes, options.checkpoint)
    if not detector.upright and reads_upright(cfg, 'test'):
        raise UserError(f'{options.checkpoint} was trained on pixels as they lie in the file: add --ignore-orientation')
    clear_detections(Path(cfg.work_dir))
    split = split_of(cfg, 'test')
    content = read_annotations(split, unlabelled=True)
    ids = {category['name']: category['id'] for category in content['categories']}
    categories = [ids[name] for name in classes]
    results: list[dict] = []
    files = {image['id']: split.images / image['file_name'] for image in content['images']}
    threshold = (detector.thresholds or {}).get('all', DEFAULT_THRESHOLD)  # of boxes that are drawn
    drawn = _drawn(files.values(), split.images, options.show_dir)

    def work(group: list[int]) -> list[tuple[int, Detections]]:
        images = [_prepare(detector, files[image_id]) for image_id in group]
        found = [one.relabelled(labels, classes).best(options.max_objects) for one in detector.run(images)]
        for image_id, one in zip(group, found) if options.show_dir else ():
            file = files[image_id]
            image, _ = decode(file.read_bytes(), upright=detector.upright, bits=detector.bits)
            write(draw(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), one.above(threshold).drawable), drawn[file])
        return list(zip(group, found))
    with closing(ordered(grouped(files, detector.batch), work, detector.workers)) as groups:
        for image_id, one in progress(chain.from_iterable(groups), 'evaluate', len(files)):
            results += one.to_coco(image_id, categories)
    write_whole(detections_file(Path(cfg.work_dir)), json.dumps(results).encode())


def _drawn(files: Collection[Path], root: Path, folder: Path | None) -> dict[Path, Path]:
    """Return the output path for each image with its boxes; empty if `folder` is None.

    Raises:
        UserError: a drawn image would overwrite a test image.
    """
    if folder is None:
        return {}
    names = {file: file.relative_to(root) if file.is_relative_to(root) and '..' not in file.parts else file.name
             for file in files}
    drawn = {file: folder / picture_name(str(name)) for file, name in names.items()}
    read = {file.resolve() for file in files}
    over = [path for path in drawn.values() if path.resolve() in read]
    if over:
        raise UserError(f'a drawn image would overwrite the test image {over[0]}: name another folder with --show-dir')
    return drawn


def _prepare(detector: Engine, file: Path) -> Any:
    with naming(file):
        return detector.prepare(file.read_bytes())


def _check_options(options: EvaluationOptions, is_file: bool) -> None:
    what, cure = (('an exported file', 'export the checkpoint again with it') if is_file else
                  ('an evaluation with --tiles', 'export the checkpoint with it, and evaluate that file'))
    if options.launcher != 'none':
        raise UserError(f'{what} runs in one process: leave out --launcher')
    if options.optimize:
        raise UserError(f'{what} does not take --optimize: leave it out')
    settings = [f'--scale {options.scale}'] * (options.scale is not None) + [
        key for key in options.cfg_options if key.startswith('model.') or '.pipeline' in key]
    if settings:
        raise UserError(f'{", ".join(settings)} cannot be changed in {what}: {cure}')
    if options.show_dir:
        make_folder(options.show_dir, '--show-dir')


def _check_max_objects(options: EvaluationOptions, limit: int | None) -> None:
    if options.max_objects and limit and options.max_objects > limit:
        raise UserError(f'--max-objects {options.max_objects}: {options.checkpoint} gives at most {limit} boxes for an '
                        'image. Export the checkpoint again with this option')
