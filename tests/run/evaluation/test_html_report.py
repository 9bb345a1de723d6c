"""The page of a report in a real browser; skipped where there is no Chromium or Chrome."""
import json

import numpy as np
from PIL import Image

from ghostdet.data.coco import Split
from ghostdet.evaluation.coco_table import evaluate
from ghostdet.training import report
from tests.browser import browsed, opened

HOSTILE = '<script>document.title = "changed"</script>'


def write(folder):
    """Images and annotations with hostile names, detections, and the whole report of them."""
    (folder / 'images').mkdir()
    names = ['a<b>.png', '"onerror=alert(1) x=".png']
    for name in names:
        Image.fromarray(np.full((60, 80, 3), 99, np.uint8)).save(folder / 'images' / name)
    categories = [dict(id=1, name=HOSTILE), dict(id=2, name='cat & dog')]
    boxes = [dict(id=number, image_id=image, category_id=image, bbox=[x, 5, 30, 30], area=900, iscrowd=0)
             for number, image, x in ((1, 1, 5), (2, 2, 5), (3, 1, 45))]
    (folder / 'truth.json').write_text(json.dumps(dict(
        images=[dict(id=number, file_name=name, width=80, height=60) for number, name in enumerate(names, 1)],
        annotations=boxes, categories=categories)))
    found = report.detections_file(folder)
    found.write_text(json.dumps([dict(image_id=1, category_id=1, bbox=[5, 5, 30, 30], score=0.5),
                                 dict(image_id=2, category_id=1, bbox=[5, 5, 30, 30], score=0.8),
                                 dict(image_id=2, category_id=2, bbox=[45, 5, 30, 30], score=0.7)]))
    table = evaluate(folder / 'truth.json', found)
    report._draw(folder, Split('val', folder / 'truth.json', folder / 'images'), table, {}, False)
    return folder / 'report.html'


@browsed
def test_report_is_one_page_that_runs_no_name_and_fits_a_phone(tmp_path):
    page_file = write(tmp_path)
    alone = tmp_path / 'elsewhere'
    alone.mkdir()
    page_file = page_file.rename(alone / 'report.html')  # it needs no other file
    for width in (1400, 400):
        with opened(page_file.as_uri(), width) as page:
            assert 'AP 0.' in page.title()
            assert page.locator('script').count() == 0
            assert HOSTILE in page.locator('body').inner_text()
            assert page.evaluate('document.documentElement.scrollWidth') <= width
            pictures = page.locator('img').evaluate_all('all => all.map(one => one.naturalWidth)')
            assert len(pictures) == 6
            assert min(pictures) > 100
            table = page.locator('table').first.inner_text().split('\n')
            assert [line.split('\t')[0] for line in table if line.strip()][1:] == ['all', HOSTILE, 'cat & dog']
            assert f'cat & dog\t{HOSTILE}\t1' in page.locator('body').inner_text()  # taken for
