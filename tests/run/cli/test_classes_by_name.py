"""`ghostdet test` on data with some of a detector's classes, in another order, or in another spelling."""
import json
import shutil

import pytest

from tests.conftest import SHORT, run_tool

MODELS = ['epoch_2.pth', 'detector.onnx']


def data_with(names, shapes, folder):
    """A copy of the small set with these classes alone: name there -> name here."""
    shutil.copytree(shapes, folder)
    for file in (folder / 'annotations').glob('*.json'):
        content = json.loads(file.read_text())
        ids = {category['name']: category['id'] for category in content['categories']}
        content['categories'] = [dict(id=10 - number, name=name) for number, name in enumerate(names.values())]
        new = {ids[name]: 10 - number for number, name in enumerate(names)}
        content['annotations'] = [dict(box, category_id=new[box['category_id']]) for box in content['annotations']
                                  if box['category_id'] in new]
        file.write_text(json.dumps(content))
    return folder


@pytest.fixture
def evaluate(trained, exported, tmp_path):
    """Evaluates a model on a data set: the rows of its classes."""
    def rows(model, data, *more):
        is_file = model.startswith('detector')
        folder = tmp_path / f'run_{model}'
        assert run_tool('test', (exported if is_file else trained) / model, '--data-root', data, '--work-dir', folder,
                        *more, short=[] if is_file else SHORT) == 0
        return json.loads((folder / 'coco.json').read_text())['classes']
    return rows


@pytest.mark.parametrize('model', MODELS)
@pytest.mark.parametrize('names', [
    dict(triangle='triangle', disc='disc', square='square'), dict(square='Sq-uare', disc='disc'),
    dict(triangle='TRI ANGLE')])
def test_classes_have_the_rows_that_they_have_among_all(names, model, evaluate, shapes, tmp_path, capsys):
    expected = evaluate(model, shapes)
    assert 'classes of the data, and of' not in capsys.readouterr().err
    found = evaluate(model, data_with(names, shapes, tmp_path / 'data'))
    assert found == {here: expected[there] for there, here in names.items()}
    assert any(row['AP'] for row in found.values())
    shown = capsys.readouterr().err
    assert ', '.join(f'{here} = {there}' for there, here in names.items()) in shown
    assert (f'{3 - len(names)} of the detector\'s 3 classes are not in the data' in shown) == (len(names) < 3)


def test_the_optimized_copy_and_the_images_have_the_classes_of_the_data(evaluate, shapes, tmp_path):
    data = data_with(dict(square='square', disc='disc'), shapes, tmp_path / 'data')
    assert set(evaluate('epoch_2.pth', data, '--optimize', '--show-dir', tmp_path / 'shown')) == {'square', 'disc'}
    assert len(list((tmp_path / 'shown').glob('*.png'))) == 4
    ids = {box['category_id'] for box in json.loads((tmp_path / 'run_epoch_2.pth/detections.bbox.json').read_text())}
    assert ids == {9, 10}


@pytest.mark.parametrize('model', MODELS)
def test_a_class_that_the_detector_does_not_know_has_an_ap_of_0(model, evaluate, shapes, tmp_path, capsys):
    expected = evaluate(model, shapes)
    found = evaluate(model, data_with(dict(square='star', disc='disc'), shapes, tmp_path / 'data'))
    assert found['star']['AP'] == 0
    assert found['disc'] == expected['disc']
    assert 'classes that the detector does not know, so it finds none of them: star' in capsys.readouterr().err


@pytest.mark.parametrize('model', MODELS)
def test_data_without_a_class_of_the_detector_is_refused(model, trained, exported, shapes, tmp_path, capsys):
    data = data_with(dict(square='star', disc='moon'), shapes, tmp_path / 'data')
    folder = exported if model.startswith('detector') else trained
    assert run_tool('test', folder / model, '--data-root', data, '--work-dir', tmp_path / 'run', short=[]) == 1
    shown = capsys.readouterr().err
    assert 'was trained on the classes disc, square, triangle, but the data has star, moon: no class has' in shown


def test_resume_refuses_other_classes(trained, shapes, tmp_path, capsys):
    data = data_with(dict(square='square', disc='disc', triangle='triangle'), shapes, tmp_path / 'data')
    shutil.copytree(trained, tmp_path / 'run')
    assert run_tool('train', 'retinanet_ghostnet_1.1x_mini', '--data-root', data, '--work-dir', tmp_path / 'run',
                    '--resume', epochs=3) == 1
    assert 'was trained on the classes disc, square, triangle, in this order' in capsys.readouterr().err
