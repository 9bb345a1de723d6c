"""Options of training, evaluation and export, filled in by the commands and `ghostdet.train`, `evaluate`, `export`."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of every run from a config.

    Attributes:
        config: config file, or the name of a config in the package.
        work_dir: folder for logs and results; None: the config's `work_dir`, else work_dirs/CONFIG.
        cfg_options: settings that replace those of the config, by dotted names, for example
            {'optim_wrapper.optimizer.lr': 0.01}.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        trust_checkpoint: open files that hold more than data.
    """

    config: str
    work_dir: Path | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    launcher: str = 'none'
    trust_checkpoint: bool = False


@dataclass(frozen=True, kw_only=True)
class DetectionOptions(RunOptions):
    """Options that training and evaluation of a detector share.

    Attributes:
        data_root: folder of a data set in any layout of docs/how-to/data-layouts.md, used instead of the config's data.
        train_ann, train_img, val_ann, val_img: annotation files and image folders, if the layout differs from COCO's.
        train_split, val_split: names of the splits of `data_root`, if not the usual ones.
        val_fraction: share of the train split's pictures to cut off as the val split; 0: the data set has its own.
        ignore_orientation: take pixels as they lie in the file, not turned as EXIF says.
        skip_bad: leave out bad records instead of stopping.
        fast_eval: evaluate with faster-coco-eval.
        check_expected: compare the AP with the config's `expected`.
    """

    data_root: Path | None = None
    train_ann: str | None = None
    train_img: str | None = None
    val_ann: str | None = None
    val_img: str | None = None
    train_split: str | None = None
    val_split: str | None = None
    val_fraction: float = 0
    ignore_orientation: bool = False
    skip_bad: bool = False
    fast_eval: bool = False
    check_expected: bool = False

    @property
    def named(self) -> dict[str, str | None]:
        """Annotation files and image folders by option name."""
        return dict(train_ann=self.train_ann, train_img=self.train_img, val_ann=self.val_ann, val_img=self.val_img)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(DetectionOptions):
    """Options of training a detector.

    Attributes:
        resume: 'auto' continues from the last checkpoint in the work directory, a path continues from that file.
        load_from: checkpoint of a detector to start from.
        from_scratch: start without initial weights.
        amp: automatic mixed precision; needs a GPU.
        keep_empty: also train on images without a box, if the config leaves them out.
    """

    resume: str | None = None
    load_from: str | None = None
    from_scratch: bool = False
    amp: bool = False
    keep_empty: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(DetectionOptions):
    """Options of evaluating a checkpoint or an exported file.

    Attributes:
        checkpoint: checkpoint (.pth), or an exported file (.onnx, .xml).
        show_dir: folder for the images with their detections.
        precision: 'fp32' or 'bf16', in which an exported .xml is computed.
        optimize: evaluate the checkpoint's faster copy for inference.
    """

    checkpoint: str
    show_dir: Path | None = None
    precision: str = 'fp32'
    optimize: bool = False


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(RunOptions):
    """Options of training a classifier.

    Attributes:
        data_root: folder with train/CLASS/*.jpg and val/CLASS/*.jpg.
        resume: as in `TrainOptions`.
    """

    data_root: Path | None = None
    resume: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of exporting a checkpoint.

    Attributes:
        format: 'onnx', 'openvino' or 'ncnn'.
        out: the file to write, .onnx, .xml or .ncnn.param.
        shape: height and width of the input in pixels; None: any size.
        precision: 'fp32' or 'int8'; for ncnn 'fp32' or 'fp16'.
        batch: number of images that go through the file at once.
        images: folder of images to compare on and to calibrate int8 with; None: the training images.
        cfg_options, trust_checkpoint: as in `RunOptions`.
    """

    config: str
    checkpoint: str
    format: str
    out: Path
    shape: tuple[int, int] | None = None
    precision: str = 'fp32'
    batch: int = 1
    images: Path | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    trust_checkpoint: bool = False
