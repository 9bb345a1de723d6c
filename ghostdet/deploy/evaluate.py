"""Evaluates checkpoints and exported files."""
import json
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from ghostdet.data.coco import read_annotations
from ghostdet.errors import UserError
from ghostdet.files import make_folder, write_whole
from ghostdet.images.decode import decode, naming, write
from ghostdet.images.drawing import draw
from ghostdet.images.listing import picture_name
from ghostdet.images.opencv import cv2
from ghostdet.infer.exported import ExportedDetector, Prepared
from ghostdet.infer.prefetch import grouped, prefetch
from ghostdet.infer.sessions import is_exported
from ghostdet.options import EvaluationOptions
from ghostdet.progress import progress
from ghostdet.training import launch
from ghostdet.training.checkpoints import check_classes
from ghostdet.training.datasets import classes_of, reads_upright, split_of
from ghostdet.training.plan import plan_evaluation
from ghostdet.training.report import Report, clear_detections, detections_file

SHOWN = 0.3  # boxes with a lower score are not drawn


def evaluate(options: EvaluationOptions) -> Report | None:
    """Evaluate a checkpoint or an exported file; its name says which.

    Returns:
        The report; None in all processes but the first.

    Raises:
        UserError: something is missing or wrong.
    """
    if not is_exported(options.checkpoint):
        return launch.evaluate(options)
    plan = plan_evaluation(options)
    detect(plan.cfg, options)
    return launch.report_of(plan, 'test', curves=False)


def detect(cfg: Config, options: EvaluationOptions) -> None:
    """Run an exported file on the test images; write its detections to the work directory in COCO's result format.

    Raises:
        UserError: the file cannot be run, was trained on other classes, or an option is only for checkpoints.
        DataError: an image cannot be read.
    """
    _check_options(options)
    detector = ExportedDetector(options.checkpoint, options.precision, ignore_orientation=options.ignore_orientation)
    check_classes(detector.classes, classes_of(cfg, 'test'), options.checkpoint)
    if not detector.upright and reads_upright(cfg, 'test'):
        raise UserError(f'{options.checkpoint} was trained on pixels as they lie in the file: add --ignore-orientation')
    clear_detections(Path(cfg.work_dir))
    split = split_of(cfg, 'test')
    content = read_annotations(split, unlabelled=True)
    ids = {category['name']: category['id'] for category in content['categories']}
    categories = [ids[name] for name in detector.classes]
    found: list[dict] = []
    images = [(image['id'], split.images / image['file_name']) for image in content['images']]
    pictures = _pictures(images, split.images, options.show_dir)
    with progress(total=len(images), desc='evaluate') as bar:
        for group in grouped(prefetch(_prepared(detector, images)), detector.batch):
            for (image_id, file, _), detections in zip(group, detector.run([image for _, _, image in group])):
                found += detections.to_coco(image_id, categories)
                if options.show_dir:
                    picture = cv2.cvtColor(decode(file.read_bytes(), upright=detector.upright)[0], cv2.COLOR_BGR2RGB)
                    write(draw(picture, detections.above(SHOWN).drawable), pictures[file])
                bar.update()
    write_whole(detections_file(Path(cfg.work_dir)), json.dumps(found).encode())


def _pictures(images: list[tuple[int, Path]], root: Path, folder: Path | None) -> dict[Path, Path]:
    """Return the output path for the picture of each image; empty if `folder` is None.

    Raises:
        UserError: a picture would overwrite an image.
    """
    if folder is None:
        return {}
    read = {file.resolve() for _, file in images}
    names = {file: file.relative_to(root) if file.is_relative_to(root) and '..' not in file.parts else file.name
             for _, file in images}
    drawn = {file: folder / picture_name(str(name)) for file, name in names.items()}
    over = [picture for picture in drawn.values() if picture.resolve() in read]
    if over:
        raise UserError(f'a picture would overwrite the test image {over[0]}: name another folder with --show-dir')
    return drawn


def _prepared(detector: ExportedDetector, images: list[tuple[int, Path]]) -> Iterator[tuple[int, Path, Prepared]]:
    for image_id, file in images:
        with naming(file):
            image = detector.prepare(file.read_bytes())
        yield image_id, file, image


def _check_options(options: EvaluationOptions) -> None:
    if options.launcher != 'none':
        raise UserError('an exported file is evaluated in one process: leave out --launcher')
    if options.optimize:
        raise UserError('--optimize works only with checkpoints, not with exported files: leave it out')
    settings = [key for key in options.cfg_options if key.startswith('model.') or '.pipeline' in key]
    if settings:
        raise UserError(f'{", ".join(settings)} cannot be changed in an exported file: export the checkpoint again '
                        'with these --cfg-options')
    if options.show_dir:
        make_folder(options.show_dir, '--show-dir')
