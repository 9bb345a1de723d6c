"""Fonts for the letters of class names. The tests make their own: the system's differ."""
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import features

from ghostdet.images import fonts
from ghostdet.images.drawing import Line, _fit, colour_of, draw
from ghostdet.images.fonts import families, one_line, runs
from tests.conftest import examples


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The only folder with fonts."""
    monkeypatch.setattr(fonts, '_folders', lambda: [tmp_path])
    monkeypatch.setattr(fonts, 'find_spec', lambda _: None)  # a font comes with matplotlib
    forget()
    yield tmp_path
    forget()


def forget():
    for function in (fonts._files, fonts._found, fonts._faces, fonts._characters, fonts._warn_of_shaping):
        function.cache_clear()
    fonts._reported.clear()


def font(letters, family='Test'):
    """A font whose letters fill their square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = ['.notdef', *(f'u{ord(letter)}' for letter in letters)]
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f'u{ord(letter)}' for letter in letters})
    builder.setupGlyf({name: pen.glyph() if index else TTGlyphPen(None).glyph() for index, name in enumerate(names)})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable(dict(familyName=family, styleName='Regular'))
    builder.setupOS2(sTypoAscender=1000, usWinAscent=1000)
    builder.setupPost()
    return builder.font


def shown(text):
    """Parts of a text, and the names of their fonts."""
    return [(part, face.file and face.file.name) for part, face in runs(text)]


def test_draw_has_the_letters_of_a_font_of_the_system(folder):
    font('猫').save(folder / 'a.ttf')
    drawn = draw(np.full((400, 400, 3), 99, np.uint8), [((50, 100, 200, 200), 0, '猫猫 0.50')])
    black = (drawn == 0).all(axis=2)
    assert black.any(axis=1).sum() == 12
    assert black.all(axis=1, where=np.arange(400) == 60).sum() == 12  # a column through the first letter
    assert black[:, 52:76].sum() == 12 * 24  # the two letters, side by side
    assert black[:, 76:].any()  # the score


def test_runs_of_english_look_for_no_font(monkeypatch):
    monkeypatch.setattr(fonts, '_all_faces', lambda _: pytest.fail('it looked for fonts'))
    assert shown('traffic light 0.87') == [('traffic light 0.87', None)]
    assert shown('') == [('', None)]


def test_runs_prefer_a_plain_font_without_serifs(folder):
    for name in ('ASerif-Regular', 'BSans-Bold', 'CSans-Italic', 'DSansMono-Regular', 'ESans-Regular', 'FSans-Regular'):
        font('猫').save(folder / f'{name}.ttf')
    font('猫', 'not read').save(folder / 'ASans-Regular.txt')
    assert shown('猫') == [('猫', 'ESans-Regular.ttf')]


def test_runs_give_a_phrase_one_font_where_one_has_all_of_it(folder):
    font('猫').save(folder / 'a.ttf')
    font('犬𠀀 ').save(folder / 'b.otf')
    assert shown('a 猫 犬 0.5') == [('a ', None), ('猫', 'a.ttf'), (' ', None), ('犬', 'b.otf'), (' 0.5', None)]
    font('猫犬 ').save(folder / 'c.ttf')
    forget()
    assert shown('a 猫 犬 0.5') == [('a ', None), ('猫 犬', 'c.ttf'), (' 0.5', None)]
    assert shown('𠀀') == [('𠀀', 'b.otf')]  # beyond 16 bits


def test_runs_find_the_font_in_a_collection(folder):
    collection = TTCollection()
    collection.fonts = [font('猫'), font('犬')]
    collection.save(folder / 'a.ttc')
    assert [(part, face.index) for part, face in runs('犬')] == [('犬', 1)]
    assert draw(np.zeros((50, 50, 3), np.uint8), [((9, 30, 40, 40), 0, '犬')]).any()


@pytest.mark.parametrize(('letters', 'script', 'package'), [
    ('猫犬', 'Chinese', 'fonts-noto-cjk'), ('ねこ', 'Hiragana', 'fonts-noto-cjk'), ('고양', 'Korean', 'fonts-noto-cjk'),
    ('แมว', 'Thai', 'fonts-noto-core'), ('Աա', 'Armenian', 'fonts-noto-core'), ('😀', 'symbols', 'fonts-noto-core')])
def test_a_script_without_a_font_is_named_once(letters, script, package, capsys):
    assert shown(f'{letters} a') == [(letters, None), (' a', None)]
    assert shown(letters[::-1]) == [(letters[::-1], None)]
    told = capsys.readouterr().err
    assert told.startswith(f'no font has the {script} character {letters[0]}: ')
    assert told.count('\n') == 1
    assert f'Install {package} ' in told


def test_text_without_raqm_is_drawn_with_a_message(folder, monkeypatch, capsys):
    font('عربي').save(folder / 'a.ttf')
    runs('عربي')
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(features, 'check', lambda _: False)
    runs('عربي')
    runs('ي')
    assert capsys.readouterr().err.count('Pillow has no raqm') == 1


def test_a_font_without_fonttools_is_the_one_in_pillow(folder, monkeypatch):
    font('猫').save(folder / 'a.ttf')
    monkeypatch.setitem(sys.modules, 'fontTools.ttLib', None)
    assert shown('猫 a') == [('猫 a', None)]


def test_damaged_fonts_are_left_out(folder):
    font('猫𠀀').save(folder / 'whole.ttf')
    content = (folder / 'whole.ttf').read_bytes()
    for size in range(0, len(content), 7):
        (folder / f'a{size}.ttf').write_bytes(content[:size])
    (folder / 'b.ttf').write_bytes(b'\xff' * 999)
    (folder / 'c.ttf').mkdir()
    drawn = draw(np.zeros((50, 50, 3), np.uint8), [((9, 30, 40, 40), 0, '猫')])
    assert tuple(drawn[30, 20]) == colour_of(0)
    (folder / 'whole.ttf').unlink()


def test_families_draw_without_a_warning(folder):
    font('猫', 'Cats').save(folder / 'a.ttf')
    assert families(['cat', 'Кошка']) == ['sans-serif']  # matplotlib's font has them
    known = families(['cat', '猫', '猫 b'])
    assert known == ['sans-serif', 'Cats'] == families(['猫'])
    figure = Figure()
    figure.text(0, 0.5, '猫 cat', family=known)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        figure.savefig(folder / 'a.png')


def test_folders_have_those_of_the_user_and_of_the_system(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path))
    monkeypatch.setenv('XDG_DATA_DIRS', f'{tmp_path}/a:{tmp_path}/b')
    found = fonts._folders()
    assert found[0] == tmp_path / 'fonts'
    assert {tmp_path / 'a/fonts', tmp_path / 'b/fonts', Path('/usr/share/fonts'), Path.home() / '.fonts'} < set(found)


def test_one_line_has_no_control_characters_and_whole_letters():
    assert one_line('\r a\n\tb\x00\x7f\x85\u2028c \ud83d') == 'a b c'
    assert one_line('e\u0301') == '\xe9'


@pytest.mark.parametrize('name', ['x' * 200, 'a few words ' * 20, 'Ա' * 200, 'عربي ' * 50])
def test_long_names_are_cut_before_their_score(name):
    line = _fit(f'{name} 0.87', 12, 150)
    assert 130 < line.width <= 150
    text = ''.join(part for part, _ in line.parts)
    assert text.endswith('… 0.87')
    assert name.startswith(text[:-6])


def test_what_fits_is_not_cut():
    width = Line('a name 0.87', 12).width
    assert ''.join(part for part, _ in _fit('a name 0.87', 12, width).parts) == 'a name 0.87'
    assert ''.join(part for part, _ in _fit('a name 0.87', 12, width - 1).parts).endswith('… 0.87')


def test_a_label_stays_in_the_picture():
    for left, top in ((0, 0), (90, 0), (90, 90), (300, 300), (-50, -50), (0, 15)):
        drawn = draw(np.zeros((40, 100, 3), np.uint8), [((left, top, left, top), 0, 'cat')])
        assert (drawn == colour_of(0)).all(axis=2).sum() > 200, (left, top)  # most of it is around the letters


@given(st.text(max_size=30), st.integers(1, 60), st.integers(1, 60))
@examples(50)
def test_any_name_is_drawn_in_any_picture(name, width, height):
    assert draw(np.zeros((height, width, 3), np.uint8), [((3, 3, 9, 9), 0, f'{name} 0.50')]).shape == (height, width, 3)
