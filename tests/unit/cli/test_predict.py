"""The command line of `ghostdet predict`."""
import pytest

from ghostdet.cli.arguments import tile_side, with_auto
from ghostdet.cli.predict import main
from ghostdet.errors import UserError


@pytest.mark.parametrize(('words', 'expected'), [
    (['--tiles', 'photos/'], ['--tiles=auto', 'photos/']), (['--tiles', '416', 'a'], ['--tiles', '416', 'a']),
    (['a', '--tiles'], ['a', '--tiles=auto']), (['--tiles', '--whole'], ['--tiles=auto', '--whole']),
    (['--tiles', 'auto'], ['--tiles', 'auto']), (['--tiles', '2024_photos'], ['--tiles=auto', '2024_photos']),
    (['--tiles', '41.5'], ['--tiles', '41.5'])])
def test_tiles_without_a_number_take_no_other_word(words, expected):
    assert with_auto(words) == expected


def test_tile_side():
    assert tile_side('auto') is True
    assert tile_side('416') == 416


@pytest.mark.parametrize(('words', 'message'), [
    (['a.xml', '--out', 'b', '--classes', 'cat', 'photos'], 'required: INPUT (put --classes behind them'),
    (['a.xml', '--out', 'b'], 'required: INPUT\n'), (['a.xml', 'photos'], 'required: --out'),
    (['a.xml', 'photos', '--out', 'b', '--tiles', '41.5'], "--tiles: expected a whole number of pixels, got '41.5'")])
def test_command_lines_that_lack_something(words, message, capsys):
    with pytest.raises(SystemExit, match='2'):
        main(words)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('words', [['a.xml', '--tiles', 'missing', '--out', 'b'], ['a.xml', '--out', 'b', 'missing'],
                                   ['--out', 'b', 'a.xml', 'missing'], ['a.xml', 'missing', '--out', 'b']])
def test_inputs_stand_anywhere(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r'there is no image, folder or video .*missing'):
        main(words)
