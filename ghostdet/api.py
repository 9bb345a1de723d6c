"""Trains, evaluates and exports detectors from Python. The functions do the same as the commands."""
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ghostdet.deploy import exporter
from ghostdet.deploy.evaluate_exported import detect
from ghostdet.deploy.exporter import Exported
from ghostdet.errors import UserError
from ghostdet.infer.sessions import is_exported
from ghostdet.training import launch
from ghostdet.training.options import EvaluationOptions, ExportOptions, TrainOptions
from ghostdet.training.report import Report

File = str | os.PathLike[str]


def train(config: File, *, data_root: File | None = None, work_dir: File | None = None, resume: bool | File = False,
          load_from: File | None = None, from_scratch: bool = False, amp: bool = False, train_ann: File | None = None,
          train_img: File | None = None, val_ann: File | None = None, val_img: File | None = None,
          train_split: str | None = None,
          val_split: str | None = None, val_fraction: float = 0, skip_bad: bool = False, keep_empty: bool = False,
          fast_eval: bool = False, cfg_options: Mapping[str, Any] | None = None,
          trust_checkpoint: bool = False) -> Report:
    """Train and evaluate a detector; write checkpoints, tables, curves and pictures. Ctrl-C saves and stops the run.

    Args:
        config: config file, or the name of a config in the package (`ghostdet configs` lists them).
        data_root: folder of a data set, instead of the config's data (layouts: docs/how-to/data-layouts.md). It sets
            the classes.
        work_dir: folder for logs and results; by default the config's `work_dir`, else work_dirs/CONFIG.
        resume: True continues from the last checkpoint in the work directory, a path continues from that file.
        load_from: checkpoint of a detector to start from. Tensors that do not fit are skipped and logged.
        from_scratch, amp: start without initial weights; use automatic mixed precision, which needs a GPU.
        train_ann, train_img, val_ann, val_img: annotation files in COCO's format and image folders, instead of a
            layout.
        train_split, val_split: names of the splits of `data_root`, if not the usual ones.
        val_fraction: share of the train split's images to cut off as the val split; 0: none.
        skip_bad, keep_empty: leave out bad records instead of stopping; also train on images without a box.
        fast_eval: evaluate with faster-coco-eval: the same numbers in less time.
        cfg_options: settings that replace those of the config, by dotted names, for example {'train_cfg.max_epochs':
            6}.
        trust_checkpoint: open checkpoint files that hold more than data. Such a file can run any program with your
            rights.

    Returns:
        The report of the last evaluation: `report.ap` is COCO's AP, from 0 to 1.

    Raises:
        UserError: something is missing or wrong; the message says what, where, and what to do.
        Interrupted: the user stopped the run; it is saved, and `resume=True` continues it.

    Examples:
        >>> import ghostdet
        >>> report = ghostdet.train('retinanet_ghostnet_1.1x_mini', work_dir='runs/first')  # doctest: +SKIP
    """
    return _whole(launch.train(TrainOptions(
        config=_named(config), data_root=_path(data_root), work_dir=_path(work_dir), train_ann=_text(train_ann),
        resume='auto' if resume is True else _text(resume or None), load_from=_text(load_from),
        from_scratch=from_scratch,
        amp=amp, train_img=_text(train_img), val_ann=_text(val_ann), val_img=_text(val_img), train_split=train_split,
        val_split=val_split, val_fraction=val_fraction, skip_bad=skip_bad, keep_empty=keep_empty, fast_eval=fast_eval,
        cfg_options=cfg_options or {}, trust_checkpoint=trust_checkpoint)))


def evaluate(config: File, checkpoint: File, *, data_root: File | None = None, work_dir: File | None = None,
             val_ann: File | None = None, val_img: File | None = None, train_split: str | None = None,
             val_split: str | None = None, val_fraction: float = 0, show_dir: File | None = None,
             precision: str = 'fp32', optimize: bool = False, skip_bad: bool = False, fast_eval: bool = False,
             check_expected: bool = False, cfg_options: Mapping[str, Any] | None = None,
             trust_checkpoint: bool = False) -> Report:
    """Evaluate a checkpoint or an exported file.

    Args:
        config: config file, or the name of a config in the package (`ghostdet configs` lists them).
        checkpoint: checkpoint (.pth), or an exported file (.onnx, .xml).
        data_root: folder of a data set in COCO's layout, used instead of the config's data.
        work_dir: folder for the results; by default the folder `test` in the config's work directory.
        val_ann, val_img, train_split, val_split, val_fraction: as in `train`.
        show_dir: folder for the images with their detections.
        precision: 'fp32' or 'bf16', in which an exported .xml is computed.
        optimize: evaluate the checkpoint's faster copy for inference.
        check_expected: raise if the AP is below the config's `expected`.
        skip_bad, fast_eval, cfg_options, trust_checkpoint: as in `train`.

    Returns:
        The report: `report.ap` is COCO's AP, from 0 to 1, `report.table` has all numbers, also for each class.

    Raises:
        UserError: something is missing or wrong; or the AP is below what the config expects.

    Examples:
        >>> import ghostdet
        >>> report = ghostdet.evaluate('retinanet_ghostnet_1.1x_mini', 'runs/first/epoch_12.pth')  # doctest: +SKIP
    """
    report = _whole(evaluate_file(EvaluationOptions(
        config=_named(config), checkpoint=_named(checkpoint), data_root=_path(data_root), work_dir=_path(work_dir),
        val_ann=_text(val_ann), val_img=_text(val_img), train_split=train_split, val_split=val_split,
        val_fraction=val_fraction, show_dir=_path(show_dir), precision=precision, optimize=optimize,
        skip_bad=skip_bad, fast_eval=fast_eval, check_expected=check_expected, cfg_options=cfg_options or {},
        trust_checkpoint=trust_checkpoint)))
    report.check()
    return report


def evaluate_file(options: EvaluationOptions) -> Report | None:
    """Evaluate a checkpoint or an exported file, by its name."""
    return launch.evaluate(options, detect if is_exported(options.checkpoint) else launch.test_checkpoint)


def export(config: File, checkpoint: File, out: File, *, shape: tuple[int, int] | None = None, precision: str = 'fp32',
           batch: int = 1, images: File | None = None, cfg_options: Mapping[str, Any] | None = None,
           trust_checkpoint: bool = False) -> Exported:
    """Export a checkpoint to a file that runs without PyTorch, and compare it with the checkpoint.

    Args:
        config: config file, or the name of a config in the package (`ghostdet configs` lists them).
        checkpoint: checkpoint (.pth).
        out: file to write: .onnx for ONNX Runtime; .xml for OpenVINO, which also gets a .bin in the same folder; or
            .ncnn.param for ncnn, which also gets a .bin and a .json.
        shape: height and width of the input in pixels, to which images are fitted; None: any size, with images resized
            as in the config.
        precision: 'fp32'; or 'int8' for OpenVINO; or 'fp16' for ncnn.
        batch: number of images that go through the file at once; 1 for ncnn.
        images: folder of images like those in use, to compare on and to calibrate int8 with; by default the training
            images.
        cfg_options, trust_checkpoint: as in `train`.

    Returns:
        The file, and how close its detections are to the checkpoint's.

    Raises:
        UserError: something is missing or wrong, or the file's detections differ from the checkpoint's. No file is
            written then.

    Examples:
        >>> import ghostdet
        >>> ghostdet.export('retinanet_ghostnet_1.1x_mini', 'runs/first/epoch_12.pth', 'a.xml')  # doctest: +SKIP
    """
    formats = [name for name, ending in exporter.ENDINGS.items() if _named(out).endswith(ending)]
    if not formats:
        raise UserError(f'out={str(out)!r} must end in {" or ".join(exporter.ENDINGS.values())}')
    return exporter.export(ExportOptions(
        config=_named(config), checkpoint=_named(checkpoint), format=formats[0], out=Path(out), shape=shape,
        precision=precision, batch=batch, images=_path(images), cfg_options=cfg_options or {},
        trust_checkpoint=trust_checkpoint))


def _path(value: File | None) -> Path | None:
    return None if value is None else Path(_named(value))


def _text(value: File | None) -> str | None:
    return None if value is None else _named(value)


def _named(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise UserError(f'expected a path, got {value!r}')
    return os.fspath(value)


def _whole(report: Report | None) -> Report:
    assert report is not None  # None only in later processes of a distributed run, which only the commands start
    return report
