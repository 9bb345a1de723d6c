"""What the overview of a data set counts."""
import pytest

from ghostdet.data.checked import Checked
from ghostdet.data.coco import Split
from ghostdet.data.overview import overview


@pytest.mark.parametrize(('counts', 'line'), [
    ((3, 0, 2, 100), 'objects an image: median 2.5, most 100'), ((0, 0), 'objects an image: median 0, most 0'),
    ((101, 4, 153), "objects an image: median 101, most 153; 2 images have more than 100, the most that COCO's "
                    'evaluation counts')])
def test_overview_counts_objects_an_image(counts, line, tmp_path):
    boxes = [dict(id=1, image_id=index, category_id=1, bbox=[0, 0, 5, 5], iscrowd=crowd)
             for index, count in enumerate(counts) for crowd in [0] * count + [1]]
    content = dict(images=[dict(id=index, file_name='a.png', width=9, height=9) for index in range(len(counts))],
                   annotations=boxes, categories=[dict(id=1, name='disc')])
    assert line in overview(Checked(Split('train', tmp_path, tmp_path), content)).splitlines()


@pytest.mark.parametrize(('side', 'share'), [(40, '100%'), (115, '100%'), (116, None)])
def test_overview_names_boxes_that_are_small_at_the_size_of_the_default_config(side, share, tmp_path):
    """In 3000x3000 pixels, 115.4 are 16 at 416."""
    image = dict(id=1, file_name='a.png', width=3000, height=3000)
    content = dict(images=[image], categories=[dict(id=1, name='disc')],
                   annotations=[dict(id=1, image_id=1, category_id=1, bbox=[0, 0, side, side])])
    text = overview(Checked(Split('train', tmp_path, tmp_path), content))
    cure = 'a larger --scale helps, or tiles: "ghostdet data DIR --tiles 416 --out DIR2"\n'
    assert (cure in text) == (share is not None)
    assert f'{share} of the boxes are smaller than 16x16' in text or share is None


@pytest.mark.parametrize(('sides', 'cure'), [
    ([416], 'a larger --scale helps'), ([200, 416], 'a larger --scale helps'),
    ([200, 417], 'a larger --scale helps, or tiles: "ghostdet data DIR --tiles 416 --out DIR2"')])
def test_overview_recommends_tiles_only_for_images_that_are_larger(sides, cure, tmp_path):
    content = dict(images=[dict(id=side, file_name='a.png', width=side, height=9) for side in sides],
                   categories=[dict(id=1, name='disc')],
                   annotations=[dict(id=1, image_id=sides[0], category_id=1, bbox=[0, 0, 5, 5])])
    text = overview(Checked(Split('train', tmp_path, tmp_path), content))
    assert f'100% of the boxes are smaller than 16x16: {cure}' in text.splitlines()[-3]
    assert text.splitlines()[-3].endswith(cure)
