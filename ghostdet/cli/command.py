"""The command `ghostdet VERB`. Each verb is a file in this folder, which is imported when the verb is used."""
import ast
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import ghostdet
from ghostdet.cli import door
from ghostdet.errors import PackageError
from ghostdet.packages import import_advice

EXTRAS = dict(predict='runtime', demo='demo')  # what pip has to install for a verb; 'train' for the others
# Studies that are not in the wheel, and their modules in a clone.
MOVED = dict(benchmark='speed', visualize='visualize', transfer='transfer')
SHARED = ('__init__', 'arguments', 'command', 'door')


def verbs() -> dict[str, str]:
    """Return the verbs, and the first line of each one's docstring. Imports none of them."""
    files = sorted(file for file in Path(__file__).parent.glob('*.py') if file.stem not in SHARED)
    texts = [ast.get_docstring(ast.parse(file.read_text(encoding='utf-8'))) or '' for file in files]
    return {file.stem.replace('_', '-'): text.partition('\n')[0] for file, text in zip(files, texts)}


def main() -> int:
    """Run `ghostdet VERB ...`.

    Return `door.run`'s exit code, or 1 for a missing or too old package, 2 for an unknown verb.
    """
    verb, *arguments = sys.argv[1:] or ['--help']
    known = verbs()
    if verb in ('-h', '--help'):
        return door.run(lambda _: print(_usage(known)))
    if verb == '--version':
        print(ghostdet.__version__)
        return 0
    if verb in MOVED:
        print(f'error: "ghostdet {verb}" is a study, in the repository and not in the package. Run in a clone: '
              f'python -m benchmarks.{MOVED[verb]}', file=sys.stderr)
        return 2
    if verb not in known:
        similar = get_close_matches(verb, known, n=1)
        print(f'error: ghostdet has no verb {verb!r}' + (f'; did you mean {similar[0]}?' if similar else '')
              + '\nghostdet --help lists the verbs', file=sys.stderr)
        return 2
    sys.argv = [f'ghostdet {verb}', *arguments]  # parsers take their name from it
    try:
        return door.run(import_module(f'ghostdet.cli.{verb.replace("-", "_")}').main, arguments)
    except PackageError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except ImportError as error:
        advice = import_advice(error, f'ghostdet {verb}', EXTRAS.get(verb, 'train'))
        if advice is None:
            raise
        print(f'error: {advice}', file=sys.stderr)
        return 1


def _usage(known: dict[str, str]) -> str:
    width = max(map(len, known))
    return '\n'.join(['usage: ghostdet VERB ...\n\nghostdet VERB --help explains a verb. The verbs:\n',
                      *(f'  {name:{width}}  {text}' for name, text in known.items())])
