"""The tables of README and docs/ that a command writes from a file in docs/: each page has what the code writes."""
import json
import re
from statistics import median

import pytest

from benchmarks import finetune
from benchmarks.light_table import LightTable
from benchmarks.which_one import WhichOne
from tests.conftest import ROOT

WRITTEN = [('evidence/backbones', 'which_one', lambda text: WhichOne.read(text).to_markdown()),
           ('which-one', 'which_one', lambda text: WhichOne.read(text).ratios()),
           ('evidence/light-detectors', 'light', lambda text: LightTable.read(text).to_markdown()),
           ('evidence/training', 'finetune', lambda text: finetune.table(json.loads(text)['runs']))]


@pytest.mark.parametrize(('page', 'file', 'written'), WRITTEN, ids=[page for page, _, _ in WRITTEN])
def test_a_page_has_the_tables_of_its_file(page, file, written):
    text = (ROOT / f'docs/{page}.md').read_text()
    assert written((ROOT / f'docs/{file}.json').read_text()) in text


@pytest.mark.parametrize('page', ['README.md', 'docs/which-one.md'])
def test_a_table_of_detectors_has_the_times_that_were_measured(page):
    """Milliseconds from file to boxes in OpenVINO at 416x416."""
    rows = LightTable.read((ROOT / 'docs/light.json').read_text()).rows
    lines = re.findall(r'^\| .* ms \|.*', (ROOT / page).read_text(), re.M)
    assert len(lines) == 3
    for line in lines:
        config, = (name for name in re.findall('`([^`]*)`', line) if not name.startswith('ghostdet://'))
        row, = (row for row in rows if (row.side, row.runtime) == (416, 'OpenVINO, fp32')
                and row.detector.startswith(config.removesuffix('_finetune').removesuffix('_coco')))
        assert f'| {row.parameters / 1e6:.2f} M | {1000 * median(row.seconds):.0f} ms |' in line, line
