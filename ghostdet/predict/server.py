"""How the page is served: by Streamlit, to this machine alone unless told otherwise."""
import argparse
import ipaddress
import sys
from pathlib import Path

from ghostdet.errors import UserError

PAGE = Path(__file__).with_name('page.py')


def server_command(options: argparse.Namespace) -> list[str]:
    """The command that serves the page with the options of tools/demo.py."""
    settings = {'server.address': options.host, 'server.port': options.port, 'server.maxUploadSize': options.max_mb,
                'server.headless': 'true', 'server.fileWatcherType': 'none', 'client.toolbarMode': 'viewer',
                'browser.gatherUsageStats': 'false'}
    flags = [f'--{key}={value}' for key, value in settings.items()]
    page = [options.model, options.precision, str(options.max_mb), *([options.config] if options.config else [])]
    return [sys.executable, '-m', 'streamlit', 'run', str(PAGE), *flags, '--', *page]


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine reaches an address.

    Raises:
        UserError: it is none.
    """
    try:
        return host == 'localhost' or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UserError(f'--host {host} is no address: 127.0.0.1 is this machine alone, 0.0.0.0 whoever reaches it') from None
