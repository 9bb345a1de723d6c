"""Tables for pages."""
from collections.abc import Sequence


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the header.

    >>> print(markdown_table([['a', 'b'], ['1', '2']]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [lines[0], ['---'] * len(lines[0]), *lines[1:]])
