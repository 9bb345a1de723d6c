"""Exported files as they run: ONNX Runtime for .onnx, OpenVINO for .xml. Neither needs PyTorch."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np

from ghostdet.errors import UserError, reason
from ghostdet.runtime.manifest import KEY, Manifest

RUNTIME = 'pip install ".[runtime]" in its folder, the extra [runtime] of ghostdet'
Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (N, 4) in pixels, scores (N,), labels (N,); best first
OUTPUTS = ('boxes', 'scores', 'labels')
HINTS = ('fp32', 'bf16')  # precisions that OpenVINO can be asked for when it runs a file


class Session(Protocol):
    """A file that was opened."""

    manifest: Manifest

    def run(self, image: np.ndarray, size: np.ndarray) -> Found:
        """Pixels (1, H, W, 3) uint8 RGB, height and width of the image in them (2,) int64 -> boxes, scores, labels."""


def open_session(file: Path, precision: str = 'fp32', threads: int | None = None) -> Session:
    """Open an exported file.

    Args:
        precision: 'bf16' makes OpenVINO compute in bfloat16 where the processor has it.
        threads: processor cores to use; None: all.

    Raises:
        UserError: the file, its runtime or the precision is not there; the message says what to do.
    """
    if precision not in HINTS:
        raise UserError(f'a file cannot be run in {precision}: {" or ".join(HINTS)}. int8 is chosen when a file is exported')
    if not file.is_file():
        raise UserError(f'there is no exported file {file.absolute()}')
    return (_OnnxSession if file.suffix == '.onnx' else _OpenVinoSession)(file, precision, threads)


def is_exported(file: str | Path) -> bool:
    """Whether a file is an exported one, by the ending of its name."""
    return Path(file).suffix in ('.onnx', '.xml')


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Within this, OpenVINO and NNCF report to nobody that they are used.

    When they are imported they send a message to Google Analytics, unless their user has found out how to decline or they are
    told that a CI job runs them.
    """
    before = os.environ.get('CI')
    os.environ['CI'] = 'true'
    try:
        yield
    finally:
        if before is None:
            del os.environ['CI']
        else:
            os.environ['CI'] = before


@cache
def openvino_core() -> Any:
    """The one `openvino.Core` of this process, its CPU plugin loaded; it stays until the process ends.

    The plugin gives the process a signal stack of its own. Of two plugins, the one that goes last puts back the stack of the one
    that went first, which is no longer there, and the next signal (Ctrl-C, the end of a child process) kills the process.
    """
    with no_telemetry():
        import openvino
    core = openvino.Core()
    core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    return core


class _OnnxSession:
    def __init__(self, file: Path, precision: str, threads: int | None) -> None:
        if precision != 'fp32':
            raise UserError(f'{file} runs in fp32 alone: {precision} is for files of tools/export.py --format openvino')
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f'{file} needs ONNX Runtime ({reason(error)}): {RUNTIME}') from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        options.intra_op_num_threads = threads or 0
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
        except Exception as error:  # ONNX Runtime has a kind of its own for every fault, derived from Exception
            raise UserError(f'{file} cannot be opened ({reason(error)}). It may have been cut off: copy or export it '
                            'again') from error
        found = self.session.get_modelmeta().custom_metadata_map
        self.manifest = Manifest.from_json(found.get(KEY, '{}'), str(file))

    def run(self, image: np.ndarray, size: np.ndarray) -> Found:
        boxes, scores, labels = self.session.run(OUTPUTS, dict(image=image, size=size))
        return boxes, scores, labels


class _OpenVinoSession:
    def __init__(self, file: Path, precision: str, threads: int | None) -> None:
        if not file.with_suffix('.bin').is_file():
            raise UserError(f'{file} lies without its weights: put {file.with_suffix(".bin").name} beside it')
        try:
            core = openvino_core()
        except ImportError as error:
            raise UserError(f'{file} needs OpenVINO ({reason(error)}): {RUNTIME}') from error
        if precision == 'bf16' and 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
            raise UserError('this processor does not compute in bfloat16: take fp32')
        settings: dict[str, Any] = dict(INFERENCE_PRECISION_HINT=dict(fp32='f32', bf16='bf16')[precision],
                                        PERFORMANCE_HINT='LATENCY')
        settings |= dict(INFERENCE_NUM_THREADS=threads) if threads else {}
        try:
            model = core.read_model(file)
            self.compiled = core.compile_model(model, 'CPU', settings)
        except RuntimeError as error:
            told = str(error).strip().splitlines()[-1]  # before that it says where in its own code
            raise UserError(f'{file} cannot be opened ({told}). It, or the .bin beside it, may have been cut off: copy '
                            'or export both again') from error
        text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else '{}'
        self.manifest = Manifest.from_json(text, str(file))
        self.request, self.lock = self.compiled.create_infer_request(), Lock()  # one request, one caller at a time

    def run(self, image: np.ndarray, size: np.ndarray) -> Found:
        with self.lock:
            found = self.request.infer(dict(image=image, size=size))
            boxes, scores, labels = (found[name].copy() for name in OUTPUTS)
        return boxes, scores, labels
