"""Exported files that a machine computes right or wrong, and files that were changed."""
import hashlib
import json
import re
import shutil
import sys

import numpy as np
import onnx
import pytest

from ghostdet import Detector, messages
from ghostdet.cli import door
from ghostdet.errors import UserError
from ghostdet.infer import opening, self_check, sessions
from ghostdet.infer.agreement import compare
from ghostdet.infer.manifest import KEY
from ghostdet.infer.opening import open_checked
from ghostdet.infer.seal import UNSEALED, is_whole, read_seal, seal
from ghostdet.infer.self_check import Reference, picture, run_check
from ghostdet.infer.sessions import CannotOpenError, open_session, parts
from ghostdet.options import worded_for_python
from tests.conftest import tool

NAMES = ['detector.onnx', 'detector.xml', 'detector.ncnn.param']
COLOURS = ((10, 200, 30), (250, 0, 0), (0, 0, 250), (255, 255, 255), (7, 7, 7))
PICTURE = '26c8073777111afa3fcc2e9e352deaca54047408ea3148ba60ec1d850bad1a91'
NO_SELF_CHECK = 'has no self-check: it was exported before ghostdet 0.3'


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """An empty cache for each test; the folder of what is remembered."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache/ghostdet/checked'


@pytest.fixture
def own(exported, tmp_path):
    """Returns what copies an exported file, to be changed."""
    def copy(name):
        for part in parts(exported / name):
            shutil.copy(part, tmp_path)
        return tmp_path / name
    return copy


@pytest.fixture
def checks(monkeypatch):
    """The precisions of the self-checks that are run."""
    run = []
    monkeypatch.setattr(opening, 'run_check', lambda session, precision: run.append(precision) or run_check(
        session, precision))
    return run


def check(*arguments):
    return door.run(tool('check'), [str(argument) for argument in arguments])


def reseal(file):
    """Make the checksum fit, as if the exporter had written the file so."""
    digest = read_seal(parts(file))[0].encode()
    for part in parts(file):
        part.write_bytes(part.read_bytes().replace(digest, UNSEALED.encode()))
    seal(parts(file))
    assert is_whole(parts(file)) is True


def edit_manifest(file, change):
    """Change the manifest's values, in whichever format."""
    if file.suffix == '.onnx':
        model = onnx.load(file)
        entry = next(entry for entry in model.metadata_props if entry.key == KEY)
        entry.value = change_text(entry.value, change)
        onnx.save(model, file)
    elif file.suffix == '.xml':
        text = file.read_text()
        found = re.search(rf'<{KEY} value="([^"]*)"', text)
        changed = change_text(found[1].replace('&quot;', '"'), change).replace('"', '&quot;')
        file.write_text(text[:found.start(1)] + changed + text[found.end(1):])
    else:
        file = file.with_suffix('.json')
        file.write_text(change_text(file.read_text(), change))


def change_text(text, change):
    content = json.loads(text)
    change(content)
    return json.dumps(content)


def edit_network(file, change):
    model = onnx.load(file)
    change(model.graph)
    onnx.save(model, file)


def edit_weights(graph, change, chosen=lambda array: array.ndim == 4):
    """Replace the first array of the graph that is chosen."""
    for part in graph.initializer:
        array = onnx.numpy_helper.to_array(part)
        if chosen(array):
            part.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(change(array)), part.name))
            return
    raise AssertionError('nothing to change')


# ---------------------------------------------------------------------------------------------------------- right files

@pytest.mark.parametrize('name', NAMES)
def test_open_checked_passes_a_right_file_and_remembers_it(name, exported, checks, memory, monkeypatch, capsys):
    session = open_checked(exported / name)
    assert checks == ['fp32']
    assert [file.read_text() for file in memory.iterdir()] == ['integers']
    assert session.manifest.classes == ('disc', 'square', 'triangle')
    monkeypatch.setattr(opening, 'run_check', lambda *_: pytest.fail('checked again'))
    open_checked(exported / name, threads=1)
    Detector(exported / name)
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('name', NAMES)
def test_run_check_of_a_right_file_is_far_below_its_limit(name, exported):
    result = run_check(open_session(exported / name), 'fp32')
    assert result.passes
    assert set(result.groups) == {'disc', 'square', 'triangle', '(boxes)'}
    assert all(len(levels) == 3 for levels in result.groups.values())
    assert 0 <= result.difference < result.limit / 20
    assert result.boxes.pairs > 10
    assert result.boxes.alone == 0


def test_open_checked_checks_again_where_something_else_computes(exported, checks, memory, monkeypatch):
    file = exported / 'detector.onnx'
    open_checked(file)
    monkeypatch.setenv('ORT_DISABLE_SOMETHING', '1')
    open_checked(file)
    monkeypatch.setenv('ORT_DISABLE_SOMETHING', '2')
    open_checked(file)
    monkeypatch.delenv('ORT_DISABLE_SOMETHING')
    monkeypatch.setenv('UNRELATED', '1')
    open_checked(file)
    assert len(checks) == len(list(memory.iterdir())) == 3
    monkeypatch.setattr(opening, 'runtime_version', lambda _: 'onnxruntime 99')
    open_checked(file)
    monkeypatch.setattr(opening, '_processor', lambda: ['another'])
    open_checked(file)
    assert len(checks) == 5


def test_remembered_key_depends_on_content_precision_and_instructions(exported, own, monkeypatch):
    monkeypatch.delenv('ONEDNN_MAX_CPU_ISA', raising=False)
    file = own('detector.xml')

    def key(precision='fp32'):
        return opening._key(file, read_seal(parts(file))[1], precision)
    keys = [key(), key('bf16')]
    assert key() == keys[0]
    with monkeypatch.context() as patch:
        patch.setenv('ONEDNN_MAX_CPU_ISA', 'AVX2')
        keys.append(key())
    edit_manifest(file, lambda manifest: manifest.update(config='other'))
    reseal(file)
    keys.append(key())
    assert len(set(keys)) == 4


def test_open_checked_checks_a_file_of_another_content(own, checks):
    file = own('detector.onnx')
    open_checked(file)
    edit_manifest(file, lambda manifest: manifest.update(config='other'))
    reseal(file)
    open_checked(file)
    open_checked(file)
    assert len(checks) == 2


@pytest.mark.parametrize('spoil', ['file', 'text'])
def test_open_checked_works_without_a_memory(spoil, exported, checks, memory):
    if spoil == 'file':  # where a folder is needed: also for root, whom no permissions stop
        memory.parent.parent.mkdir()
        memory.parent.write_text('')
    file = exported / 'detector.onnx'
    assert open_checked(file).manifest.reference
    if spoil == 'text':
        next(memory.iterdir()).write_bytes(b'\xff nonsense')
    assert open_checked(file).manifest.reference
    assert len(checks) == 2


def test_picture_is_the_same_for_the_same_colours():
    image = picture((64, 96), COLOURS)
    assert (image.shape, image.dtype) == ((64, 96, 3), np.uint8)
    assert {tuple(colour) for colour in image.reshape(-1, 3).tolist()} <= set(COLOURS)
    assert hashlib.sha256(image.tobytes()).hexdigest() == PICTURE
    assert hashlib.sha256(picture((64, 96), COLOURS[::-1]).tobytes()).hexdigest() != PICTURE


# -------------------------------------------------------------------------------------------------------- changed files

def swap_classes(manifest):
    manifest['classes'] = manifest['classes'][::-1]


def change_mean(manifest):
    manifest['mean'][0] += 1


def change_stride(manifest):
    manifest['decoder']['strides'][0] *= 2


CHANGES = [('detector.onnx', swap_classes), ('detector.xml', swap_classes), ('detector.ncnn.param', swap_classes),
           ('detector.onnx', change_mean), ('detector.ncnn.param', change_mean), ('detector.ncnn.param', change_stride)]


@pytest.mark.parametrize(('name', 'change'), CHANGES)
def test_open_checked_refuses_a_changed_manifest(name, change, own, memory, checks, capsys):
    file = own(name)
    edit_manifest(file, change)
    with pytest.raises(UserError, match='is not as it was exported: it is truncated, or was changed since') as error:
        Detector(file)
    assert all(part.name in str(error.value) for part in parts(file))
    assert str(error.value).endswith('; --no-self-check opens it anyway')
    assert not checks
    assert not memory.exists()
    capsys.readouterr()
    assert Detector(file, self_check=False).classes
    assert len(lines := capsys.readouterr().err.splitlines()) == 1
    assert 'is not checked: it may find other boxes here than where it was exported' in lines[0]


def test_detector_names_the_option_that_it_has(own, monkeypatch):
    file = own('detector.onnx')
    edit_manifest(file, swap_classes)
    monkeypatch.setattr(messages, 'in_command', lambda: False)
    with pytest.raises(UserError, match=r'; self_check=False opens it anyway$'):
        Detector(file)
    with pytest.raises(UserError, match=r'; no_self_check=True opens it anyway$'), worded_for_python():  # `evaluate`
        open_checked(file)


@pytest.mark.parametrize('name', NAMES)
def test_exported_file_states_one_checksum(name, exported):
    contents = b''.join(part.read_bytes() for part in parts(exported / name))
    assert len(re.findall(rb'checksum(?:"|&quot;):', contents)) == 1
    assert open_session(exported / name).manifest.checksum == read_seal(parts(exported / name))[1]


@pytest.mark.parametrize(('name', 'change'), [CHANGES[4], CHANGES[5]])
def test_open_checked_finds_in_the_numbers_what_ncnn_computes_from_the_manifest(name, change, own):
    file = own(name)
    edit_manifest(file, change)
    reseal(file)
    with pytest.raises(UserError, match='is computed wrong on this machine, by ncnn'):
        open_checked(file)


@pytest.mark.parametrize('name', ['detector.onnx', 'detector.bin', 'detector.ncnn.bin'])
@pytest.mark.parametrize('left', [0.02, 0.999])
def test_open_checked_of_a_file_that_was_cut_off_says_so(name, left, own):
    file = own({'detector.bin': 'detector.xml', 'detector.ncnn.bin': 'detector.ncnn.param'}.get(name, name))
    cut = file.with_name(name)
    cut.write_bytes(cut.read_bytes()[:int(cut.stat().st_size * left)])
    for open_one in (open_checked, Detector):
        with pytest.raises(UserError, match=r'it is truncated, or was changed since\. Copy .*' + name):
            open_one(file)
    if left < 0.1 and 'ncnn' not in name:  # ncnn does not notice it
        with pytest.raises(CannotOpenError, match='it is truncated or was changed after the export'):
            open_session(file)


@pytest.mark.parametrize(('name', 'refuse'), [
    ('detector.onnx', lambda patch: patch.setattr('onnxruntime.InferenceSession', broken)),
    ('detector.xml', lambda patch: patch.setattr(sessions, 'openvino_core', Broken))])
def test_open_checked_of_a_whole_file_that_its_runtime_refuses_does_not_call_it_truncated(name, refuse, exported,
                                                                                          monkeypatch, memory):
    monkeypatch.setattr(opening, 'runtime_version', lambda _: 'a runtime')
    refuse(monkeypatch)
    with pytest.raises(CannotOpenError, match=r'is as it was exported, but cannot be opened here \(.*no such operator'
                       ) as error:
        open_checked(exported / name)
    assert 'truncated' not in str(error.value)
    assert not memory.exists()


def broken(*_, **__):
    raise RuntimeError('no such operator')


class Broken:
    read_model = get_property = compile_model = staticmethod(broken)


@pytest.mark.parametrize('name', NAMES)
def test_file_from_before_opens_and_says_that_it_has_no_self_check(name, own, capsys):
    file = own(name)

    def forget(manifest):
        del manifest['reference'], manifest['checksum']
    edit_manifest(file, forget)
    assert Detector(file).classes == ('disc', 'square', 'triangle')
    assert len(lines := capsys.readouterr().err.splitlines()) == 1
    assert NO_SELF_CHECK in lines[0]
    assert check(file) == 1
    assert 'cannot be checked: no self-check: it was exported before' in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- networks that are wrong

def swapped_channels(graph):
    edit_weights(graph, lambda array: array[:, ::-1], lambda array: array.shape[1:] == (3, 3, 3))


def zeroed(graph):
    edit_weights(graph, np.zeros_like)


def scaled(graph):
    edit_weights(graph, lambda array: array * np.float32(1.02))


def swapped_classes(graph):
    """The rows of the last layer that two classes have."""
    name = next(node for node in graph.node if 'map_0' in node.output).input[1]
    part = next(part for part in graph.initializer if part.name == name)
    array = onnx.numpy_helper.to_array(part)
    order = np.arange(len(array)).reshape(-1, 3)[:, [1, 0, 2]].ravel()
    part.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array[order]), name))


def swapped_maps(graph):
    rename(graph, map_0='map_3', map_3='map_0')


def swapped_outputs(graph):
    rename(graph, scores='labels', labels='scores')


def rename(graph, **names):
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
    for value in (*graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)


@pytest.mark.parametrize('change', [swapped_channels, zeroed, scaled, swapped_classes, swapped_maps, swapped_outputs])
def test_open_checked_finds_a_wrong_network_by_its_numbers(change, own, memory, capsys):
    file = own('detector.onnx')
    edit_network(file, change)
    reseal(file)
    for _ in range(2):  # a failure is not remembered
        with pytest.raises(UserError, match=r'is computed wrong on this machine, by onnxruntime [\d.]+: the answer'):
            open_checked(file)
    assert not memory.exists()
    assert open_checked(file, self_check=False).manifest.reference
    assert 'is not checked' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['detector.xml', 'detector.ncnn.param'])
def test_open_checked_finds_other_weights_by_their_numbers(name, own):
    file = own(name)
    weights = file.with_suffix('.bin')
    content = bytearray(weights.read_bytes())
    middle = len(content) // 8 * 4
    content[middle:middle + 40_000] = bytes(40_000)
    weights.write_bytes(content)
    reseal(file)
    with pytest.raises(UserError, match='is computed wrong on this machine'):
        open_checked(file)


@pytest.mark.parametrize('what', ['maps', 'run'])
def test_open_checked_finds_a_runtime_that_returns_zeros(what, exported, monkeypatch):
    real = getattr(sessions._OnnxSession, what)
    monkeypatch.setattr(sessions._OnnxSession, what,
                        lambda *arguments, **more: [np.zeros_like(part) for part in real(*arguments, **more)])
    with pytest.raises(UserError, match='is computed wrong on this machine'):
        open_checked(exported / 'detector.onnx')


def test_open_checked_finds_a_runtime_that_returns_nan(exported, monkeypatch):
    real = sessions._OnnxSession.maps
    monkeypatch.setattr(sessions._OnnxSession, 'maps',
                        lambda *arguments, **more: [part * np.nan for part in real(*arguments, **more)])
    with pytest.raises(UserError, match='differs by inf of its spread'):
        open_checked(exported / 'detector.onnx')


def test_open_checked_names_the_runtime_that_cannot_run_the_picture(exported, monkeypatch):
    monkeypatch.setattr(sessions._OnnxSession, 'run', broken)
    with pytest.raises(UserError, match=r'ONNX Runtime cannot run the built-in picture \(RuntimeError: no such oper'):
        open_checked(exported / 'detector.onnx')


# ----------------------------------------------------------------------------------------------------------------- int8

@pytest.fixture
def opened(monkeypatch):
    """Whether files were opened in integers, and a check that only passes in floating point."""
    kinds = []
    real = run_check

    def open_one(file, precision='fp32', threads=None, integers=True, requests=1):
        kinds.append(integers)
        return open_session(file, precision, threads, integers, requests)
    monkeypatch.setattr(opening, 'open_session', open_one)
    monkeypatch.setattr(opening, 'run_check', lambda session, precision: (
        self_check.SelfCheck({'cat': [9.]}, {'cat': 0.1}, real(session, precision).boxes, 0.4) if kinds[-1] else
        real(session, precision)))
    return kinds


@pytest.mark.parametrize(('values', 'own', 'beyond', 'passes'), [
    ([3., 4.], {}, 12.5 ** 0.5, False), ([0.5, 0.5], {'cat': 0.3}, 0.4, True), ([0.3, 0.3], {'cat': 0.3}, 0, True),
    ([0.2, 0.2], {'cat': 0.3}, 0, True), ([0.6, 0.6], {'cat': 0.3}, 0.27 ** 0.5, False)])
def test_what_the_quantization_itself_changes_does_not_count(values, own, beyond, passes):
    check = self_check.SelfCheck({'cat': values}, own, compare([], self_check.TOLERANCES['int8']), 0.4001)
    assert check.difference == pytest.approx(beyond, abs=1e-9)
    assert check.most == ('cat', pytest.approx(beyond, abs=1e-9))
    assert check.passes == passes


def test_one_class_may_differ_by_two_and_a_half_limits():
    def check(value):
        groups = {'cat': [value], **{f'{index}': [0.] for index in range(30)}}
        return self_check.SelfCheck(groups, {}, compare([], self_check.TOLERANCES['int8']), 0.4)
    assert check(0.99).passes
    assert not check(1.01).passes
    assert check(1.01).difference < 0.4


def test_a_file_without_digits_in_its_checksum_is_no_file_of_an_earlier_version(own):
    file = own('detector.onnx')
    content = file.read_bytes()
    at = content.index(b'"checksum": "') + 13
    file.write_bytes(content[:at] + b'x' + content[at + 1:])
    with pytest.raises(UserError, match='is not as it was exported'):
        open_checked(file)


def as_int8(file):
    edit_manifest(file, lambda manifest: manifest.update(precision='int8'))
    reseal(file)
    return file


def test_int8_file_that_is_wrong_in_integers_runs_in_floating_point(own, opened, memory, monkeypatch, capsys):
    file, line = as_int8(own('detector.xml')), 'runs in floating point, more slowly: in int8 it is refused or wrong'
    session = open_checked(file)
    assert opened == [True, False, False]  # tried in both arithmetics, then opened
    assert session.run(picture((64, 64), COLOURS)[None], np.array([64, 64]))[0].shape[1] == 4
    assert capsys.readouterr().err.count(line) == 1
    assert [one.read_text() for one in memory.iterdir()] == ['floats']
    monkeypatch.setattr(opening, 'run_check', lambda *_: pytest.fail('checked again'))
    open_checked(file)
    assert opened == [True, False, False, False]
    assert capsys.readouterr().err.count(line) == 1


def test_file_in_fp32_that_is_wrong_is_not_run_in_another_way(exported, opened, memory):
    with pytest.raises(UserError, match=r'is computed wrong .* differs by 9 of its spread .* most in cat'):
        open_checked(exported / 'detector.xml')
    assert not memory.exists()


def test_int8_file_that_is_wrong_in_both_ways_is_refused(own, opened, memory, monkeypatch):
    monkeypatch.setattr(self_check.SelfCheck, 'passes', False)
    with pytest.raises(UserError, match='is computed wrong'):
        open_checked(as_int8(own('detector.xml')))
    assert opened == [True, False]
    assert not memory.exists()


# -------------------------------------------------------------------------------------------------------------- command

@pytest.mark.parametrize('name', NAMES)
def test_check_prints_the_figures_of_a_right_file(name, exported, memory, capsys):
    assert check(exported / name) == 0
    lines = capsys.readouterr().out.splitlines()
    runtime = {'.onnx': 'onnxruntime', '.xml': 'openvino', '.param': 'ncnn'}[(exported / name).suffix]
    assert re.fullmatch(rf'{re.escape(str(exported / name))}, fp32, by {runtime} [\w.+/-]+', lines[0])
    assert lines[1].split() == ['level', '1', 'level', '2', 'level', '3', 'all']
    assert [line.split()[0] for line in lines[2:6]] == ['disc', 'square', 'triangle', '(boxes)']
    assert lines[-1].startswith('right: the answer to the built-in picture differs by ')
    assert not memory.exists()  # it always runs


def test_check_refuses_wrong_changed_and_foreign_files(own, tmp_path, capsys):
    file = own('detector.onnx')
    edit_network(file, scaled)
    assert check(file) == 1
    assert 'is not as it was exported: it is truncated, or was changed since' in capsys.readouterr().err
    reseal(file)
    assert check(file) == 1
    output = capsys.readouterr()
    assert 'is computed wrong here: the answer' in output.err
    assert 'triangle' in output.out
    for name, message in (('a.txt', 'is not an exported file'), ('a.onnx', 'there is no exported file')):
        assert check(tmp_path / name) == 1
        assert message in capsys.readouterr().err


def test_predict_goes_on_with_a_changed_file_only_if_it_is_told_to(own, shapes, tmp_path, capsys):
    file = own('detector.onnx')
    edit_manifest(file, swap_classes)
    command = [str(file), str(shapes / 'val2017'), '--out', str(tmp_path / 'out')]
    assert door.run(tool('predict'), command) == 1
    assert '; --no-self-check opens it anyway' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    assert door.run(tool('predict'), [*command, '--no-self-check']) == 0
    assert 'is not checked' in capsys.readouterr().err
    assert (tmp_path / 'out/detections.json').exists()


def test_reference_comes_back_from_json(exported):
    stored = open_session(exported / 'detector.onnx').manifest.reference
    reference = Reference(**stored)
    assert [part.shape[0] for part in reference.maps] == [shape[0] for shape in reference.shapes]
    assert all(np.isfinite(part).all() for part in reference.maps)
    boxes, scores, labels = reference.instances
    assert boxes.shape == (len(scores), 4)
    assert set(labels) <= {0, 1, 2}
    assert (np.diff(scores) <= 0).all()


# ------------------------------------------------------------------------------------------ checks that cannot be made

@pytest.mark.parametrize('change', [dict(scales=[1]), dict(kinds=['masks', 'boxes']), dict(kinds=[])])
def test_self_check_of_another_version_is_told_as_that(own, change):
    file = own('detector.onnx')
    edit_manifest(file, lambda manifest: manifest['reference'].update(change))
    reseal(file)
    with pytest.raises(UserError, match='cannot be checked: it has a self-check of another version') as error:
        open_checked(file)
    assert str(error.value).startswith(str(file))
    assert '--no-self-check opens it anyway' in str(error.value)


def test_a_check_that_cannot_run_in_integers_runs_in_floating_point(own, monkeypatch):
    file, tries = as_int8(own('detector.xml')), []

    def fails_first(session, precision):
        tries.append(precision)
        if len(tries) == 1:
            raise self_check.CannotRunError('no')
        return run_check(session, precision)
    monkeypatch.setattr(opening, 'run_check', fails_first)
    monkeypatch.setattr(opening.SelfCheck, 'passes', True)
    open_checked(file)
    assert tries == ['int8', 'int8']


def test_the_worst_place_of_a_batch_counts(monkeypatch, exported):
    """One place fails by a single class, and the other differs more over all."""
    session = open_session(exported / 'detector.onnx')
    figures = [{'a': [0.00025], 'b': [0.00025]}, {'c': [0.0009], **{f'{index}': [0.0] for index in range(20)}}]
    reference = Reference(**session.manifest.reference)
    monkeypatch.setattr(self_check, 'answer', lambda *_: ([], [reference.instances] * 2))
    monkeypatch.setattr(self_check, 'sampled', lambda _, index: index)
    monkeypatch.setattr(self_check, 'differences', lambda index, *_: figures[index])
    check = run_check(session, 'fp32')
    assert check.most[0] == 'c'
    assert not check.passes


def test_a_missing_runtime_is_named_where_a_file_is_checked(own, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ncnn', None)
    with pytest.raises(UserError, match=r'pip install "ghostdet\[ncnn\]"'):
        open_checked(own('detector.ncnn.param'))


def test_a_home_that_is_not_there_means_no_memory(own, monkeypatch):
    def no_home(*_):
        raise RuntimeError('Could not determine home directory.')
    monkeypatch.setattr(opening, 'cache_file', no_home)
    assert open_checked(own('detector.onnx')).manifest.reference


def test_an_xml_without_its_end_is_told_as_truncated(own):
    file = own('detector.xml')
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(UserError, match='it is truncated or was changed'):
        open_checked(file)


def test_check_says_what_predict_would_do(own, monkeypatch, capsys):
    file = own('detector.xml')
    assert check(file, '--floats') == 1
    assert 'is not in int8: leave out --floats' in capsys.readouterr().err
    assert check(file, '--threads', '-3') == 1
    assert '-3 threads: expected at least 1' in capsys.readouterr().err
    monkeypatch.setattr(self_check.SelfCheck, 'passes', False)
    assert check(as_int8(file)) == 1
    assert 'if it is right in floating point (--floats), it is run so' in capsys.readouterr().err
