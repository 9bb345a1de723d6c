"""How the page is served: by Streamlit, to this machine alone unless told otherwise."""
import ipaddress
import json
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ghostdet.errors import UserError, reason

PAGE = Path(__file__).with_name('page.py')


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """What the page shows.

    Attributes:
        model, precision, config: as in `Detector`.
        max_mb: the largest file it takes, in MB.
    """

    model: str
    precision: str = 'fp32'
    config: str | None = None
    max_mb: int = 20


def server_command(options: PageOptions, host: str, port: int) -> list[str]:
    """The command that serves the page."""
    settings = {'server.address': host, 'server.port': port, 'server.maxUploadSize': options.max_mb,
                'server.headless': 'true', 'server.fileWatcherType': 'none', 'client.toolbarMode': 'viewer',
                'browser.gatherUsageStats': 'false'}
    flags = [f'--{key}={value}' for key, value in settings.items()]
    return [sys.executable, '-m', 'streamlit', 'run', str(PAGE), *flags, '--', json.dumps(asdict(options))]


def check_port(host: str, port: int) -> None:
    """Refuse a port at which nothing can listen.

    Raises:
        UserError: it is taken, reserved or none; or the address is none of this machine's.
    """
    try:
        with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(f'nothing can listen at {host}, port {port} ({reason(error)}): name another with --port') from None


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine reaches an address.

    Raises:
        UserError: it is none.
    """
    try:
        return host == 'localhost' or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UserError(f'--host {host} is no address: 127.0.0.1 is this machine alone, 0.0.0.0 whoever reaches it') from None
