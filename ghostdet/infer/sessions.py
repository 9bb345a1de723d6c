"""Run exported files with ONNX Runtime, OpenVINO or ncnn. None of them needs PyTorch."""
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from threading import BoundedSemaphore, Lock
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np

from ghostdet.errors import UserError, reason
from ghostdet.images.opencv import cv2
from ghostdet.infer.cores import usable_cores
from ghostdet.infer.decoding import Decoder, Instances
from ghostdet.infer.manifest import KEY, Manifest
from ghostdet.infer.seal import is_whole

HINTS = ('fp32', 'bf16')  # precisions that can be chosen when a file is run


class Session(Protocol):
    """An opened file.

    Attributes:
        package, module: names of the runtime, for people and for import.
    """

    manifest: Manifest
    package: str
    module: str

    def run(self, image: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        """Find boxes in RGB pixels (1, H, W, 3) uint8. `size` (2,) int64 is height and width of the image without
        padding.

        A file for N images takes (N, H, W, 3) and (N, 2), and also returns the index of the image of each box.
        """

    def maps(self, image: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
        """Return the maps (N, C, H_k, W_k) of the head, as many as the manifest's reference names.

        A copy of the network computes them, which is opened for this call: `run` costs the same with and without it.
        """


def outputs(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of what an .onnx or .xml file returns."""
    return 'boxes', 'scores', 'labels', *(('images',) if manifest.batch > 1 else ())


class CannotOpenError(UserError):
    """A runtime refused a file."""


def open_session(file: Path, precision: str = 'fp32', threads: int | None = None, integers: bool = True,
                 requests: int = 1) -> Session:
    """Open an exported file.

    Args:
        precision: 'fp32'; or 'bf16' for .xml files, on processors that support it.
        threads: number of CPU cores to use; None: all that this process may use.
        requests: number of threads that may call `run` at the same time. Each call has its share of the cores.
        integers: False: compute an int8 .xml file in floating point. Slower; all processors give the same boxes.

    Raises:
        CannotOpenError: the runtime refuses the file.
        UserError: the file or its runtime is missing, or the precision is not supported; the message says what to do.
    """
    if precision not in HINTS:
        raise UserError(f'a file cannot be run in {precision}: use {" or ".join(HINTS)}. int8 is chosen when a file is '
                        'exported')
    session = SESSIONS[file.suffix]
    check_parts(file)
    if precision == 'bf16' and session is not _OpenVinoSession:
        raise UserError(f'{file} runs in fp32 only: bf16 needs a file of "ghostdet export --format openvino"')
    if threads is not None and threads < 1:
        raise UserError(f'{threads} threads: expected at least 1')
    if requests < 1:  # with none, `run` would wait forever
        raise UserError(f'{requests} requests: expected at least 1')
    with _runtime_of(file):
        opened = session(file, precision, threads or usable_cores(), requests, integers)
    _OPENED.add(opened)
    return opened


@contextmanager
def _runtime_of(file: Path) -> Iterator[None]:
    """Explain an ImportError of the runtime that a file needs."""
    try:
        yield
    except ImportError as error:
        session = SESSIONS[file.suffix]
        raise UserError(f'{file} needs {session.package} ({reason(error)}): run pip install '
                        f'"ghostdet[{session.extra}]"') from error


_OPENED: WeakSet[Any] = WeakSet()


def _never_close() -> None:
    """Keep all opened files until the process ends.

    In a forked process, to close one would wait forever for the runtime's threads, which are in the other process.
    """
    for opened in (_CORE, *_OPENED):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(opened))


if hasattr(os, 'register_at_fork'):  # not in Windows, which has no fork
    os.register_at_fork(after_in_child=_never_close)


def check_parts(file: Path) -> None:
    """Check that all files of an exported detector are there.

    Raises:
        UserError: one is missing.
    """
    if not file.is_file():
        raise UserError(f'there is no exported file {file.absolute()}')
    for part in parts(file):
        if not part.is_file():
            raise UserError(f'{file} is incomplete: put {part.name} next to it')


def runtime_version(file: Path) -> str:
    """Return the name and version of the runtime that opens a file."""
    module = SESSIONS[file.suffix].module
    with _runtime_of(file):
        dict(openvino=openvino_core, onnxruntime=onnx_runtime).get(module, lambda: None)()  # imports without telemetry
        return f'{module} {import_module(module).__version__}'


def _refused(file: Path, why: str) -> CannotOpenError:
    """Return the error for a file that its runtime refuses: what to do depends on whether the file is whole."""
    whole = is_whole(parts(file))
    if whole:
        return CannotOpenError(f'{file} is as it was exported, but cannot be opened here ({why}): use a file of '
                               'another format or precision, or another version of the runtime')
    if file.suffix == '.xml' and not file.read_bytes().rstrip().endswith(b'</net>'):
        whole = False  # what states the checksum was cut off
    cause = ('it has no checksum that would say whether it is whole' if whole is None else
             'it is truncated or was changed after the export')
    return CannotOpenError(f'{file} cannot be opened ({why}); {cause}: copy all its parts again, or export it again')


def is_exported(file: str | Path) -> bool:
    """Return whether a file is an exported one, judged by its extension."""
    return Path(file).suffix in SESSIONS


def parts(file: Path) -> list[Path]:
    """Return all files of an exported detector: one .onnx, .xml and .bin, or .ncnn.param, .bin and .json."""
    return [file, *map(file.with_suffix, SESSIONS[file.suffix].endings)]


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Stop OpenVINO, NNCF and ONNX Runtime from sending usage data, if they are imported inside the `with` block.

    On import they send a message to Google Analytics, or to Microsoft (ONNX Runtime from 1.29), unless the variable CI
    says that a CI job runs.
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

    A tensor is read here, in one thread: if the first ones are read in two threads at the same time, both wait forever.
    """
    with _CORE_LOCK:
        if not _CORE:
            with no_telemetry():
                import openvino
            core = openvino.Core()
            core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')  # loads the plugin
            bytes(openvino.Tensor(openvino.Type.u8, [1]).data)
            _CORE.append(core)
        return _CORE[0]


def onnx_runtime() -> Any:
    """Return the module `onnxruntime`, imported without telemetry.

    That would also start a thread for which a forked process waits forever when it ends.
    """
    with no_telemetry():
        import onnxruntime
    return onnxruntime


class _OnnxSession:
    package, module, extra = 'ONNX Runtime', 'onnxruntime', 'runtime'
    endings: tuple[str, ...] = ()  # of the files next to the exported one

    def __init__(self, file: Path, _: str, threads: int, requests: int, __: bool) -> None:
        onnxruntime = onnx_runtime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = max(1, threads // requests)
        self.turns = BoundedSemaphore(requests)
        self.file, self.open = file, partial(onnxruntime.InferenceSession, sess_options=options,
                                             providers=['CPUExecutionProvider'])
        try:
            self.session = self.open(str(file))
        except Exception as error:  # ONNX Runtime has its own error types, derived directly from Exception
            raise _refused(file, reason(error)) from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.manifest = Manifest.from_json(metadata.get(KEY, '{}'), str(file))
        self.decoder = _decoder_in(self.manifest, file) if self.manifest.decoder else None

    def run(self, image: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        with self.turns:
            if not self.decoder:
                return tuple(self.session.run(outputs(self.manifest), dict(image=image, size=size)))
            maps = self.maps(image, size)
        return self.decoder.boxes([part[0] for part in maps], size.tolist())

    def maps(self, image: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
        if self.decoder:
            return self.session.run(None, dict(image=normalized(image, size, self.manifest)[None]))
        names = self.manifest.map_names
        # A message in protobuf's format is extended by what is appended to it: here, by outputs of the graph.
        more = b''.join(_field(12, _field(1, name.encode())) for name in names)
        session = self.open(self.file.read_bytes() + _field(7, more))
        return session.run(names, dict(image=image, size=size))


def _field(number: int, content: bytes) -> bytes:
    """Return a field of a message in protobuf's format: below 16 its number, its length and its content."""
    length, rest = b'', len(content)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + content


class _OpenVinoSession:
    package, module, extra, endings = 'OpenVINO', 'openvino', 'runtime', ('.bin',)

    def __init__(self, file: Path, precision: str, threads: int, requests: int, integers: bool) -> None:
        core = openvino_core()
        if precision == 'bf16' and 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
            raise UserError('this processor does not support bfloat16: use fp32')
        settings: dict[str, Any] = dict(INFERENCE_PRECISION_HINT=dict(fp32='f32', bf16='bf16')[precision],
                                        PERFORMANCE_HINT='LATENCY', INFERENCE_NUM_THREADS=threads)
        if requests > 1:  # threads that read and draw share the cores, so none is bound to one
            settings |= dict(PERFORMANCE_HINT='THROUGHPUT', NUM_STREAMS=requests, ENABLE_CPU_PINNING=False)
        if not integers:  # a setting that OpenVINO does not document
            settings |= dict(LP_TRANSFORMS_MODE='NO')
        self.read, self.compile = partial(core.read_model, file), partial(core.compile_model, device_name='CPU',
                                                                          config=settings)
        try:
            model = self.read()
            self.compiled = self.compile(model)
        except RuntimeError as error:
            message = str(error).strip().splitlines()[-1]  # the lines before name files of OpenVINO's own code
            if precision == 'bf16':  # OpenVINO also lists it if an environment variable hides the instructions
                raise UserError(f'this processor does not support bfloat16 ({message}): use fp32') from error
            raise _refused(file, message) from error
        text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else '{}'
        self.manifest = Manifest.from_json(text, str(file))
        self.idle = SimpleQueue[Any]()  # a request has one caller at a time
        for _ in range(requests):
            self.idle.put(self.compiled.create_infer_request())

    def run(self, image: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        request = self.idle.get()
        try:
            result = request.infer(dict(image=image, size=size))
            return tuple(result[name].copy() for name in outputs(self.manifest))
        finally:
            self.idle.put(request)

    def maps(self, image: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
        model, names = self.read(), self.manifest.map_names
        model.add_outputs(names)
        result = self.compile(model).create_infer_request().infer(dict(image=image, size=size))
        return [result[name] for name in names]


class _NcnnSession:
    """ncnn runs the network; pixels are normalized before it and maps decoded after it, here."""

    package, module, extra, endings = 'ncnn', 'ncnn', 'ncnn', ('.bin', '.json')

    def __init__(self, file: Path, _: str, threads: int, requests: int, __: bool) -> None:
        self.manifest = Manifest.from_json(file.with_suffix('.json').read_text('utf-8', errors='replace'), str(file))
        self.network = ncnn_network(file, max(1, threads // requests))
        self.turns = BoundedSemaphore(requests)
        self.decoder = _decoder_in(self.manifest, file.with_suffix('.json'))

    def run(self, image: np.ndarray, size: np.ndarray) -> Instances:
        return self.decoder.boxes(self._maps(image, size), size.tolist())

    def maps(self, image: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
        return [part[None] for part in self._maps(image, size)]

    def _maps(self, image: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
        x = normalized(image, size, self.manifest)
        with self.turns:
            return self.network(x)


def _decoder_in(manifest: Manifest, file: Path) -> Decoder:
    """Return what finds boxes in the maps of a file."""
    try:
        return Decoder(**(manifest.decoder or {}))
    except TypeError as error:
        raise UserError(f'{file} does not say how to find boxes ({reason(error)}): export the checkpoint '
                        'again') from error


def ncnn_network(file: Path, threads: int | None = None) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Open a .param file and the .bin next to it; return a function from an input (C, H, W) to the outputs (C, H, W),
    in order.

    Raises:
        ImportError: ncnn is not installed.
        UserError: a file cannot be opened.
    """
    import ncnn
    net = ncnn.Net()
    net.opt.num_threads = threads or usable_cores()
    for name in ('fp16_packed', 'fp16_storage', 'fp16_arithmetic', 'bf16_storage'):
        setattr(net.opt, f'use_{name}', False)  # numbers are computed in 32 bits, also with weights of 16 bits
    if net.load_param(str(file)) or net.load_model(str(file.with_suffix('.bin'))):
        raise _refused(file, 'ncnn does not say why')
    names = sorted(net.output_names(), key=lambda name: int(name.removeprefix('out')))

    def run(x: np.ndarray) -> list[np.ndarray]:
        extractor = net.create_extractor()
        extractor.input('in0', ncnn.Mat(x))
        return [np.array(extractor.extract(name)[1]) for name in names]
    return run


def normalized(image: np.ndarray, size: np.ndarray, manifest: Manifest) -> np.ndarray:
    """Return the network's input (3, H, W) for RGB pixels (1, H, W, 3): normalized, with zeros outside the image."""
    pixels = image[0] if manifest.is_rgb else image[0, :, :, ::-1]
    values: np.ndarray = np.arange(256, dtype=np.float32)
    x = np.stack([cv2.LUT(np.ascontiguousarray(channel), (values - np.float32(mean)) / np.float32(std))
                  for channel, mean, std in zip(np.moveaxis(pixels, 2, 0), manifest.mean, manifest.std)])
    x[:, size[0]:], x[:, :, size[1]:] = 0, 0
    return x


SESSIONS: dict[str, type[_OnnxSession | _OpenVinoSession | _NcnnSession]] = {
    '.onnx': _OnnxSession, '.xml': _OpenVinoSession, '.param': _NcnnSession}
