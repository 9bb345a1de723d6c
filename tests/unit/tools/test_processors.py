"""`python tools/processors.py` names tests that exist."""
import pytest

from tests.conftest import ROOT
from tools.processors import EMULATED, NUMERIC


@pytest.mark.parametrize('name', [*NUMERIC, *EMULATED])
def test_a_file_or_folder_of_tests_exists(name):
    file, _, test = name.partition('::')
    assert (ROOT / file).exists()
    assert not test or f'def {test.partition("[")[0]}(' in (ROOT / file).read_text()
