"""The config that a checkpoint carries as text: others execute it as Python, so it has to be data."""
import ast

HARMLESS = (ast.Module, ast.Assign, ast.Expr, ast.Constant, ast.Dict, ast.List, ast.Tuple, ast.Set, ast.keyword, ast.Name,
            ast.Load, ast.Store, ast.Starred, ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator)
MAKERS = ('dict', 'list', 'tuple', 'set', 'float', 'int')  # the calls of a printed config
KNOWN = ('ghostdet', 'mmdet', 'mmpretrain', 'mmengine', 'mmcv')  # packages that a config may import


def program_in(text: str) -> str | None:
    r"""What in a stored config would run code, with its line; None where it is data, or is no Python and cannot run.

    >>> program_in("model = dict(type='RetinaNet', depth=-1)")
    >>> program_in("seed = 1\n__import__('os').system('id')")
    "line 2: __import__('os').system('id')"
    """
    if '{{' in text:  # mmengine puts something else in its place
        return f'line {text[:text.index("{{")].count(chr(10)) + 1}: a reference in {{{{ }}}}'
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
        if isinstance(node, ast.Assign) and _names_other_files(node):
            return f'line {node.lineno}: {ast.get_source_segment(text, node)}'
    return None


def _names_other_files(node: ast.Assign) -> bool:
    """Whether reading the assignment makes mmengine read another config, or import a module of somebody else's."""
    targets = {getattr(target, 'id', '') for target in node.targets}
    modules = [str(part.value) for part in ast.walk(node.value) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return '_base_' in targets or ('custom_imports' in targets and any(name.split('.')[0] not in KNOWN for name in modules))
