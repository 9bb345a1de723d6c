"""Find fonts with the letters of a text: the font in Pillow has those of English only."""
import io
import itertools
import os
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont, features

from ghostdet.messages import LOGGER

SUFFIXES = ('.ttf', '.otf', '.ttc', '.otc')
# Words in the names of font files that others are preferred to.
UNUSUAL = ('bold', 'black', 'heavy', 'medium', 'light', 'thin', 'italic', 'oblique', 'condensed', 'serif', 'mono',
           'emoji')
COLLECTIONS = ('.ttc', '.otc')  # files of several fonts
COLOURED = {'CBDT', 'sbix', 'COLR'}  # tables of fonts with coloured pictures, which need another way to draw them
# Not drawn, or drawn as one space: blanks, control characters, halves of surrogate pairs.
BLANK = re.compile(r'[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+')


@dataclass(frozen=True)
class Face:
    """A font.

    Args:
        file: None: the font in Pillow.
        index: of the font in a file of several.
    """

    file: Path | None
    index: int = 0

    def has(self, text: str) -> bool:
        """Return whether the font has all characters of `text`."""
        return all(ord(char) in _characters(self) or _is_invisible(char) for char in text)

    def opens(self) -> bool:
        """Return whether FreeType can read the font."""
        try:
            return bool(self.sized(12))
        except OSError:
            return False

    def sized(self, size: int) -> ImageFont.FreeTypeFont:
        """Return the font for Pillow. `size` is in pixels."""
        return _sized(self.file, self.index, size)


DEFAULT = Face(None)


@lru_cache(256)
def _sized(file: Path | None, index: int, size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size) if file is None else ImageFont.truetype(str(file), size, index)
    assert isinstance(font, ImageFont.FreeTypeFont)  # with a size, `load_default` returns no other
    return font


def one_line(text: str) -> str:
    r"""Return a text without line breaks and control characters, and with accents in their letters.

    >>> one_line(' a\n\tb\x07')
    'a b'
    """
    return BLANK.sub(' ', unicodedata.normalize('NFC', text)).strip()


def runs(text: str) -> list[tuple[str, Face]]:
    """Split a text into parts, each with its font: the one in Pillow where it has the letters, else one of the system.

    Logs each script that no font has, once.
    """
    return _runs(text, DEFAULT)


def families(names: Iterable[str]) -> list[str]:
    """Return font families for a matplotlib text that has `names`, and make their files known to matplotlib.

    The first ones are matplotlib's own. Logs each script that no font has, once.

    >>> import matplotlib
    >>> families(['cat']) == matplotlib.rcParams['font.family']
    True
    """
    from matplotlib import font_manager, rcParams
    base = _faces(Path(font_manager.findfont(font_manager.FontProperties())))[0]
    faces = [face for name in names for _, face in _runs(one_line(name), base)]
    files = dict.fromkeys(str(face.file) for face in faces if face not in (base, DEFAULT))
    return [*rcParams['font.family'], *dict.fromkeys(map(_registered, files))]


@cache
def _registered(file: str) -> str:
    from matplotlib import font_manager
    font_manager.fontManager.addfont(file)
    return font_manager.FontProperties(fname=file).get_name()


def _runs(text: str, base: Face) -> list[tuple[str, Face]]:
    """Give the words that `base` has to it. What is between the first and the last other word gets one font, if one has
    all of it: so words of a language that is written from right to left stay in their order.
    """
    words = re.split('( )', text)
    others = [index for index, word in enumerate(words) if not base.has(word)]
    if not others:
        return [(text, base)]
    _check_shaping(text)
    parts = [''.join(words[:others[0]]), ''.join(words[others[0]:others[-1] + 1]), ''.join(words[others[-1] + 1:])]
    found = [(parts[0], base), *_found(parts[1], base), (parts[2], base)]
    return [(part, face) for part, face in found if part]


@lru_cache(4096)
def _found(text: str, base: Face) -> list[tuple[str, Face]]:
    """Return `text` with one font that has all of it, else its parts with as few fonts as possible."""
    face = next((face for face in _all_faces(base) if face.has(text) and face.opens()), None)
    if face is None and len(text) > 1:
        return _mixed(text, base)
    if face is None:
        _report(text)
    return [(text, face or base)]


def _mixed(text: str, base: Face) -> list[tuple[str, Face]]:
    found: list[tuple[str, Face]] = []
    for char in text:
        face = found[-1][1] if found and found[-1][1].has(char) else _found(char, base)[0][1]
        before = found.pop()[0] if found and found[-1][1] == face else ''
        found.append((before + char, face))
    return found


def _all_faces(base: Face) -> Iterator[Face]:
    """Yield the fonts in the order in which they are tried. A file is read when its turn comes."""
    return itertools.chain([base], itertools.chain.from_iterable(map(_faces, _files())))


@cache
def _files() -> list[Path]:
    """Return the font files of the system, plain sans-serif ones first, and the one that comes with matplotlib."""
    files = {Path(folder, name) for top in _folders() for folder, _, names in os.walk(top) for name in names
             if name.lower().endswith(SUFFIXES) and 'lastresort' not in name.lower()}  # it stands in for all
    matplotlib = find_spec('matplotlib')
    if matplotlib and matplotlib.origin:
        files.add(Path(matplotlib.origin).parent / 'mpl-data/fonts/ttf/DejaVuSans.ttf')

    def order(file: Path) -> tuple:
        name = file.stem.lower()
        return sum(word in name for word in UNUSUAL), 'sans' not in name, 'regular' not in name, name, file
    return sorted(files, key=order)


def _folders() -> list[Path]:
    """Return the folders where Linux, macOS and Windows keep fonts."""
    home = Path(os.path.expanduser('~'))  # unlike Path.home(), it needs none
    data = [os.environ.get('XDG_DATA_HOME') or home / '.local/share', home / '.local/share',
            *(os.environ.get('XDG_DATA_DIRS') or '').split(os.pathsep), '/usr/local/share', '/usr/share']
    return [*(Path(folder, 'fonts') for folder in data if folder), home / '.fonts', Path('/System/Library/Fonts'),
            Path('/Library/Fonts'), home / 'Library/Fonts', Path(os.environ.get('WINDIR', '/Windows'), 'Fonts'),
            home / 'AppData/Local/Microsoft/Windows/Fonts']


@cache
def _faces(file: Path) -> list[Face]:
    """Return the fonts in a file: one, or those of a collection."""
    try:
        from fontTools.ttLib import TTCollection
        count = len(TTCollection(file, lazy=True).fonts) if file.suffix.lower() in COLLECTIONS else 1
        return [Face(file, index) for index in range(count)]
    except Exception:  # noqa: BLE001  (a damaged file raises many types of errors)
        return []


@cache
def _characters(face: Face) -> Container[int]:
    """Return the code points that a font draws in one colour: none if it is damaged."""
    try:
        from fontTools.ttLib import TTFont
        content = face.file or io.BytesIO(_sized(None, 0, 12).path.getvalue())  # type: ignore[union-attr]  # in memory
        with TTFont(content, fontNumber=face.index, lazy=True) as font:
            return frozenset() if COLOURED & set(font.keys()) else frozenset(font.getBestCmap() or ())
    except ImportError:  # then only the font in Pillow is used
        return range(0x110000)
    except Exception:  # noqa: BLE001  (a damaged file raises many types of errors)
        return frozenset()


def _is_invisible(char: str) -> bool:
    """Return whether a character only changes others: it joins or parts letters, or selects a variant."""
    return unicodedata.category(char) == 'Cf' or '\ufe00' <= char <= '\ufe0f'


_reported: set[str] = set()


def _report(char: str) -> None:
    """Say which script is missing, and what to install; once for each script."""
    is_letter = unicodedata.category(char)[0] in 'LMN'
    script = unicodedata.name(char, 'private').split()[0].capitalize() if is_letter else 'symbols'
    script = {'Cjk': 'Chinese', 'Devanagari': 'Hindi (Devanagari)', 'Hangul': 'Korean'}.get(script, script)
    wide = unicodedata.east_asian_width(char) in 'FHW' and unicodedata.category(char) != 'So'
    if script not in _reported:
        _reported.add(script)
        LOGGER.warning(f'no font has the {script} character {char}: pictures show an empty box in its place. '
                       f'Install {"fonts-noto-cjk" if wide else "fonts-noto-core"} (Debian, Ubuntu), or put a font '
                       'file into ~/.local/share/fonts: fonts.google.com/noto has fonts for all scripts')


@cache
def _warn_of_shaping() -> None:
    LOGGER.warning('Pillow has no raqm here: letters of Arabic and Hebrew stand from left to right, and those of '
                   'Arabic and Hindi are not joined. Install the library FriBiDi (Debian, Ubuntu: libfribidi0)')


def _check_shaping(text: str) -> None:
    needed = any(unicodedata.bidirectional(char) in ('R', 'AL') or unicodedata.category(char) in ('Mc', 'Mn')
                 for char in text)
    if needed and not features.check('raqm'):
        _warn_of_shaping()
