"""The blocks of README and docs/; words and links. The nightly file of this name runs the blocks."""
import re
from dataclasses import dataclass

import pytest

from tests.conftest import ROOT

PAGES = ('README.md', *sorted(str(file.relative_to(ROOT)) for file in ROOT.glob('docs/**/*.md')))

BLOCK = re.compile(r'(?:^<!-- (?P<mark>[^>]*) -->\n)?^```(?P<language>bash|python)\n(?P<text>.*?)^```$',
                   re.MULTILINE | re.DOTALL)

NOT_RUN = 20  # blocks that cannot run in CI; each says why

WORDS = 600  # most words of the README outside code
DOCS_WORDS = 20_000  # most words of docs/, with code

# Words that usually mark a sentence to rewrite.
AVOIDED = re.compile(
    r'\b(anew|lacking|whoever|somebody|told|is none|of one.s own|without a word|as it is|by hand of)\b', re.I)


@dataclass(frozen=True)
class Block:
    """A fenced block; `reason` says why it does not run, `is_config` that it is a fragment of a config."""

    language: str
    text: str
    reason: str | None
    is_config: bool


def blocks(page):
    """All blocks of a page, in order."""
    result = []
    for match in BLOCK.finditer((ROOT / page).read_text()):
        mark = match['mark'] or ''
        reason = mark.removeprefix('not run: ') if mark.startswith('not run: ') else None
        assert reason or not mark or mark == 'config', f'{page}: unknown mark {mark!r}'
        result.append(Block(match['language'], match['text'], reason, mark == 'config'))
    return result


def test_few_blocks_are_not_run_and_say_why():
    skipped = [(page, block) for page in PAGES for block in blocks(page) if block.reason is not None]
    assert all(len(block.reason) >= 10 for _, block in skipped)
    assert len(skipped) <= NOT_RUN
    assert sum(not block.is_config and block.reason is None for page in PAGES for block in blocks(page)) >= 35


def without_code(text):
    return re.sub(r'^```.*?^```$', '', text, flags=re.MULTILINE | re.DOTALL)


def test_the_readme_is_short():
    assert len(without_code((ROOT / 'README.md').read_text()).split()) <= WORDS


def test_the_docs_are_short():
    assert sum(len(file.read_text().split()) for file in ROOT.glob('docs/**/*.md')) <= DOCS_WORDS


@pytest.mark.parametrize('page', ['README.md', 'CONTRIBUTING.md', 'SECURITY.md'])
def test_links_lead_somewhere(page):
    for link in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', (ROOT / page).read_text()):
        assert link.startswith(('http://', 'https://')) or (ROOT / link).exists(), link


@pytest.mark.parametrize('page', PAGES)
def test_plain_words(page):
    result = AVOIDED.findall(without_code((ROOT / page).read_text()))
    assert not result, f'{page}: {result}'
