"""What tools/emulated.py calls wrong. The nightly file of this name runs it."""
from tests.unit.tools.test_model_index import loaded


def content(*scores):
    """Boxes side by side, as `ghostdet predict` writes them."""
    boxes = [dict(image_id=7, category_id=2, bbox=[20 * index, 0, 10, 10], score=score)
             for index, score in enumerate(scores)]
    return dict(images=[dict(id=7)], categories=[dict(id=2, name='cell')], annotations=boxes)


def test_difference_names_boxes_without_a_partner_and_errors():
    tool = loaded('emulated')

    def found(*scores, error=''):
        return tool.Found(*tool.read_boxes(content(*scores)), '0.1', False, error)
    here = found(*[0.5] * 20)
    assert here.cells(0.3) == ['cell 20', '0.1', 'as exported']
    assert tool.difference(here, here, 0.3) == ''
    assert tool.difference(here, found(*[0.5] * 19, 0.45), 0.3) == ''
    assert tool.difference(found(*[0.35] * 20), found(*[0.28] * 20), 0.3) == ''  # partners below the threshold
    assert tool.difference(here, found(*[0.35] * 20), 0.3) == 'wrong: 40 boxes have no partner, 0 have'  # scores fell
    assert tool.difference(here, found(*[0.5] * 17), 0.3) == ''  # 3 of 37
    assert tool.difference(here, found(*[0.5] * 15), 0.3) == 'wrong: 5 boxes have no partner, 30 have'
    assert tool.difference(here, found(), 0.3) == 'wrong: 20 boxes have no partner, 0 have'
    assert tool.difference(here, found(error='ended by SIGSEGV'), 0.3) == 'ended by SIGSEGV'
