"""Time networks against each other, and measure what the machine can reach."""
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from ghostdet.training.counting import is_counted

MATRIX = 2048  # side of the matrices whose product measures peak arithmetic
COPIED = 2 ** 28  # bytes copied to measure the bandwidth; larger than the caches
TRIES = 7  # the fastest counts


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates and memory traffic of a call.

    `bytes` assumes that each convolution and matrix product reads its inputs once and writes its output once.
    """

    macs: int
    bytes: int

    def times(self, factor: int) -> 'Work':
        """Return the work of `factor` such calls."""
        return Work(self.macs * factor, self.bytes * factor)


@dataclass(frozen=True)
class Peak:
    """The speed that the machine reached: multiply-accumulates per second, and bytes read and written per second."""

    macs: float
    bandwidth: float

    def seconds(self, work: Work) -> float:
        """Return the shortest possible time for `work`: the longer of its arithmetic and its memory traffic."""
        return max(work.macs / self.macs, work.bytes / self.bandwidth)


@dataclass(frozen=True)
class Quartiles:
    """Median, lower quartile and upper quartile of some values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Quartiles':
        """Return the quartiles of at least one value."""
        low, _, high = quantiles(values, n=4, method='inclusive') if len(values) > 1 else [values[0]] * 3
        return cls(median(values), low, high)


def spent(call: Callable[[], Any], device: str = 'cpu') -> float:
    """Return the seconds that `call` takes; on a GPU, wait until its work is finished."""
    wait = torch.cuda.synchronize if device == 'cuda' else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def spent_by_processor(call: Callable[[], Any]) -> float:
    """Return the processor time of `call` in this process, in seconds; other processes do not count."""
    start = time.process_time()
    call()
    return time.process_time() - start


def race(calls: Sequence[Callable[[], Any]], rounds: int, clock: Callable[[Callable[[], Any]], float] = spent,
         warm: bool = True) -> Iterator[list[float]]:
    """Time several calls in turns; yield the seconds of each call, round by round.

    The calls of a round run close in time, so their ratios stay correct when the machine's speed drifts. Each round has
    a new random order.

    Args:
        clock: calls a function and returns the seconds it took.
        warm: call each twice and time only the second call, because the previous contestant changes caches and free
            memory.
    """
    order, draw = list(range(len(calls))), Random(0)
    for _ in range(rounds):
        draw.shuffle(order)
        seconds = {}
        for index in order:
            if warm:
                calls[index]()
            else:
                gc.collect()  # so this call does not pay for garbage of the one before
            seconds[index] = clock(calls[index])
        yield [seconds[index] for index in range(len(calls))]


def measure_peak(device: str = 'cpu', dtype: torch.dtype = torch.float32) -> Peak:
    """Measure the machine's peak with torch's current threads: the fastest of several matrix products and copies."""
    one, other = (torch.rand(MATRIX, MATRIX, device=device).to(dtype) for _ in range(2))
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = min(spent(lambda: one @ other, device) for _ in range(TRIES))
    copy = min(spent(lambda: target.copy_(source), device) for _ in range(TRIES))
    return Peak(MATRIX ** 3 / product, 2 * COPIED / copy)


def count_work(model: nn.Module, call: Callable[[], Any]) -> Work:
    """Count the work of the convolutions and linear layers of `model` in `call`."""
    macs = moved = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, moved
        macs += output.numel() * layer.weight[0].numel()  # weight[0] makes one output value
        moved += sum(tensor.numel() * tensor.element_size() for tensor in (inputs[0], layer.weight, output))
    handles = [layer.register_forward_hook(add) for layer in model.modules() if is_counted(layer)]
    try:
        with torch.no_grad():
            call()
    finally:
        for handle in handles:
            handle.remove()
    return Work(macs, moved)


def operators(call: Callable[[], Any], passes: int = 5) -> dict[str, float]:
    """Return each PyTorch operator's fraction of the time, the largest first; on a GPU, of device time with kernels."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities) as profiler:
        for _ in range(passes):
            call()
    events = profiler.key_averages()
    times = {event.key: event.self_device_time_total for event in events if event.self_device_time_total}
    times = times or {event.key: event.self_cpu_time_total for event in events}
    whole = sum(times.values())
    return {key: value / whole for key, value in sorted(times.items(), key=lambda pair: -pair[1])}


def kept_bytes(model: nn.Module, call: Callable[[], Any]) -> int:
    """Return the bytes of all distinct tensors, without parameters, that autograd keeps for `call`'s backward pass."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # a reference keeps its memory from being reused
        return tensor
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in own)
