"""Options of training, evaluation, export and `ghostdet data`. Each is one field here, with its help text.

The command line (`cli/arguments.py`), the signatures and docstrings of `api.py`, and the names of options in messages
come from these fields. Needs only the standard library.
"""
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from functools import wraps
from inspect import Parameter, Signature, cleandoc
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ghostdet import messages
from ghostdet.errors import Interrupted, UserError

IGNORE_ORIENTATION = 'take pixels as they lie in the file, not turned as EXIF says'
NO_SELF_CHECK = 'do not check whether this machine computes an exported file right'
DEFAULT_THRESHOLD = 0.3  # of a detector that does not say at which one to run it
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
SCALE = ('longer side of the images in pixels, a multiple of 32 where the config\'s sizes are; sets all sizes of the '
         'config in proportion; default: the config\'s')
MAX_OBJECTS = 'number of boxes that the detector returns for an image at most; default: the config\'s'
TILES = ('cut images into overlapping tiles of N pixels, for small objects in large images; without N: of the size of '
         'the images that the detector was trained on, or of its input if they are not known')
TILE_OVERLAP = ('pixels that neighbouring tiles share at least; default: enough for 95% of the boxes in training, or a '
                'quarter of a tile if they are not known')
WHOLE = 'look at the whole image, too, for objects larger than the overlap'
TRUST = 'also open checkpoint files that hold more than data; they can run any program with your rights'
Chosen = TypeVar('Chosen', bound='Options')


def valid_thresholds(kept: Any, classes: Iterable[str]) -> dict[str, Any] | None:
    """Return the thresholds that a checkpoint or an exported file keeps, `all` and those of `classes`; None without."""
    def is_score(value: Any) -> bool:
        return isinstance(value, float) and 0 <= value <= 1
    if not isinstance(kept, dict) or not is_score(kept.get('all')) or not isinstance(kept.get('classes'), dict):
        return None
    known = set(classes)
    return dict(all=kept['all'], classes={name: value for name, value in kept['classes'].items()
                                          if name in known and is_score(value)})


def option(text: str, default: Any = MISSING, *, metavar: str | None = None, choices: tuple[str, ...] | None = None,
           flag: bool = False, positional: bool = False) -> Any:
    """Return a field of an option class. Without a default, it is a positional argument.

    Args:
        text: what the option does; for --help and for docstrings.
        metavar: name of the value in --help.
        choices: all values that are possible.
        flag: the command line has a flag for it, although it has no default.
        positional: the command line has a positional argument for it, although it has a default.
    """
    metadata = dict(help=text, metavar=metavar, choices=choices, flag=flag, positional=positional)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of the option classes: converts paths, and checks types and choices.

    Raises:
        UserError: a value has the wrong type, or is not one of the choices.
    """

    def __post_init__(self) -> None:
        for one, kind in typed(type(self)):
            value, choices = getattr(self, one.name), one.metadata['choices']
            if choices and value not in (*choices, one.default):
                raise UserError(f'{one.name}={value!r}: expected {" or ".join(choices)}')
            object.__setattr__(self, one.name, _converted(value, str(kind), one.name))


def typed(options: type[Options]) -> list[tuple[Any, Any]]:
    """Return each field of an option class with its type: first those that have to be given, then the positional."""
    hints = get_type_hints(options)
    return sorted(((one, hints[one.name]) for one in fields(options)),
                  key=lambda pair: (not is_required(pair[0]), not pair[0].metadata['positional']))


def is_required(one: Any) -> bool:
    """Return whether an option has no default."""
    return one.default is MISSING and one.default_factory is MISSING


def _converted(value: Any, kind: str, name: str) -> Any:
    if 'Mapping' in kind:
        if not isinstance(value or {}, Mapping):
            raise UserError(f'{name}: expected a dict of settings, got {value!r}')
        return value or {}
    for plain, types in ((bool, bool), (int, int), (float, (int, float))):
        if kind == f'{plain.__name__} | None' and value is None:
            return None
        if kind in (str(plain), f'{plain.__name__} | None') and (
                not isinstance(value, types) or isinstance(value, bool) != (plain is bool)):
            what = {bool: 'True or False', int: 'a whole number', float: 'a number'}[plain]
            raise UserError(f'{name}: expected {what}, got {value!r}')
    if 'tuple' in kind and isinstance(value, list):
        return tuple(value)
    takes_text = 'Path' in kind or 'str' in kind
    if not takes_text or (value is None and 'None' in kind) or (isinstance(value, bool) and 'bool' in kind):
        return value
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        what = 'True, False or a path' if 'bool' in kind else 'a path or a name'
        raise UserError(f'{name}: expected {what}, got {value!r}')
    return Path(value) if 'Path' in kind else os.fspath(value)


CONFIG = 'config file, or the name of a config in the package ("ghostdet configs" lists them)'
OWN_CONFIG = f'{CONFIG}; default: the config that the checkpoint carries'


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Options of every run from a config."""

    work_dir: Path | None = option(
        'folder for logs and results; default: the config\'s work_dir, else work_dirs/CONFIG; without a config '
        'work_dirs/ and the name of the data', None, metavar='DIR')
    cfg_options: Mapping[str, Any] = option(
        'config settings to replace, by dotted names, for example optim_wrapper.optimizer.lr=0.01', {},
        metavar='KEY=VALUE')
    launcher: str = option('job launcher that started the processes; default none', 'none', choices=LAUNCHERS)
    trust_checkpoint: bool = option(TRUST, False)


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Options that name a data set of your own. Its annotation files give the classes."""

    data_root: Path | None = option(
        'folder of a data set in COCO\'s layout, Roboflow\'s or CVAT\'s COCO export, YOLO, Pascal VOC, VGG VIA or '
        'labelme; default: the config\'s data', None, metavar='DIR')
    train_split: str | None = option('split to train on; default: train, else trainval', None, metavar='NAME')
    val_split: str | None = option('split to evaluate on; default: val or valid, else test', None, metavar='NAME')
    val_fraction: float = option(
        'cut this fraction of the train split\'s images off as the val split, for example 0.2', 0, metavar='FRACTION')
    train_ann: str | None = option('annotation file of the train split, in COCO format', None, metavar='FILE')
    train_img: str | None = option('image folder of the train split', None, metavar='DIR')
    val_ann: str | None = option('annotation file of the val split, in COCO format', None, metavar='FILE')
    val_img: str | None = option('image folder of the val split', None, metavar='DIR')
    ignore_orientation: bool = option(IGNORE_ORIENTATION, False)
    bits: int | None = option(
        'number of bits that images of more than 8 bits use, for example 12; default: a training takes as many as its '
        'data uses, a test those of the training', None, metavar='N')
    skip_bad: bool = option('leave out bad records instead of stopping', False)
    crowds_are_objects: bool = option(
        'take crowd regions (iscrowd 1), which training and evaluation ignore, as objects', False)

    @property
    def named(self) -> dict[str, str | None]:
        """Annotation files and image folders by option name."""
        return dict(train_ann=self.train_ann, train_img=self.train_img, val_ann=self.val_ann, val_img=self.val_img)


@dataclass(frozen=True, kw_only=True)
class LookOptions(DataOptions):
    """Options of looking at a data set."""

    data_root: Path = option('folder of the data set', metavar='DIR')
    out: Path | None = option('also write the data set in COCO\'s layout to this folder', None, metavar='DIR')
    work_dir: Path = option(
        'folder for the images with boxes; default work_dirs/data', Path('work_dirs/data'), metavar='DIR')
    tiles: int | None = option(
        'cut the images that go to the folder of --out into tiles of N x N pixels, for large images with small objects',
        None, metavar='N')
    tile_overlap: int | None = option(
        'pixels that neighbouring tiles share at least; default: as many as 95 of 100 boxes have on their longer side, '
        'from a tenth to half of a tile', None, metavar='N')
    min_visible: float | None = option(
        'a tile has the box of an object if at least this fraction of its area is in the tile, else the part is marked '
        'to be ignored (iscrowd 1); default 0.3', None, metavar='FRACTION')
    empty_tiles: float | None = option(
        'tiles without a box that are kept, for each tile with one; default 0.25', None, metavar='RATIO')


@dataclass(frozen=True, kw_only=True)
class DetectionOptions(RunOptions, DataOptions):
    """Options that training and evaluation of a detector share."""

    config: str | None = option(
        f'{CONFIG}; default, with data of your own: NanoDet-Plus-m as trained on COCO, tuned to your classes', None,
        positional=True)
    fast_eval: bool = option('evaluate with faster-coco-eval (must be installed): same numbers, less time', False)
    scale: int | None = option(SCALE, None, metavar='N')
    max_objects: int | None = option(f'{MAX_OBJECTS}. The evaluation counts as many', None, metavar='N')
    check_expected: bool = option(
        'compare the AP with the config\'s `expected`; an AP below its tolerance is an error', False)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(DetectionOptions):
    """Options of training a detector."""

    resume: bool | str = option(
        'continue from the last checkpoint in the work directory, or from FILE', False, metavar='FILE')
    load_from: str | None = option(
        'start from a detector\'s weights; tensors that do not fit are reported', None, metavar='FILE')
    from_scratch: bool = option('start from random weights', False)
    freeze: str | None = option(
        'train all but this part: its weights and batch norm statistics stay', None, choices=('backbone',))
    minutes: float | None = option(
        'choose the number of epochs so that the run takes about this long here; measured on the first steps', None,
        metavar='N')
    keep_empty: bool = option('also train on images without a box', False)
    amp: bool = option('use automatic mixed precision (needs a GPU)', False)
    patience: int = option(
        'stop after N evaluations in a row without a better AP; default 0: train to the end', 0, metavar='N')


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(DetectionOptions):
    """Options of evaluating a checkpoint or an exported file."""

    config: str | None = option(f'{OWN_CONFIG}, or the packaged one that the exported file names', None,
                                positional=True)
    checkpoint: str = option('checkpoint, the folder of a run (its last checkpoint), file of "ghostdet export" (.onnx, '
                             '.xml, .ncnn.param), or ghostdet://NAME')
    show_dir: Path | None = option('write every image with its detections to this folder', None, metavar='DIR')
    precision: str = option('arithmetic for an .xml file; default fp32', 'fp32', choices=('fp32', 'bf16'))
    no_self_check: bool = option(NO_SELF_CHECK, False)
    tiles: bool | int = option(TILES, False, metavar='N')
    tile_overlap: int | None = option(TILE_OVERLAP, None, metavar='N')
    whole: bool = option(WHOLE, False)
    optimize: bool = option('evaluate a copy of the checkpoint that is optimized for inference; same outputs', False)


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(RunOptions):
    """Options of training a classifier."""

    config: str = option(CONFIG)
    data_root: Path | None = option('folder with train/CLASS/*.jpg and val/CLASS/*.jpg', None, metavar='DIR')
    resume: bool | str = option('continue from the last checkpoint, or from FILE', False, metavar='FILE')


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """Options of exporting a checkpoint."""

    config: str | None = option(OWN_CONFIG, None, positional=True)
    checkpoint: str = option('checkpoint file, the folder of a run (its last checkpoint), or ghostdet://NAME')
    out: Path = option(
        'file to write: .onnx for ONNX Runtime; .xml for OpenVINO (with a .bin next to it); or .ncnn.param (with .bin '
        'and .json)', metavar='FILE', flag=True)
    format: str | None = option(
        'format of the file; default: by its ending', None, choices=('onnx', 'openvino', 'ncnn'))
    shape: tuple[int, int] | None = option(
        'fixed height and width of the input in pixels; images are resized to fit into it. Default: any size, resized '
        'as in the config; ncnn and --raw: one size', None, metavar='HEIGHT WIDTH')
    precision: str = option(
        'int8 only for OpenVINO, fp16 only for ncnn; default fp32', 'fp32', choices=('fp32', 'fp16', 'int8'))
    batch: int = option(
        'images that go through the file at once; evaluation and prediction fill it. Default 1', 1, metavar='N')
    raw: bool = option(
        'an .onnx file of the network alone, for compilers of chips: normalized pixels in, the maps of the head out. '
        'The .json next to it says how to find boxes', False)
    scale: int | None = option(SCALE, None, metavar='N')
    max_objects: int | None = option(MAX_OBJECTS, None, metavar='N')
    images: Path | None = option(
        'folder of typical images, to compare on and to calibrate int8; default: the training images', None,
        metavar='DIR')
    cfg_options: Mapping[str, Any] = option(
        'config settings to replace, for example model.test_cfg.score_thr=0.2', {}, metavar='KEY=VALUE')
    trust_checkpoint: bool = option(TRUST, False)


# ------------------------------------------------------------------------------------------------------- in Python

def takes(options: type[Chosen]) -> Callable[[Callable[[Chosen], Any]], Callable[..., Any]]:
    """Make a function of an option class take the fields as arguments, and list them in its docstring.

    The fields without a default can be given by position; if there are none, the positional ones of the command line.
    """
    def decorate(function: Callable[[Chosen], Any]) -> Callable[..., Any]:
        parameters, lines = [], []
        by_position = ([one.name for one, _ in typed(options) if is_required(one)]
                       or [one.name for one, _ in typed(options) if one.metadata['positional']])
        for one, kind in typed(options):
            default = Parameter.empty if is_required(one) else {} if one.default is MISSING else one.default
            where = Parameter.POSITIONAL_OR_KEYWORD if one.name in by_position else Parameter.KEYWORD_ONLY
            parameters.append(Parameter(one.name, where, default=default, annotation=kind))
            lines.append(f'    {one.name}: {one.metadata["help"]}.')

        @wraps(function)
        def called(*values: Any, **named: Any) -> Any:
            try:
                given = signature.bind(*values, **named).arguments
            except TypeError as error:
                raise TypeError(f'{function.__name__}: {error}. Call {function.__name__}({", ".join(by_position)}), '
                                'and give all other arguments by name, such as config=...') from None
            with worded_for_python():
                return function(options(**given))
        signature = Signature(parameters, return_annotation=Signature.from_callable(function).return_annotation)
        called.__signature__ = signature  # type: ignore[attr-defined]
        del called.__wrapped__  # else help() and mkdocs show the docstring without the options
        called.__doc__ = cleandoc(function.__doc__ or '').replace('    {options}', '\n'.join(lines))
        return called
    return decorate


@contextmanager
def worded_for_python() -> Iterator[None]:
    """Within this context, messages and errors name options as a Python caller writes them; not within a command."""
    if messages.in_command() or _reworded in messages.LOGGER.filters:  # the outer context does it
        yield
        return
    messages.LOGGER.addFilter(_reworded)
    try:
        yield
    except (UserError, Interrupted) as error:
        error.args = (for_python(str(error)),)
        raise
    finally:
        messages.LOGGER.removeFilter(_reworded)


def _reworded(record: logging.LogRecord) -> bool:
    record.msg, record.args = for_python(record.getMessage()), ()
    return True


def for_python(text: str) -> str:
    """Return a message with options as a Python caller writes them.

    >>> for_python('leave out --fast-eval, or name data with --data-root DIR; --val-fraction 0.2 cuts one off')
    'leave out fast_eval=True, or name data with data_root=...; val_fraction=0.2 cuts one off'
    """
    return _FLAG.sub(_as_argument, text)


def _as_argument(match: re.Match[str]) -> str:
    name, value = (match[1] or '').replace('-', '_'), match[2]
    if name not in _KINDS:
        return match[0]
    if 'bool' in _KINDS[name] and not (value and '|' in _KINDS[name]):
        return f'{name}=True' + (f' {value}' if value else '')
    if value is None:
        return name
    if '=' in value:
        key, _, setting = value.partition('=')
        return f'{name}={{{key!r}: {setting}}}'
    return f'{name}=' + ('...' if value.isupper() else value if value.lstrip('-')[0].isdigit() else repr(value))


_PUBLIC = [pair for options in (TrainOptions, EvaluationOptions, ExportOptions) for pair in typed(options)]
_KINDS = {one.name: str(kind) for one, kind in _PUBLIC}
_VALUES = '|'.join(choice for one, _ in _PUBLIC for choice in one.metadata['choices'] or ())
# An option, and its value: a placeholder in capitals, a number, a setting, or one of its choices.
_VALUE = rf'[A-Z]{{2,}}\b|-?\d[\d.]*\d|-?\d|[\w.]+=(?:\[[^\]]*\]|[^\s,;:)]+)|(?:{_VALUES})\b'
# "ghostdet data" has no function in Python, so such a command stays.
_FLAG = re.compile(rf'"ghostdet data [^"]*"|--([a-z]+(?:-[a-z]+)*)\b(?: ({_VALUE}))?')
