"""Run the speed benchmark: build the networks and time them in turns in many settings."""
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmdet.structures import DetDataSample
from torch import Tensor

from benchmarks.contestants import (
    COMPARED,
    LIGHT,
    MODES,
    NETWORKS,
    PLAIN,
    RUNTIME_MODES,
    TORCH_MODES,
    by_runtime,
    deployed,
    in_mode,
    laid_out,
    without_gradients,
)
from benchmarks.speed_table import Race, Row, Setting, SpeedTable, Target
from benchmarks.timing import Work, count_work, kept_bytes, measure_peak, operators, race, spent
from ghostdet.errors import UserError, reason
from ghostdet.messages import LOGGER
from ghostdet.packaged_configs import config_name
from ghostdet.progress import progress
from ghostdet.training.build import build_detector
from ghostdet.training.config_file import read_config
from ghostdet.training.provenance import machine, versions

PRECISIONS = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)
BAR = '{desc}{percentage:3.0f}%|{bar:20}| {elapsed}, {remaining} left'
EFFORT = dict(inference=1, training=4, detector=14)  # rough relative time per pixel, for the progress bar
Contestant = tuple[str, str]  # network (or a detector's config) and mode
EAGER = tuple(product(PLAIN, MODES[:3]))
COMPILED: tuple[Contestant, ...] = (('timm', 'compiled'), ('ghostnet', 'compiled'))
TRAINED = (*product((*PLAIN, 'ghostnet with_cp=cheap', 'ghostnet with_cp=True'), MODES[:1]),
           *((name, 'channels_last') for name in PLAIN))
DETECTORS = tuple(product(
    [f'retinanet_{name}_coco' for name in ('ghostnet_1.1x', 'mobilenetv2_1.0x', 'mobilenetv3_1.0x')],
    ('default', 'optimized')))


@dataclass(frozen=True)
class Grid:
    """Races in all combinations of shapes (height, width), batches, threads and precisions.

    If `threads` is empty, torch's current number of threads is used.
    """

    task: str
    contestants: tuple[Contestant, ...]
    shapes: Sequence[tuple[int, int]]
    batches: Sequence[int] = (1,)
    threads: Sequence[int] = ()
    precisions: Sequence[str] = ('float32',)

    def settings(self, device: str) -> Iterator[Setting]:
        """Yield one setting per race."""
        threads = self.threads or (torch.get_num_threads(),)
        for shape, batch, count, precision in product(self.shapes, self.batches, threads, self.precisions):
            yield Setting(self.task, *shape, batch, count, precision, device)


FULL = (800, 1344)
PRESETS = dict(
    cpu=(
        Grid('inference', EAGER + COMPILED, [(320, 320), (640, 640), FULL]),
        Grid('inference', EAGER, [(224, 224), (448, 448), (1344, 1344)]),
        Grid('inference', EAGER, [(224, 224)], batches=(2, 4, 8, 16)),
        Grid('inference', EAGER, [(320, 320)], threads=(1,)),
        Grid('inference', EAGER, [(320, 320), FULL], precisions=['bfloat16']),
        Grid('training', TRAINED, [(320, 320)], batches=(4,)),
        Grid('detector', DETECTORS, [(320, 320), (640, 640)])),
    family=(
        Grid('inference', tuple(product(COMPARED, ('default', 'optimized', 'compiled', *RUNTIME_MODES[:3]))),
             [(320, 320), FULL]),
        Grid('training', tuple(product(COMPARED, ('default',))), [(320, 320)], batches=(4,))),
    light=(Grid('inference', tuple(product(LIGHT, RUNTIME_MODES)), [(320, 320), (416, 416)]),),
    gpu=(
        Grid('inference', EAGER + COMPILED, [(224, 224), (320, 320), (640, 640), FULL, (1344, 1344)],
             precisions=('float32', 'float16')),
        Grid('inference', EAGER, [(224, 224)], batches=(2, 4, 8, 16, 64)),
        Grid('inference', EAGER + COMPILED, [FULL], batches=(16,), precisions=('float32', 'float16')),
        Grid('training', TRAINED, [FULL], batches=(16,), precisions=('float32', 'float16')),
        Grid('detector', DETECTORS, [FULL], batches=(1, 16), precisions=('float32',))),
)
# Targets on two cores.
TARGETS = (
    *(Target('inference', FULL, ('repghostnet_1.11x', mode), (other, mode), bound)
      for mode in ('openvino', 'onnxruntime') for other, bound in (('ghostnet', 0.85), ('mobilenetv3', 1.0))),
    Target('inference', FULL, ('ghostnet', 'optimized'), ('timm', 'default'), 0.42),
    Target('inference', FULL, ('ghostnet', 'optimized'), ('timm', 'optimized'), 0.9),
    Target('inference', FULL, ('ghostnet', 'compiled'), ('timm', 'default'), 0.36),
    *(Target('inference', (416, 416), (LIGHT[2], mode), (other, mode), bound)
      for mode, other, bound in (('openvino', LIGHT[0], 1.05), ('openvino', LIGHT[5], 0.1),
                                 ('onnxruntime', LIGHT[0], 1.1), ('onnxruntime', LIGHT[5], 0.12))),
    *(Target('training', (320, 320), (network, 'default'), (other, 'default'), bound, of)
      for network, other, of, bound in (
          ('ghostnet', 'timm', 'time', 1.0), ('ghostnet', 'timm', 'memory', 1.0),
          ('ghostnet with_cp=cheap', 'ghostnet', 'time', 1.15), ('ghostnet with_cp=cheap', 'ghostnet', 'memory', 0.65),
          ('ghostnet with_cp=True', 'ghostnet', 'time', 1.35), ('ghostnet with_cp=True', 'ghostnet', 'memory', 0.5))),
)


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """Which races to run: those of a preset, or all combinations of the other settings.

    Attributes:
        device: 'cpu' or 'cuda'.
        rounds: how often each contestant is timed.
        operators: also measure each PyTorch operator's fraction of the time.
        shapes: heights and widths in pixels.
        configs: config files of detectors, for the task 'detector'.
    """

    device: str = 'cpu'
    rounds: int = 9
    operators: bool = False
    preset: str | None = None
    task: str = 'inference'
    networks: Sequence[str] = PLAIN
    configs: Sequence[str] = ()
    modes: Sequence[str] = ('default',)
    shapes: Sequence[tuple[int, int]] = ((320, 320),)
    batches: Sequence[int] = (1,)
    threads: Sequence[int] = ()
    precisions: Sequence[str] = ('float32',)


def grids(options: SpeedOptions) -> Sequence[Grid]:
    """Return the races for `options`.

    Raises:
        UserError: options contradict each other or are out of range.
    """
    if options.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda and --preset gpu need a CUDA GPU, but torch finds none: use --device cpu')
    sides = [side for shape in options.shapes for side in shape]
    numbers = [options.rounds, *options.batches, *sides, *options.threads]
    if min(numbers) < 1:
        raise UserError('--rounds, --batches, --shapes and --threads must be at least 1')
    if options.preset:
        own = [name for name in ('task', 'networks', 'modes', 'shapes', 'batches', 'threads', 'precisions')
               if tuple(getattr(options, name)) != tuple(getattr(SpeedOptions, name))]
        if own:
            raise UserError(f'--preset {options.preset} has settings of its own: leave out --{", --".join(own)}, or '
                            'the preset')
        if options.preset in ('family', 'light') and options.device != 'cpu':
            raise UserError(f'--preset {options.preset} runs on a CPU only: its runtimes do')
        return PRESETS[options.preset]
    if (options.task == 'detector') != bool(options.configs):
        raise UserError('--task detector needs --configs, and --configs needs --task detector: give both or neither')
    if options.task == 'training' and set(options.modes) - set(MODES[:2]):
        raise UserError(f'--task training supports only --modes {" ".join(MODES[:2])}: the other modes are for '
                        'inference')
    if set(options.modes) & set(RUNTIME_MODES):
        if options.task == 'detector':
            raise UserError(f'detectors are measured with --modes {" ".join(TORCH_MODES)}: "python -m benchmarks.speed '
                            'deploy" measures their exported files')
        if options.device != 'cpu' or set(options.precisions) != {'float32'}:
            raise UserError(f'--modes {" ".join(RUNTIME_MODES)} run on a CPU only, with --precisions float32')
    networks = options.configs or options.networks
    if options.task == 'inference' and any('with_cp' in name for name in networks):
        raise UserError('with_cp makes no difference in inference: use it with --task training')
    return [Grid(options.task, tuple(product(networks, options.modes)), options.shapes, options.batches,
                 options.threads, options.precisions)]


def run(options: SpeedOptions) -> Iterator[SpeedTable]:
    """Run the races one after the other; after each, yield the table of all finished races.

    Raises:
        UserError: options contradict each other, no race is possible, or a network is missing or fails.
    """
    threads, rounds, device = torch.get_num_threads(), options.rounds, options.device
    planned = [(setting, grid.contestants) for grid in grids(options)
               for setting in grid.settings(device) if _is_possible(setting)]
    effort = [_effort(setting) * len(contestants) for setting, contestants in planned]
    if not planned:
        raise UserError('no race can run on this processor: choose another of --precisions')
    done: list[Race] = []
    with progress(total=sum(effort) * (rounds + 1), leave=True, disable=False, bar_format=BAR) as bar:
        for (setting, contestants), steps in zip(planned, effort):
            bar.set_description(str(setting))
            torch.set_num_threads(setting.threads)
            try:
                done.append(_race(setting, contestants, rounds, options.operators, partial(bar.update, steps)))
            finally:
                torch.set_num_threads(threads)
            yield SpeedTable(_describe(device), tuple(done), TARGETS)


def _is_possible(setting: Setting) -> bool:
    unsupported = (setting.device == 'cpu' and setting.precision == 'bfloat16'
                   and not torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if unsupported:
        LOGGER.info(f'skipped, because this processor has no instructions for bfloat16: {setting}')
    return not unsupported


def _effort(setting: Setting) -> int:
    return EFFORT[setting.task] * setting.height * setting.width * setting.batch


def _describe(device: str) -> str:
    return f'{machine(int(device == "cuda"))}; torch {versions()["torch"]}; {date.today()}'


def _race(setting: Setting, contestants: Sequence[Contestant], rounds: int, profiled: bool,
          tick: Callable[[], Any]) -> Race:
    with TemporaryDirectory() as folder:
        entries = [_Entry(setting, *contestant, Path(folder)) for contestant in contestants]
    for entry in entries:
        entry.warm_up()
    tick()
    seconds = []
    for times in race([entry.call for entry in entries], rounds, partial(spent, device=setting.device)):
        seconds.append(times)
        tick()
    rows = tuple(Row(entry.name, entry.mode, times, entry.work, entry.memory, operators(entry.call) if profiled else {})
                 for entry, times in zip(entries, zip(*seconds)))
    return Race(setting, measure_peak(setting.device, PRECISIONS[setting.precision]), rows)


class _Entry:
    """One network in one mode, ready to be called, with its work and memory. `scratch`: a folder for the ONNX files."""

    def __init__(self, setting: Setting, network: str, mode: str, scratch: Path) -> None:
        self.setting, self.name, self.mode = setting, config_name(network), mode
        self.work, self.scratch = Work(0, 0), scratch
        self.memory: int | None = None
        torch.manual_seed(0)
        self.dtype = PRECISIONS[setting.precision]
        build = dict(inference=self._inference, training=self._training, detector=self._detector)[setting.task]
        try:
            self.call = build(network)
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise self._failed(error) from error

    def warm_up(self) -> None:
        """Call it twice to compile it and allocate memory; on a GPU, also record the peak memory if not yet known."""
        try:
            self.call()
            if self.setting.device == 'cuda':
                torch.cuda.reset_peak_memory_stats()
            self.call()
        except RuntimeError as error:
            raise self._failed(error) from error
        if self.setting.device == 'cuda' and self.memory is None:
            self.memory = torch.cuda.max_memory_allocated()

    def _failed(self, error: Exception) -> UserError:
        return UserError(f'{self.name} {self.mode} failed at {self.setting} ({reason(error)}): leave it out with '
                         '--networks and --modes, or use other --batches or --shapes')

    def _image(self, dtype: torch.dtype) -> Tensor:
        setting = self.setting
        return torch.rand(setting.batch, 3, setting.height, setting.width, device=setting.device).to(dtype)

    def _inference(self, network: str) -> Callable[[], Any]:
        plain, x = deployed(network).to(self.setting.device, self.dtype), self._image(self.dtype)
        self.work = count_work(plain, lambda: plain(x))
        if self.mode in RUNTIME_MODES:
            return by_runtime(plain, x, self.mode, self.setting.threads, self.scratch / f'{network}.onnx')
        return without_gradients(in_mode(plain, self.mode), laid_out(x, self.mode))

    def _training(self, network: str) -> Callable[[], Any]:
        model = NETWORKS[network]().to(self.setting.device)
        model.train()
        x = laid_out(self._image(torch.float32), self.mode)
        model = in_mode(model, self.mode)
        kind = self.setting.device
        is_plain = self.dtype == torch.float32
        context: AbstractContextManager = nullcontext() if is_plain else torch.autocast(kind, self.dtype)
        with context:
            # times 3: forward, gradients of inputs, gradients of weights
            self.work = count_work(model, lambda: model(x)).times(3)
            self.memory = kept_bytes(model, lambda: model(x))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

        def step() -> None:
            with context:
                loss = sum(feature.float().mean() for feature in model(x))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return step

    def _detector(self, config: str) -> Callable[[], Any]:
        plain = build_detector(read_config(config, {}), config).to(self.setting.device, self.dtype)
        x, shape = self._image(self.dtype), (self.setting.height, self.setting.width)
        known = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape,
                     scale_factor=(1.0, 1.0))
        samples = [DetDataSample(metainfo=known) for _ in range(self.setting.batch)]
        self.work = count_work(plain, lambda: plain(x, samples, mode='predict'))
        model = in_mode(plain, self.mode)
        return without_gradients(model, laid_out(x, self.mode), samples, mode='predict')
