"""Tables for pages and programs."""
import csv
import io
from collections.abc import Sequence
from typing import Any


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the header.

    >>> print(markdown_table([['a', 'b'], ['1', '2']]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [lines[0], ['---'] * len(lines[0]), *lines[1:]])


def aligned_table(lines: Sequence[Sequence[str]]) -> str:
    """Columns for a terminal: names to the left, figures to the right.

    >>> print(aligned_table([['name', 'n'], ['x', '10']]))
    name   n
    x     10
    """
    widths = [max(map(len, column)) for column in zip(*lines)]
    return '\n'.join('  '.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)


def csv_table(records: Sequence[dict[str, Any]]) -> str:
    """A header of the keys, which all records share, and a line for each record; empty where a value is None.

    >>> print(csv_table([dict(a=1, b=None)]), end='')
    a,b
    1,
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
