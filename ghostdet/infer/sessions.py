"""Run exported files with ONNX Runtime, OpenVINO or ncnn. None of them needs PyTorch."""
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np

from ghostdet.errors import UserError, reason
from ghostdet.infer.decoding import Decoder, Instances
from ghostdet.infer.manifest import KEY, Manifest

HINTS = ('fp32', 'bf16')  # precisions that can be chosen when a file is run


class Session(Protocol):
    """An opened file."""

    manifest: Manifest

    def run(self, image: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        """Find boxes in RGB pixels (1, H, W, 3) uint8. `size` (2,) int64 is height and width of the image without
        padding.

        A file for N images takes (N, H, W, 3) and (N, 2), and also returns the index of the image of each box.
        """


def outputs(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of what an .onnx or .xml file returns."""
    return 'boxes', 'scores', 'labels', *(('images',) if manifest.batch > 1 else ())


def open_session(file: Path, precision: str = 'fp32', threads: int | None = None) -> Session:
    """Open an exported file.

    Args:
        precision: 'fp32'; or 'bf16' for .xml files, on processors that support it.
        threads: number of CPU cores to use; None: all.

    Raises:
        UserError: the file or its runtime is missing, or the precision is not supported; the message says what to do.
    """
    if precision not in HINTS:
        raise UserError(f'a file cannot be run in {precision}: use {" or ".join(HINTS)}. int8 is chosen when a file is '
                        'exported')
    session = SESSIONS[file.suffix]
    if precision == 'bf16' and session is not _OpenVinoSession:
        raise UserError(f'{file} runs in fp32 only: bf16 needs a file of "ghostdet export --format openvino"')
    if not file.is_file():
        raise UserError(f'there is no exported file {file.absolute()}')
    for part in parts(file):
        if not part.is_file():
            raise UserError(f'{file} is incomplete: put {part.name} next to it')
    try:
        return session(file, precision, threads)
    except ImportError as error:
        raise UserError(f'{file} needs {session.package} ({reason(error)}): run pip install '
                        f'"ghostdet[{session.extra}]"') from error


def is_exported(file: str | Path) -> bool:
    """Return whether a file is an exported one, judged by its extension."""
    return Path(file).suffix in SESSIONS


def parts(file: Path) -> list[Path]:
    """Return all files of an exported detector: one .onnx, .xml and .bin, or .ncnn.param, .bin and .json."""
    return [file, *map(file.with_suffix, SESSIONS[file.suffix].endings)]


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Stop OpenVINO and NNCF from sending usage data inside the `with` block.

    On import they send a message to Google Analytics, unless the user has opted out or the variable CI says that a CI
    job runs.
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


_CORE: list[Any] = []
_CORE_LOCK = Lock()


def openvino_core() -> Any:
    """Return the only `openvino.Core` of this process, with its CPU plugin loaded. It stays until the process ends.

    The plugin installs its own signal stack. If there were two plugins, the last one to close would restore the stack
    of the first, which no longer exists. The next signal (Ctrl-C, the end of a child process) would then kill the
    process.
    """
    with _CORE_LOCK:
        if not _CORE:
            with no_telemetry():
                import openvino
            core = openvino.Core()
            core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')  # loads the plugin
            _CORE.append(core)
        return _CORE[0]


class _OnnxSession:
    package, extra = 'ONNX Runtime', 'runtime'
    endings: tuple[str, ...] = ()  # of the files next to the exported one

    def __init__(self, file: Path, _: str, threads: int | None) -> None:
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = threads or 0
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
        except Exception as error:  # ONNX Runtime has its own error types, derived directly from Exception
            raise UserError(f'{file} cannot be opened ({reason(error)}). It may be truncated: copy or export it '
                            'again') from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.manifest = Manifest.from_json(metadata.get(KEY, '{}'), str(file))

    def run(self, image: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(self.session.run(outputs(self.manifest), dict(image=image, size=size)))


class _OpenVinoSession:
    package, extra, endings = 'OpenVINO', 'runtime', ('.bin',)

    def __init__(self, file: Path, precision: str, threads: int | None) -> None:
        core = openvino_core()
        if precision == 'bf16' and 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
            raise UserError('this processor does not support bfloat16: use fp32')
        settings: dict[str, Any] = dict(INFERENCE_PRECISION_HINT=dict(fp32='f32', bf16='bf16')[precision],
                                        PERFORMANCE_HINT='LATENCY')
        settings |= dict(INFERENCE_NUM_THREADS=threads) if threads else {}
        try:
            model = core.read_model(file)
            self.compiled = core.compile_model(model, 'CPU', settings)
        except RuntimeError as error:
            message = str(error).strip().splitlines()[-1]  # the lines before name files of OpenVINO's own code
            if precision == 'bf16':  # OpenVINO also lists it if an environment variable hides the instructions
                raise UserError(f'this processor does not support bfloat16 ({message}): use fp32') from error
            raise UserError(f'{file} cannot be opened ({message}). It, or the .bin next to it, may be truncated: copy '
                            'or export both again') from error
        text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else '{}'
        self.manifest = Manifest.from_json(text, str(file))
        self.request, self.lock = self.compiled.create_infer_request(), Lock()  # one request: one caller at a time

    def run(self, image: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        with self.lock:
            result = self.request.infer(dict(image=image, size=size))
            return tuple(result[name].copy() for name in outputs(self.manifest))


class _NcnnSession:
    """ncnn runs the network; pixels are normalized before it and maps decoded after it, here."""

    package, extra, endings = 'ncnn', 'ncnn', ('.bin', '.json')

    def __init__(self, file: Path, _: str, threads: int | None) -> None:
        self.manifest = Manifest.from_json(file.with_suffix('.json').read_text(), str(file))
        self.network, self.lock = ncnn_network(file, threads), Lock()
        try:
            self.decoder = Decoder(**(self.manifest.decoder or {}))
        except TypeError as error:
            raise UserError(f'{file.with_suffix(".json")} does not say how to find boxes ({reason(error)}): export the '
                            'checkpoint again') from error

    def run(self, image: np.ndarray, size: np.ndarray) -> Instances:
        x = normalized(image, size, self.manifest)
        with self.lock:
            maps = self.network(x)
        return self.decoder.boxes(maps, size.tolist())


def ncnn_network(file: Path, threads: int | None = None) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Open a .param file and the .bin next to it; return a function from an input (C, H, W) to the outputs (C, H, W),
    in order.

    Raises:
        ImportError: ncnn is not installed.
        UserError: a file cannot be opened.
    """
    import ncnn
    net = ncnn.Net()
    net.opt.num_threads = threads or os.cpu_count() or 1
    for name in ('fp16_packed', 'fp16_storage', 'fp16_arithmetic', 'bf16_storage'):
        setattr(net.opt, f'use_{name}', False)  # numbers are computed in 32 bits, also with weights of 16 bits
    if net.load_param(str(file)) or net.load_model(str(file.with_suffix('.bin'))):
        raise UserError(f'{file} cannot be opened. It, or the .bin next to it, may be truncated: copy or export both '
                        'again')
    names = sorted(net.output_names(), key=lambda name: int(name.removeprefix('out')))

    def run(x: np.ndarray) -> list[np.ndarray]:
        extractor = net.create_extractor()
        extractor.input('in0', ncnn.Mat(x))
        return [np.array(extractor.extract(name)[1]) for name in names]
    return run


def normalized(image: np.ndarray, size: np.ndarray, manifest: Manifest) -> np.ndarray:
    """Return the network's input (3, H, W) for RGB pixels (1, H, W, 3): normalized, with zeros outside the image."""
    pixels = image[0] if manifest.is_rgb else image[0, :, :, ::-1]
    x = (pixels.astype(np.float32) - np.float32(manifest.mean)) / np.float32(manifest.std)
    x[size[0]:], x[:, size[1]:] = 0, 0
    return np.ascontiguousarray(x.transpose(2, 0, 1))


SESSIONS: dict[str, type[_OnnxSession | _OpenVinoSession | _NcnnSession]] = {
    '.onnx': _OnnxSession, '.xml': _OpenVinoSession, '.param': _NcnnSession}
