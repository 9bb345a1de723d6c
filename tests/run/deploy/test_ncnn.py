"""ncnn files beside mmdet's own `predict`: the network in the file, boxes decoded here."""
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ghostdet.deploy.exporter import manifest_of
from ghostdet.deploy.ncnn_writer import _strided, decoder_of, to_ncnn
from ghostdet.deploy.program import UnsupportedError, program_of
from ghostdet.errors import UserError
from ghostdet.infer.agreement import TOLERANCES, compare
from ghostdet.infer.decoding import Decoder
from ghostdet.infer.exported import ExportedDetector, prepare
from ghostdet.infer.sessions import open_session
from tests.real_images import twenty
from tests.run.deploy.test_program import NAMES, OTHERS, Tail, assert_only_near_ties, detector

pytest.importorskip('ncnn')


@pytest.fixture(scope='module', params=['retinanet', *OTHERS])
def trained(request):
    return detector(request.param)


def written(trained, folder, precision='fp32', shape=(128, 160)):
    manifest = replace(manifest_of(trained, shape, 'a config', fixed=True), precision=precision, classes=NAMES)
    to_ncnn(program_of(trained.model), manifest, folder / f'{precision}.ncnn.param')
    return folder / f'{precision}.ncnn.param'


def test_the_same_maps_give_the_same_boxes(trained):
    """What comes after the network, given what mmdet's `predict` has there, in twenty photographs."""
    program = program_of(trained.model)
    decoder = Decoder(**json.loads(json.dumps(decoder_of(program).to_dict())))
    manifest = manifest_of(trained, (160, 192), '', fixed=True)
    images = [prepare(photo, manifest) for photo in twenty()]
    results = []
    for image in images:
        with torch.no_grad():
            maps = program.head(program.features(*map(torch.from_numpy, (image.canvas, image.size))))
        results.append(decoder.boxes([level[0].numpy() for part in maps for level in part], image.size.tolist()))
    assert_only_near_ties(Tail(trained, program), images, results)
    assert all((np.diff(scores) <= 0).all() for _, scores, _ in results)


def test_files_find_what_the_checkpoint_finds(trained, tmp_path):
    file = written(trained, tmp_path)
    session = open_session(file)
    assert session.manifest.classes == NAMES
    images = [prepare(photo, session.manifest) for photo in twenty()[:4]]
    assert_only_near_ties(Tail(trained, program_of(trained.model)), images,
                          [session.run(image.canvas, image.size) for image in images])


def test_weights_of_16_bits(tmp_path):
    trained = detector('nanodet-plus')
    whole, half = written(trained, tmp_path), written(trained, tmp_path, 'fp16')
    assert half.with_suffix('.bin').stat().st_size < 0.55 * whole.with_suffix('.bin').stat().st_size
    sessions = [open_session(file) for file in (whole, half)]
    assert [session.manifest.precision for session in sessions] == ['fp32', 'fp16']
    images = [prepare(photo, sessions[0].manifest) for photo in twenty()[:4]]
    both = [[session.run(image.canvas, image.size) for image in images] for session in sessions]
    agreement = compare(zip(*both), TOLERANCES['fp16'])
    assert agreement.pairs > 20
    assert agreement.is_close, agreement.to_text()


def test_nothing_found_is_no_error(tmp_path):
    session = open_session(written(detector('nanodet-plus', **{'model.test_cfg.score_thr': 0.9999}), tmp_path,
                                   shape=(64, 64)))
    result = session.run(np.zeros((1, 64, 64, 3), np.uint8), np.array([64, 64]))
    assert [part.shape for part in result] == [(0, 4), (0,), (0,)]


def test_focus_becomes_one_convolution():
    from mmdet.models.backbones.csp_darknet import Focus
    focus = Focus(3, 16, kernel_size=3)
    focus.eval()
    x = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(_strided(focus)(x), focus(x))


def test_two_stages_are_refused(tmp_path):
    with pytest.raises(UnsupportedError, match='only one-stage detectors'):
        written(detector('faster-rcnn'), tmp_path)


@pytest.mark.parametrize('ending', ['.bin', '.json'])
def test_a_file_without_its_parts_is_named(ending, tmp_path):
    file = written(detector('nanodet-plus'), tmp_path, shape=(64, 64))
    file.with_suffix(ending).unlink()
    with pytest.raises(UserError, match=rf'put fp32\.ncnn{ending}'):
        ExportedDetector(file)


def test_a_damaged_description_is_named(tmp_path):
    file = written(detector('nanodet-plus'), tmp_path, shape=(64, 64))
    content = json.loads(file.with_suffix('.json').read_text())
    for decoder in (None, {'kind': 'distances'}, {**content['decoder'], 'colour': 1}):
        file.with_suffix('.json').write_text(json.dumps({**content, 'decoder': decoder}))
        with pytest.raises(UserError, match=r'fp32\.ncnn\.json does not say how to find boxes'):
            ExportedDetector(file)
    file.with_suffix('.bin').write_bytes(b'')
    file.with_suffix('.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match='cannot be opened'):
        ExportedDetector(file)
