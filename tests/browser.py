"""Opens a page in a real browser; tests that need one are skipped where there is no Chromium or Chrome."""
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

BROWSERS = 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'
CHROME = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update',
         '--no-first-run']


def browsed(test):
    return pytest.mark.browser(pytest.mark.skipif(CHROME is None, reason='needs Chromium or Chrome')(test))


@contextmanager
def opened(address, width=1200, height=1000):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROME, args=FLAGS)
        try:
            page = browser.new_page(viewport=dict(width=width, height=height))
            page.goto(address)
            yield page
        finally:
            browser.close()
