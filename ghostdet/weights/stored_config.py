"""Check that the config text stored in a checkpoint is data: mmengine would execute it as Python."""
import ast

HARMLESS = (ast.Module, ast.Assign, ast.Expr, ast.Constant, ast.Dict, ast.List, ast.Tuple, ast.Set, ast.keyword,
            ast.Name, ast.Load, ast.Store, ast.Starred, ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator)
MAKERS = ('dict', 'list', 'tuple', 'set', 'float', 'int')  # calls that a config in text form may contain
KNOWN = ('ghostdet', 'mmdet', 'mmpretrain', 'mmengine', 'mmcv')  # packages that a config may import


def program_in(text: str) -> str | None:
    r"""Return the part of a stored config that would run code, with its line; None for data or invalid Python.

    >>> program_in("model = dict(type='RetinaNet', depth=-1)")
    >>> program_in("seed = 1\n__import__('os').system('id')")
    "line 2: __import__('os').system('id')"
    """
    if '{{' in text:  # mmengine substitutes it
        return f'line {text[:text.index("{{")].count(chr(10)) + 1}: a reference in {{{{ }}}}'
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    except (RecursionError, MemoryError):
        return 'too deeply nested brackets'
    for node in ast.walk(tree):
        maker = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS
        if not maker and not isinstance(node, HARMLESS):
            return f'line {getattr(node, "lineno", 1)}: {ast.get_source_segment(text, node)}'
        if isinstance(node, ast.Assign) and _names_other_files(node):
            return f'line {node.lineno}: {ast.get_source_segment(text, node)}'
    return None


def _names_other_files(node: ast.Assign) -> bool:
    """Whether mmengine would read another config, or import a module outside `KNOWN`, for this assignment."""
    targets = {getattr(target, 'id', '') for target in node.targets}
    modules = [part.value for part in ast.walk(node.value)
               if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return '_base_' in targets or ('custom_imports' in targets
                                   and any(name.split('.')[0] not in KNOWN for name in modules))
