"""Command lines from option classes. Needs only the standard library."""
import argparse
import re
import sys
from typing import Any, TypeVar

from ghostdet.cli.door import command_parser
from ghostdet.options import DataOptions, Options, is_required, typed

Chosen = TypeVar('Chosen', bound=Options)


class KeyValues(argparse.Action):
    """Parses KEY=VALUE pairs as mmengine does. Anything else is a usage error."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        """Add the pairs to the parsed arguments."""
        odd = [pair for pair in values if not pair.partition('=')[0] or '=' not in pair]
        if odd:
            raise argparse.ArgumentError(self, f'expected KEY=VALUE, got {", ".join(map(repr, odd))}')
        from mmengine.config import DictAction
        try:
            DictAction([], self.dest, nargs='+')(parser, namespace, values)
        except (AssertionError, ValueError) as error:
            raise argparse.ArgumentError(self, str(error)) from error


def parse_options(options: type[Chosen], description: str | None, arguments: list[str] | None) -> Chosen:
    """Parse a command line into an option class: a flag, or a positional argument, for each field.

    Flags and positional arguments can come in any order. A positional argument that can be left out is the first one.

    Args:
        description: the command's docstring, for --help.
    """
    parser = command_parser(description)
    data = parser.add_argument_group('your own data; classes come from its annotation files')
    own_data = {one.name for one, _ in typed(DataOptions)} if issubclass(options, DataOptions) else set()
    for one, kind in sorted(typed(options), key=lambda pair: not pair[0].metadata['positional']):
        group = data if one.name in own_data and not is_required(one) else parser
        add_option(group.add_argument, one, str(kind))
    takes_auto = any(one.name == 'tiles' and 'bool' in str(kind) for one, kind in typed(options))
    return options(**vars(parser.parse_intermixed_args(with_auto(arguments) if takes_auto else arguments)))


def with_auto(arguments: list[str] | None) -> list[str]:
    """Return a command line where `--tiles` without a number is `--tiles=auto`, so that it takes no file for its value.

    Args:
        arguments: None: those of this process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    following = [*words[1:], '']
    return [f'{word}=auto' if word == '--tiles' and not re.fullmatch(r'auto|-?[\d.]+(px)?', number) else word
            for word, number in zip(words, following)]


def tile_side(text: str) -> bool | int:
    """Return the side of a tile in pixels; True for `auto`."""
    if text != 'auto' and not text.lstrip('-').isdecimal():
        raise argparse.ArgumentTypeError(f'expected a whole number of pixels, got {text!r}')
    return True if text == 'auto' else int(text)


def add_option(add: Any, one: Any, kind: str) -> None:
    """Add an option by a parser's or a group's `add_argument`.

    Args:
        kind: its type as text; this decides how many words follow the flag.
    """
    given = one.metadata
    details: dict[str, Any] = dict(help=given['help'].replace('%', '%%'), metavar=given['metavar'],
                                   choices=given['choices'])
    if is_required(one):
        add(*([f'--{one.name}'] if given['flag'] else [one.name]), **details,
            **(dict(required=True) if given['flag'] else {}))
        return
    details.update(default=one.default)
    if given['positional']:
        add(one.name, nargs='?', **details)
        return
    if 'Mapping' in kind:
        details.update(nargs='+', action=KeyValues, default={})
    elif 'bool' in kind and 'int' in kind:
        details.update(nargs='?', const=True, type=tile_side)
    elif 'bool' in kind and 'str' in kind:
        details.update(nargs='?', const=True)
    elif 'bool' in kind:
        details = dict(help=details['help'], action='store_true')
    elif 'tuple' in kind:
        details.update(nargs=2, type=int, metavar=tuple(given['metavar'].split()))
    elif 'str' not in kind and 'Path' not in kind:
        details.update(type=float if 'float' in kind else int)
    add(f'--{one.name.replace("_", "-")}', **details)
