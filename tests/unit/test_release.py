"""One version in all files that name it."""
import re

import ghostdet
from tests.conftest import ROOT


def test_the_version_is_that_of_the_citation_and_of_the_newest_changes():
    assert f'\nversion: {ghostdet.__version__}\n' in (ROOT / 'CITATION.cff').read_text()
    headings = re.findall(r'^## (.*)$', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)
    assert re.fullmatch(rf'{re.escape(ghostdet.__version__)} \(\d{{4}}-\d\d-\d\d\)', headings[0])


def test_pages_name_the_wheel_of_this_version():
    names = {name: set(re.findall(r'ghostdet-([\d.]+)-py3', name.read_text()))
             for name in (ROOT / 'README.md', *ROOT.glob('docs/**/*.md'))}
    assert all(versions <= {ghostdet.__version__} for versions in names.values()), names
