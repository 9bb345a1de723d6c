"""How long networks take, side by side, and how far that is from what the machine allows."""
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

from ghostdet.analysis.counting import is_counted

MATRIX = 2048  # side of the matrices whose product gives the peak of arithmetic
COPIED = 2 ** 28  # bytes of the copy that gives the bandwidth: more than caches hold
TRIES = 7


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates, and bytes if each convolution and matrix product reads its inputs and writes its output once."""

    macs: int
    bytes: int

    def times(self, factor: int) -> 'Work':
        """Of `factor` such passes."""
        return Work(self.macs * factor, self.bytes * factor)


@dataclass(frozen=True)
class Peak:
    """What the machine reached in the same run, in multiply-accumulates and in bytes (read and written) a second."""

    macs: float
    bandwidth: float

    def seconds(self, work: Work) -> float:
        """The least time for `work`: its arithmetic or its memory traffic, whichever takes longer."""
        return max(work.macs / self.macs, work.bytes / self.bandwidth)


@dataclass(frozen=True)
class Spread:
    """Some values: the median, and the quarters below and above it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Spread':
        """Quartiles of at least one value."""
        low, _, high = quantiles(values, n=4, method='inclusive') if len(values) > 1 else [values[0]] * 3
        return cls(median(values), low, high)


def spent(call: Callable[[], Any], device: str = 'cpu') -> float:
    """Seconds that `call` takes, on a GPU until all it has begun is done."""
    wait = torch.cuda.synchronize if device == 'cuda' else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def spent_by_processor(call: Callable[[], Any]) -> float:
    """Seconds of processor time that `call` takes in this process, whatever else the machine does."""
    start = time.process_time()
    call()
    return time.process_time() - start


def race(calls: Sequence[Callable[[], Any]], rounds: int, clock: Callable[[Callable[[], Any]], float] = spent,
         warm: bool = True) -> Iterator[list[float]]:
    """Seconds of each call, round by round: neighbours in time, so that their ratios hold where the machine's speed drifts.

    The order is drawn again in every round.

    Args:
        clock: calls a function and returns the seconds it took.
        warm: call each twice, and time the second call: what ran before leaves caches and free memory in another state.
    """
    order, draw = list(range(len(calls))), Random(0)
    for _ in range(rounds):
        draw.shuffle(order)
        seconds = {}
        for index in order:
            if warm:
                calls[index]()
            else:
                gc.collect()  # what the call before left is not this one's
            seconds[index] = clock(calls[index])
        yield [seconds[index] for index in range(len(calls))]


def measure_peak(device: str = 'cpu', dtype: torch.dtype = torch.float32) -> Peak:
    """The fastest of some large matrix products and copies, with torch's present number of threads."""
    one, other = (torch.rand(MATRIX, MATRIX, device=device).to(dtype) for _ in range(2))
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = min(spent(lambda: one @ other, device) for _ in range(TRIES))
    copy = min(spent(lambda: target.copy_(source), device) for _ in range(TRIES))
    return Peak(MATRIX ** 3 / product, 2 * COPIED / copy)


def count_work(model: nn.Module, call: Callable[[], Any]) -> Work:
    """What the convolutions and linear layers of `model` do in `call`."""
    macs = moved = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, moved
        macs += output.numel() * layer.weight[0].numel()  # weight[0] is all that makes one output value
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
    """Share of the time of each of PyTorch's operators, the largest first; on a GPU, of its kernels."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities) as profiler:
        for _ in range(passes):
            call()
    found = profiler.key_averages()
    times = {event.key: event.self_device_time_total for event in found if event.self_device_time_total}
    times = times or {event.key: event.self_cpu_time_total for event in found}
    whole = sum(times.values())
    return {key: value / whole for key, value in sorted(times.items(), key=lambda pair: -pair[1])}


def kept_bytes(model: nn.Module, call: Callable[[], Any]) -> int:
    """Bytes of all distinct tensors that autograd keeps in `call` for the backward pass, parameters apart."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other takes its place
        return tensor
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)
