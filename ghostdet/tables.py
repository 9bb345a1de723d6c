"""Formats tables as Markdown, aligned text, and CSV."""
import csv
import io
from collections.abc import Sequence
from typing import Any


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first line is the header.

    >>> print(markdown_table([['a', 'b'], ['1', '2']]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [lines[0], ['---'] * len(lines[0]), *lines[1:]])


def aligned_table(lines: Sequence[Sequence[str]], left: int | None = 1) -> str:
    """Return aligned columns for a terminal: names to the left, numbers to the right.

    Args:
        left: number of first columns with names; None: all.

    >>> print(aligned_table([['name', 'n'], ['x', '10']]))
    name   n
    x     10
    """
    widths = [max(map(len, column)) for column in zip(*lines)]
    names = len(widths) if left is None else left
    rows = ([*map(str.ljust, line[:names], widths), *map(str.rjust, line[names:], widths[names:])] for line in lines)
    return '\n'.join('  '.join(row).rstrip() for row in rows)


def cell(value: float | int | None) -> str:
    """Return a number for a table; '-' for None and NaN.

    >>> cell(3), cell(0.25), cell(float('nan'))
    ('3', '0.250', '-')
    """
    if value is None or value != value:
        return '-'
    return str(value) if isinstance(value, int) else f'{value:.3f}'


def csv_table(records: Sequence[dict[str, Any]]) -> str:
    """Return CSV with a header and a line for each record. All records have the same keys; None becomes an empty field.

    >>> print(csv_table([dict(a=1, b=None)]), end='')
    a,b
    1,
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
