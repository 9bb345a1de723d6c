"""The config that a checkpoint carries as text: others execute it as Python, so it has to be data."""
import ast

HARMLESS = (ast.Module, ast.Assign, ast.Expr, ast.Constant, ast.Dict, ast.List, ast.Tuple, ast.Set, ast.keyword, ast.Name,
            ast.Load, ast.Store, ast.Starred, ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator)
MAKERS = ('dict', 'list', 'tuple', 'set', 'float', 'int')  # the calls of a printed config


def program_in(text: str) -> str | None:
    r"""What in a stored config would run code, with its line; None where it is data, or is no Python and cannot run.

    >>> program_in("model = dict(type='RetinaNet', depth=-1)")
    >>> program_in("seed = 1\n__import__('os').system('id')")
    "line 2: __import__('os').system('id')"
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    except (RecursionError, MemoryError):
        return 'too many brackets within each other'
    for node in ast.walk(tree):
        maker = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS
        if not maker and not isinstance(node, HARMLESS):
            return f'line {getattr(node, "lineno", 1)}: {ast.get_source_segment(text, node)}'
    return None
