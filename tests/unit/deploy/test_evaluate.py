"""Options that an exported file cannot follow, and an export can."""
from types import SimpleNamespace

import pytest

from ghostdet.deploy import evaluate, exporter
from ghostdet.errors import UserError
from ghostdet.options import EvaluationOptions, ExportOptions


def test_evaluate_changes_no_scale_of_an_exported_file():
    with pytest.raises(UserError, match='--scale 320 cannot be changed in an exported file: export the checkpoint'):
        evaluate.evaluate(EvaluationOptions(checkpoint='a.onnx', scale=320))


@pytest.mark.parametrize(('limit', 'count', 'refused'), [(100, 101, True), (100, 100, False), (None, 101, False)])
def test_evaluate_refuses_more_boxes_than_an_exported_file_gives(limit, count, refused, monkeypatch):
    class File:
        def __init__(self, *_, **__):
            self.max_objects = limit

    class PlannedError(Exception):
        pass

    def plan(*_):
        raise PlannedError
    monkeypatch.setattr(evaluate, 'ExportedDetector', File)
    monkeypatch.setattr(evaluate, 'plan_evaluation', plan)
    options = EvaluationOptions(config='retinanet_ghostnet_1.1x_mini', checkpoint='a.onnx', max_objects=count)
    with pytest.raises(UserError if refused else PlannedError,
                       match='a.onnx gives at most 100 boxes for an image. Export .* again' if refused else '^$'):
        evaluate.evaluate(options)


def test_export_reads_the_checkpoint_with_its_scale_and_limit(monkeypatch):
    def read(*arguments):
        raise LookupError(arguments)
    monkeypatch.setattr(exporter, 'read_detector', read)
    monkeypatch.setattr(exporter, 'check_packages', lambda *_: None)
    with pytest.raises(LookupError) as caught:
        exporter.export(ExportOptions(checkpoint='a.pth', out='a.onnx', scale=224, max_objects=150))
    assert caught.value.args == (('a.pth', None, {}, 224, 150),)


@pytest.mark.parametrize(('limit', 'evaluated'), [(300, 300), (100, None), (None, None)])
def test_evaluate_counts_as_many_boxes_as_the_file_was_exported_with(limit, evaluated, monkeypatch):
    """The packaged config, which the file names, returns 100."""
    monkeypatch.setattr(evaluate, 'ExportedDetector', lambda *_, **__: SimpleNamespace(max_objects=limit))
    monkeypatch.setattr(evaluate, 'plan_evaluation', lambda cfg, _: SimpleNamespace(cfg=cfg))
    monkeypatch.setattr(evaluate, 'detect', lambda *_: None)
    monkeypatch.setattr(evaluate.launch, 'report_of', lambda plan, _: plan.cfg.test_evaluator.get('max_objects'))
    options = EvaluationOptions(config='retinanet_ghostnet_1.1x_mini', checkpoint='a.onnx')
    assert evaluate.evaluate(options) == evaluated
