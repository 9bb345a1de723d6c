"""Export a checkpoint: check the options, make the file, compare it with the checkpoint, then move it to its path."""
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from math import lcm
from pathlib import Path

import torch
from mmdet.structures import DetDataSample
from torch import nn

from ghostdet.deploy.program import DetectorProgram, program_of
from ghostdet.deploy.reference import colours_of, reference_of, with_own_errors
from ghostdet.errors import UserError, reason
from ghostdet.files import make_folder
from ghostdet.images.decode import check_whole, decode, naming
from ghostdet.images.listing import image_files
from ghostdet.infer.agreement import TOLERANCES, Agreement, compare
from ghostdet.infer.decoding import Instances
from ghostdet.infer.exported import NetworkInput, detect, prepare
from ghostdet.infer.manifest import Manifest
from ghostdet.infer.seal import seal
from ghostdet.infer.self_check import SelfCheck, run_check
from ghostdet.infer.sessions import open_session, parts
from ghostdet.messages import LOGGER, shorten
from ghostdet.options import ExportOptions
from ghostdet.progress import progress
from ghostdet.training.build import Trained
from ghostdet.training.checkpoint_config import tile_in
from ghostdet.training.datasets import classes_of, configured_splits, split_of
from ghostdet.training.max_objects import max_objects_of
from ghostdet.training.provenance import versions
from ghostdet.training.trained_detector import read_detector, resizing
from ghostdet.weights.schemes import safe_loading

ENDINGS = dict(onnx='.onnx', openvino='.xml', ncnn='.ncnn.param')
NEEDED = dict(onnx=('onnx', 'onnxscript', 'onnxruntime'), openvino=('onnx', 'onnxscript', 'openvino'),
              ncnn=('ncnn', 'pnnx'), int8=('nncf',))
STRIDE = 32  # of C5: input height and width must be multiples of it
MAX_ERROR = 1.0  # of the quantized network from the checkpoint's answer to the built-in picture, in spreads
COMPARED, CALIBRATED = 20, 300  # maximum number of images to compare on, and to calibrate int8 with


@dataclass(frozen=True)
class Exported:
    """An exported file, and how close its detections are to the checkpoint's.

    Attributes:
        agreement: of the detections in images.
        check: of the answer to the built-in picture, which other machines will check.
        without_vnni: the self-check on a processor without VNNI, as text; None: not measured.
    """

    file: Path
    agreement: Agreement
    check: SelfCheck
    without_vnni: str | None

    def to_text(self) -> str:
        """Return the comparison and the file sizes as text for a terminal."""
        size = sum(path.stat().st_size for path in parts(self.file))
        lines = [self.agreement.to_text(), f'self-check: {self.check.to_text()}',
                 *([f'without VNNI: {self.without_vnni}'] if self.without_vnni else []),
                 f'{" and ".join(map(str, parts(self.file)))}: {size / 1e6:.1f} MB']
        return '\n'.join(lines)


def export(options: ExportOptions) -> Exported:
    """Export a checkpoint, and compare the file with it.

    Raises:
        UserError: something is missing or wrong, or the file's detections differ from the checkpoint's. No file is
        written then.
    """
    options = replace(options, format=_format(options))
    _check_options(options)
    with safe_loading(options.trust_checkpoint):
        trained = read_detector(options.checkpoint, options.config, dict(options.cfg_options), options.scale,
                                options.max_objects)
    manifest = replace(manifest_of(trained, options.shape, Path(trained.cfg.filename).name, _is_fixed(options)),
                       batch=options.batch)
    images = _images(trained, options.images)
    program = program_of(trained.model)
    tolerance = TOLERANCES[options.precision]
    compared = list(_compared(images, manifest))
    expected = [predict(trained.model, image) for image in compared]
    if not any((scores >= tolerance.min_score).any() for _, scores, _ in expected):
        raise _nothing_found(max(tolerance.min_score, manifest.score_threshold), images[0].parent)
    make_folder(options.out.parent, '--out')
    manifest = replace(manifest, reference=reference_of(program, manifest, colours_of(compared)).to_dict())
    with tempfile.TemporaryDirectory(dir=options.out.parent) as scratch:
        made = _make(program, manifest, images, options, Path(scratch))
        seal(parts(made))
        session = open_session(made)
        agreement = compare(zip(expected, detect(session, compared)), tolerance)
        if not agreement.is_close:
            raise UserError(f'the file detects something else than the checkpoint: {agreement.to_text()}. The file was '
                            'deleted. In int8, calibrate it on images like those in use with --images, or use fp32. '
                            'After a short training many scores are nearly equal: train longer')
        check, without_vnni = _self_check(made, options.precision)
        for part in parts(made):
            shutil.move(part, options.out.with_suffix(part.suffix))
    if options.raw:
        _describe(session.manifest, options.out)
    return Exported(options.out, agreement, check, without_vnni)


def _nothing_found(min_score: float, folder: Path) -> UserError:
    return UserError(f'the checkpoint finds nothing with a score of {min_score:g} or more in the images of {folder}, '
                     'so there is nothing to compare: train it longer, or name images with objects in them by '
                     '--images, or lower the threshold with --cfg-options model.test_cfg.score_thr=0.01 '
                     '(or .rcnn.score_thr)')


def _describe(manifest: Manifest, out: Path) -> None:
    """Write how to find boxes in the outputs of a raw file, beside it."""
    from ghostdet.deploy.convert import description_of
    described = out.with_suffix('.json')
    described.write_text(description_of(manifest))
    LOGGER.info(f'{described} says how to find boxes in the outputs of {out}')


def _self_check(made: Path, precision: str) -> tuple[SelfCheck, str | None]:
    """Return the self-check of a new file here, and as a line of text that of a processor without VNNI.

    Raises:
        UserError: the file is too far from the checkpoint to tell a machine that computes it wrong.
    """
    check = run_check(open_session(made), precision)
    if not check.passes or check.error > MAX_ERROR:
        raise UserError(f'the file is too far from the checkpoint: {check.to_text()}; quantized, it differs by '
                        f'{check.error:.2g} (limit {MAX_ERROR:g}). Export with --precision fp32, or name more images '
                        'like those of its training with --images. The file was deleted')
    if precision != 'int8' or platform.machine() not in ('x86_64', 'AMD64'):
        return check, None
    done = subprocess.run([sys.executable, '-m', 'ghostdet', 'check', str(made)], capture_output=True, text=True,
                          env={**os.environ, 'ONEDNN_MAX_CPU_ISA': 'AVX2'})
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return check, (lines or [f'the check ended with {done.returncode}'])[-1].replace(str(made), 'the file')


def manifest_of(trained: Trained, shape: Sequence[int] | None, config: str, fixed: bool = False) -> Manifest:
    """Return the description that is stored in an exported file.

    Args:
        shape: height and width of the input in pixels, rounded up to multiples that the network needs; None: any size,
            or that of the config if its pipeline gives all images one size.
        fixed: the file can only have one input size, so that None is the smallest that all images fit into.
    """
    rule, pixels = resizing(trained.cfg), trained.model.data_preprocessor
    divisor = lcm(STRIDE, pixels.pad_size_divisor)
    if shape is None and (rule.border is not None or fixed or not rule.keep_ratio):
        shape = (max(rule.scale),) * 2 if rule.border is None and rule.keep_ratio else rule.scale[::-1]
    canvas = None if shape is None else (-(-shape[0] // divisor) * divisor, -(-shape[1] // divisor) * divisor)
    if canvas and not rule.keep_ratio:
        rule = replace(rule, scale=canvas[::-1])
    normal = pixels._enable_normalize
    test_cfg = trained.model.test_cfg
    return Manifest(
        detector=type(trained.model).__name__, classes=trained.classes, canvas=canvas, scale=rule.scale,
        keep_ratio=rule.keep_ratio, divisor=divisor, is_rgb=bool(pixels._channel_conversion), precision='fp32',
        config=config, mean=tuple(pixels.mean.flatten().tolist()) if normal else (0., 0., 0.),
        std=tuple(pixels.std.flatten().tolist()) if normal else (1., 1., 1.),
        score_threshold=(test_cfg.get('rcnn') or test_cfg).get('score_thr', 0),
        upright=rule.upright, border=rule.border, thresholds=trained.thresholds,
        max_objects=max_objects_of(trained.cfg), bits=trained.cfg.get('bits'), tile=tile_in(trained.cfg),
        versions={**versions(),
                  **{name: version(name) for name in ('ghostdet', 'onnx', 'openvino') if find_spec(name)}})


def _compared(images: Sequence[Path], manifest: Manifest) -> Iterator[NetworkInput]:
    """Yield the images to compare on. If the file takes any size, crop every second one to vary the size."""
    for index, file in enumerate(progress(spread(images, COMPARED), desc='predict')):
        with naming(file):
            content = file.read_bytes()
            check_whole(content)
            pixels, _ = decode(content, upright=manifest.upright, bits=manifest.bits)
        if manifest.canvas is None and index % 2:
            pixels = pixels[:, :-(pixels.shape[1] // 3) or None]
        yield prepare(pixels, manifest)


def predict(model: nn.Module, image: NetworkInput) -> Instances:
    """Return boxes, scores and labels from mmdet's own `predict`; boxes in pixels of the padded image."""
    height, width = image.size.tolist()
    pixels = torch.from_numpy(image.canvas[0, :height, :width, ::-1].copy()).permute(2, 0, 1)
    sample = DetDataSample(metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1., 1.)))
    data = model.data_preprocessor(dict(inputs=[pixels], data_samples=[sample]))
    sides = data['inputs'].shape[-2:]
    missing = [own - given for own, given in zip(image.canvas.shape[1:3], sides)]
    with torch.no_grad():
        # mmdet pads only to pad_size_divisor
        inputs = nn.functional.pad(data['inputs'], (0, missing[1], 0, missing[0]))
        result = model.predict(inputs, data['data_samples'], rescale=False)[0].pred_instances
    return result.bboxes.numpy(), result.scores.numpy(), result.labels.numpy()


def _make(program: DetectorProgram, manifest: Manifest, images: Sequence[Path], options: ExportOptions,
          folder: Path) -> Path:
    # These need packages that _check_options checks.
    if options.format == 'ncnn':
        from ghostdet.deploy.ncnn_writer import to_ncnn
        to_ncnn(program, replace(manifest, precision=options.precision), folder / options.out.name)
        return folder / options.out.name
    from ghostdet.deploy.convert import describe_openvino, to_onnx, to_openvino, to_raw_onnx
    source = folder / f'{options.out.stem}.onnx'
    (to_raw_onnx if options.raw else to_onnx)(program, manifest, source)
    if options.format == 'onnx':
        return source
    made = source.with_suffix('.xml')
    to_openvino(source, manifest, made, spread(images, CALIBRATED) if options.precision == 'int8' else ())
    if options.precision == 'int8':
        session = open_session(made)
        describe_openvino(made, with_own_errors(session.manifest, session))
    return made


def _format(options: ExportOptions) -> str:
    """Return the format of the file to write.

    Raises:
        UserError: its name does not end as the format needs.
    """
    endings = {name: ending for name, ending in ENDINGS.items() if options.format in (name, None)}
    for name, ending in endings.items():
        if options.out.name.endswith(ending):
            return name
    raise UserError(f'--out {options.out} must end in {" or ".join(endings.values())}' +
                    (f' for --format {options.format}' if options.format else ''))


def _is_fixed(options: ExportOptions) -> bool:
    """Return whether the file can only have one input size, and takes one image."""
    return options.raw or options.format == 'ncnn'


def _check_options(options: ExportOptions) -> None:
    """Check the options and the installed packages, before anything is read.

    Raises:
        UserError: an option is wrong or a package is missing.
    """
    if options.precision == 'int8' and options.format != 'openvino':
        raise UserError('--precision int8 works only with --format openvino: other files have floating-point weights')
    if options.precision == 'fp16' and options.format != 'ncnn':
        raise UserError('--precision fp16 works only with --format ncnn: an OpenVINO file is run in bf16 by predict '
                        'and test')
    if options.shape is not None and not (isinstance(options.shape, (list, tuple)) and len(options.shape) == 2 and all(
            isinstance(side, int) and side > 0 for side in options.shape)):
        raise UserError(f'--shape {options.shape}: expected a height and a width of at least 1 pixel')
    if options.raw and options.format != 'onnx':
        raise UserError('--raw works only with --format onnx')
    if type(options.batch) is not int or options.batch < 1 or (options.batch > 1 and _is_fixed(options)):
        raise UserError(f'--batch {options.batch}: expected at least 1; ncnn and --raw take one image at a time')
    check_packages(*NEEDED[options.format or ''], *(NEEDED['int8'] if options.precision == 'int8' else ()))


def check_packages(*names: str) -> None:
    """Check that packages are installed.

    Raises:
        UserError: a package is missing.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise UserError(f'the export needs {", ".join(missing)}, not installed here. Run pip install '
                        '"ghostdet[export]"')


def _images(trained: Trained, folder: Path | None) -> list[Path]:
    """Return the images to compare and calibrate on: those in `folder`, by default the training images.

    Raises:
        UserError: there are none.
    """
    if folder is None and list(classes_of(trained.cfg, 'train')) != list(trained.classes):
        raise UserError(f'the checkpoint was trained on the classes {shorten(trained.classes)}, but the config\'s '
                        'training data has other classes: name a folder of images like those of its training with '
                        '--images')
    if folder is None:
        try:
            configured_splits(trained.cfg, ('train',))  # generates the built-in data if it is missing
            folder = split_of(trained.cfg, 'train').images
        except (UserError, AttributeError, KeyError) as error:
            cause = error if isinstance(error, UserError) else reason(error)
            raise UserError(f'the export cannot find training images to compare on ({cause}): name a folder of images '
                            'with --images') from error
    files = image_files(folder) if folder.is_dir() else []
    if not files:
        raise UserError(f'no images in {folder.absolute()}; the export compares the file with the checkpoint on '
                        'images: name a folder that has some with --images')
    LOGGER.info(f'comparing on images from {folder} ({len(files)} found)')
    return files


def spread(files: Sequence[Path], max_count: int) -> list[Path]:
    """Return at most `max_count` of the files, evenly spread over the list.

    >>> spread('abcdefgh', 4)
    ['a', 'c', 'e', 'g']
    """
    count = min(max_count, len(files))
    return [files[index * len(files) // count] for index in range(count)]
