"""The results of a benchmark, as tables for people and for programs."""
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.timing import Peak, Quartiles, Work
from ghostdet.tables import aligned_table, csv_table, markdown_table

# ratio column -> network (in default mode)
REFERENCES = {'/timm': 'timm', '/MNv2': 'mobilenetv2', '/MNv3': 'mobilenetv3'}
HEADER = ('network', 'mode', 'ms', 'from', 'to', 'images/s', *REFERENCES, 'MACs G', 'MB', 'limit ms', 'x limit',
          'memory MB')


@dataclass(frozen=True)
class Setting:
    """The settings that all contestants of a race share."""

    task: str  # 'inference' or 'training' of backbones, or 'detector'
    height: int
    width: int
    batch: int
    threads: int
    precision: str
    device: str = 'cpu'

    def __str__(self) -> str:
        where = f'{self.threads} thread{"s" * (self.threads > 1)}' if self.device == 'cpu' else self.device
        return f'{self.task}, {self.batch} x {self.height}x{self.width}, {self.precision}, {where}'


@dataclass(frozen=True)
class Row:
    """The results of one network in one mode."""

    network: str
    mode: str
    seconds: tuple[float, ...]  # of each round
    work: Work
    memory: int | None = None  # bytes kept for the backward pass (training), or peak bytes on a GPU
    operators: dict[str, float] = field(default_factory=dict)  # fraction of the time; empty if not measured

    @property
    def quartiles(self) -> Quartiles:
        """Median and quartiles of the seconds."""
        return Quartiles.of(self.seconds)


@dataclass(frozen=True)
class Race:
    """Networks that were timed in turns in one setting."""

    setting: Setting
    peak: Peak
    rows: tuple[Row, ...]

    def find(self, network: str, mode: str) -> Row | None:
        """Return the row of a network in a mode; None: it did not take part."""
        return next((row for row in self.rows if (row.network, row.mode) == (network, mode)), None)

    def ratio(self, row: Row, network: str, mode: str = 'default') -> Quartiles | None:
        """Return the ratio of the row's time to another network's, by rounds; None: the other did not take part."""
        other = self.find(network, mode)
        return None if other is None else Quartiles.of([one / two for one, two in zip(row.seconds, other.seconds)])

    def _ratio_to_reference(self, row: Row, name: str) -> Quartiles | None:
        """Return the ratio to the first network in default mode whose name contains `name`.

        A detector's name contains the name of its backbone.
        """
        names = [other.network for other in self.rows if name in other.network and other.mode == 'default']
        return self.ratio(row, names[0]) if names else None

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield each row's figures by name, unscaled."""
        for row in self.rows:
            quartiles, limit = row.quartiles, self.peak.seconds(row.work)
            ratios = {f'ratio_to_{name}': self._ratio_to_reference(row, name) for name in REFERENCES.values()}
            yield dict(**asdict(self.setting), network=row.network, mode=row.mode, seconds=quartiles.median,
                       seconds_low=quartiles.low, seconds_high=quartiles.high, rounds=len(row.seconds),
                       images_per_second=self.setting.batch / quartiles.median,
                       **{name: ratio and ratio.median for name, ratio in ratios.items()},
                       macs=row.work.macs, bytes=row.work.bytes, peak_macs=self.peak.macs,
                       peak_bandwidth=self.peak.bandwidth,
                       limit_seconds=limit, times_limit=quartiles.median / limit, memory=row.memory)

    def cells(self) -> Iterator[list[str]]:
        """Yield the cells of each row, in the order of `HEADER`."""
        for record in self.records():
            times = [f'{1e3 * record[key]:.1f}' for key in ('seconds', 'seconds_low', 'seconds_high')]
            ratios = [record[f'ratio_to_{name}'] for name in REFERENCES.values()]
            memory = record['memory']
            yield [record['network'], record['mode'], *times, f'{record["images_per_second"]:.1f}',
                   *('-' if ratio is None else f'{ratio:.2f}' for ratio in ratios),
                   f'{record["macs"] / 1e9:.2f}', f'{record["bytes"] / 1e6:.0f}',
                   f'{1e3 * record["limit_seconds"]:.1f}', f'{record["times_limit"]:.1f}',
                   '-' if memory is None else f'{memory / 1e6:.0f}']

    def fractions(self) -> Iterator[str]:
        """Yield a line for each row with its operators that take more than 1% of the time, if they were measured."""
        for row in self.rows:
            if row.operators:
                parts = [f'{name} {fraction:.0%}' for name, fraction in row.operators.items() if fraction > 0.01]
                yield f'{row.network} {row.mode}: {", ".join(parts)}'

    def summary(self) -> str:
        """Return one line with the setting and the machine's peak."""
        return (f'{self.setting}; peak {self.peak.macs / 1e9:.0f} G MACs/s, copying {self.peak.bandwidth / 1e9:.1f} '
                f'GB/s; {len(self.rows[0].seconds)} rounds')


@dataclass(frozen=True)
class Target:
    """A target for the ratio of time or memory between two networks.

    The target is met if the median ratio is at most `bound`. It is undecided if only the lower quartile is.
    """

    task: str
    shape: tuple[int, int]
    one: tuple[str, str]
    other: tuple[str, str]
    bound: float
    of: str = 'time'

    def line(self, race: Race) -> str | None:
        """Return a line with the verdict in `race`; None: the race does not fit the target."""
        setting, (one, other) = race.setting, (race.find(*self.one), race.find(*self.other))
        if (setting.task, setting.height, setting.width, setting.precision) != (self.task, *self.shape, 'float32'):
            return None
        if one is None or other is None or (self.of == 'memory' and not (one.memory and other.memory)):
            return None
        if self.of == 'time':
            ratio = race.ratio(one, *self.other)
            assert ratio is not None
        else:
            ratio = Quartiles.of([(one.memory or 0) / (other.memory or 1)])
        verdict = 'met' if ratio.median <= self.bound else 'undecided' if ratio.low <= self.bound else 'missed'
        return (f'{verdict:9}  {self.of} of {" ".join(self.one)} to {" ".join(self.other)}, {setting}: '
                f'{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f}), wanted at most {self.bound}')


@dataclass(frozen=True)
class SpeedTable:
    """All races of a benchmark, and the machine that ran them."""

    machine: str
    races: tuple[Race, ...]
    targets: tuple[Target, ...] = ()

    def to_text(self) -> str:
        """Return aligned tables for a terminal."""
        parts = ['\n'.join([race.summary(), aligned_table([HEADER, *race.cells()], left=2), *race.fractions()])
                 for race in self.races]
        return '\n\n'.join([self.machine, *parts, *(['\n'.join(self.verdicts())] if self.verdicts() else [])])

    def to_markdown(self) -> str:
        """Return the same tables as Markdown."""
        parts = ['\n\n'.join([f'**{race.summary()}**', markdown_table([list(HEADER), *race.cells()]),
                              *race.fractions()])
                 for race in self.races]
        verdicts = ['\n'.join(f'- {line}' for line in self.verdicts())] if self.verdicts() else []
        return '\n\n'.join([self.machine, *verdicts, *parts]) + '\n'

    def to_json(self) -> str:
        """Return JSON text with the machine and one entry per row. A missing figure is null."""
        return json.dumps(dict(machine=self.machine, rows=list(self._records())), indent=1)

    def to_csv(self) -> str:
        """Return one line per row; empty: no figure."""
        return csv_table(list(self._records()))

    def verdicts(self) -> list[str]:
        """Return the verdict on each target, for every race that fits it."""
        return [line for target in self.targets for race in self.races if (line := target.line(race))]

    def _records(self) -> Iterator[dict[str, Any]]:
        for race in self.races:
            yield from race.records()
