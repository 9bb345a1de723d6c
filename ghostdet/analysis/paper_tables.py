"""The paper's tables of Ghost modules in other networks, beside what is counted. Source: arXiv 1911.11907, section 4."""
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ghostdet.analysis.complexity import Count
from ghostdet.tables import aligned_table, csv_table, markdown_table

HEADER = ('network', 's', 'd', 'params M, paper', 'counted', 'differs', 'MACs M, paper', 'counted', 'differs')
NOTES = (
    'MACs: multiply-accumulates of convolutions and linear layers, which the paper calls FLOPs; VGG-16 and ResNet-56 on images '
    'of 32x32, the others of 224x224. Parameters: with norms and biases. -: not in the paper, or the plain network',
    'Replaced: in VGG-16 (classifier 512-512-10) and ResNet-56 (shortcuts without weights) every convolution, in ResNet-50 every '
    'one but the first',
    'VGG-16, MACs: the paper cuts decimals off, 163.6 to 163 and 65.7 to 65, which is 1.0% of the last',
)


@dataclass(frozen=True)
class PaperRow:
    """A network: what the paper says of it, in millions, None where it says nothing, and what was counted.

    `explanation` says what differs where that is more than rounding.
    """

    network: str
    ratio: int | None
    dw_size: int | None
    parameters: float | None
    macs: float | None
    counted: Count
    explanation: str = ''

    def cells(self) -> list[str]:
        """The row, in the order of `HEADER`."""
        ratio, dw_size = (('-' if value is None else str(value)) for value in (self.ratio, self.dw_size))
        return [self.network, ratio, dw_size, *_compared(self.parameters, self.counted.parameters / 1e6, 3),
                *_compared(self.macs, self.counted.macs / 1e6, 1)]


@dataclass(frozen=True)
class PaperTables:
    """All rows, and their notes."""

    rows: tuple[PaperRow, ...]

    def to_text(self) -> str:
        """Columns for a terminal, and the notes."""
        return '\n'.join([aligned_table([HEADER, *(row.cells() for row in self.rows)]), *self._notes()])

    def to_markdown(self) -> str:
        """The same for a page."""
        return '\n\n'.join([markdown_table([HEADER, *(row.cells() for row in self.rows)]), *self._notes()]) + '\n'

    def to_json(self) -> str:
        """A list with an entry for each row, unscaled; null where the paper says nothing."""
        return json.dumps(self._records(), indent=1)

    def to_csv(self) -> str:
        """A line for each row; empty where the paper says nothing."""
        return csv_table(self._records())

    def _records(self) -> list[dict[str, Any]]:
        return [dict(network=row.network, ratio=row.ratio, dw_size=row.dw_size, paper_parameters=_millions(row.parameters),
                     counted_parameters=row.counted.parameters, paper_macs=_millions(row.macs), counted_macs=row.counted.macs,
                     explanation=row.explanation) for row in self.rows]

    def _notes(self) -> Iterator[str]:
        yield from NOTES
        yield from (f'{row.network}, s = {row.ratio}: {row.explanation}' for row in self.rows if row.explanation)


def _compared(paper: float | None, counted: float, digits: int) -> list[str]:
    if paper is None:
        return ['-', f'{counted:.{digits}f}', '-']
    return [f'{paper:g}', f'{counted:.{digits}f}', f'{counted / paper - 1:+.1%}']


def _millions(value: float | None) -> int | None:
    return None if value is None else round(value * 1e6)
