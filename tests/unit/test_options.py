"""An option is one field: the commands, the functions in Python and their messages take it from there."""
import ast
import inspect
import re
from dataclasses import fields, replace

import pytest

import ghostdet
from ghostdet.cli.arguments import parse_options
from ghostdet.errors import UserError
from ghostdet.options import EvaluationOptions, ExportOptions, TrainOptions, for_python
from tests.conftest import ROOT, tool

# Options of commands that have no function in Python, and flags of other programs.
COMMANDS_ALONE = {
    'abbrev', 'always', 'cpus', 'dirty', 'empty-tiles', 'exclude', 'follow', 'force-reinstall', 'gpus', 'help', 'host',
    'images-per-gpu', 'mini', 'min-visible', 'no-build-isolation', 'no-cache-dir', 'no-deps', 'no-pictures',
    'nproc-per-node', 'only', 'options', 'port', 'rounding', 'seconds', 'seed', 'show', 'standalone', 'url', 'width'}


@pytest.mark.parametrize(('verb', 'function', 'options'), [
    ('train', 'train', TrainOptions), ('test', 'evaluate', EvaluationOptions), ('export', 'export', ExportOptions)])
def test_an_option_is_a_flag_an_argument_and_a_field(verb, function, options, capsys):
    names = {one.name for one in fields(options)}
    with pytest.raises(SystemExit, match='0'):
        tool(verb)(['--help'])
    usage = capsys.readouterr().out.split('\n\n')[0]
    positional = re.findall(r'(?<=\s)\[?([a-z]+)\]?(?=\s|$)', usage)
    flags = {flag.replace('-', '_') for flag in re.findall(r'--([a-z-]+)', usage)}
    assert flags | set(positional) == names
    assert positional == ['config', 'checkpoint'][:1 if verb == 'train' else 2]
    signature = inspect.signature(getattr(ghostdet, function))
    assert set(signature.parameters) == names
    text = inspect.getdoc(getattr(ghostdet, function))
    for one in fields(options):
        assert f'{one.name}: {one.metadata["help"]}.' in text


@pytest.mark.parametrize('words', [
    ['CONFIG', '--out', 'a.xml', 'file.pth', '--batch', '2'], ['--out', 'a.xml', 'CONFIG', '--batch', '2', 'file.pth'],
    ['CONFIG', 'file.pth', '--batch', '2', '--out', 'a.xml']])
def test_parse_options_takes_any_order_and_the_config_can_be_left_out(words):
    options = parse_options(ExportOptions, '', words)
    assert (options.config, options.checkpoint, str(options.out), options.batch) == ('CONFIG', 'file.pth', 'a.xml', 2)
    assert parse_options(ExportOptions, '', [word for word in words if word != 'CONFIG']) == replace(
        options, config=None)


@pytest.mark.parametrize(('words', 'tiles'), [
    ('--tiles run', True), ('run --tiles', True), ('--tiles auto run', True), ('--tiles --whole run', True),
    ('--tiles 64 run', 64), ('--tiles=64 run', 64), ('run --tiles -1', -1), ('run', False)])
def test_tiles_without_a_number_take_no_file_for_it(words, tiles):
    options = parse_options(EvaluationOptions, '', words.split())
    assert (options.tiles, options.checkpoint) == (tiles, 'run')
    assert type(options.tiles) is type(tiles)


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: ghostdet.evaluate('config.py', 'a.pth'), r'Call evaluate\(checkpoint\), .* such as config='),
    (lambda: ghostdet.export('config.py', 'a.pth', 'a.onnx'), r'Call export\(checkpoint, out\), '),
    (lambda: ghostdet.export('config.py', 'a.pth', out='a.onnx'), r'Call export\(checkpoint, out\), ')])
def test_a_call_with_the_config_first_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_messages_for_python_speak_of_no_flags():
    """In all texts of the package, but for those of commands that have no function in Python."""
    texts = [node.value for file in (ROOT / 'ghostdet').rglob('*.py') if file.parent.name != 'cli'
             for node in ast.walk(ast.parse(file.read_text()))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert sum('--' in text for text in texts) > 50
    left = {name for text in texts for name in re.findall(r'(?<![\w-])--([a-z][a-z-]+)', for_python(text))}
    assert left <= COMMANDS_ALONE, left - COMMANDS_ALONE


@pytest.mark.parametrize(('text', 'expected'), [
    ('leave out --amp to train', 'leave out amp=True to train'),
    ('choose others with --val-split.', 'choose others with val_split.'),
    ('--precision int8 works only with --format openvino', "precision='int8' works only with format='openvino'"),
    ('lower it with --cfg-options model.test_cfg.score_thr=0.01 (or .rcnn)',
     "lower it with cfg_options={'model.test_cfg.score_thr': 0.01} (or .rcnn)"),
    ('continue with --resume FILE, or --cfg-options a.b=[1,2].',
     "continue with resume=..., or cfg_options={'a.b': [1,2]}."),
    ('leave out --scale 9, or run "ghostdet data DIR --bits 12 --out DIR2"',
     'leave out scale=9, or run "ghostdet data DIR --bits 12 --out DIR2"'),
    ('--tiles 416, --tile-overlap -3: add --tiles', 'tiles=416, tile_overlap=-3: add tiles=True'),
    ('start with torchrun --nproc-per-node N', 'start with torchrun --nproc-per-node N')])
def test_for_python_names_arguments(text, expected):
    assert for_python(text) == expected


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(config=dict(a=1)), r"config: expected a path or a name, got \{'a': 1\}"),
    (dict(config='a', data_root=3), 'data_root: expected a path or a name, got 3'),
    (dict(config='a', resume=1), 'resume: expected True, False or a path, got 1'),
    (dict(config='a', data_root=''), 'data_root: expected a path'),
    (dict(config='a', amp='False'), "amp: expected True or False, got 'False'"),
    (dict(config='a', scale=416.), 'scale: expected a whole number, got 416.0'),
    (dict(config='a', minutes='5'), "minutes: expected a number, got '5'"),
    (dict(config='a', val_fraction='0.2'), 'val_fraction: expected a number'),
    (dict(config='a', cfg_options=['a=1']), 'cfg_options: expected a dict'),
    (dict(config='a', launcher='ssh'), "launcher='ssh': expected none")])
def test_options_check_their_values(arguments, message):
    with pytest.raises(UserError, match=message):
        TrainOptions(**arguments)
