"""Serve the demo page with Streamlit. By default only this machine can open it."""
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
    """Settings of the demo page.

    Attributes:
        model, precision, config, ignore_orientation, self_check: as in `Detector`.
        max_mb: size of the largest file that can be uploaded, in MB.
    """

    model: str
    precision: str = 'fp32'
    config: str | None = None
    ignore_orientation: bool = False
    self_check: bool = True
    max_mb: int = 20


def server_command(options: PageOptions, host: str, port: int) -> list[str]:
    """Return the command line that serves the page."""
    settings = {'server.address': host, 'server.port': port, 'server.maxUploadSize': options.max_mb,
                'server.headless': 'true', 'server.fileWatcherType': 'none', 'client.toolbarMode': 'viewer',
                'browser.gatherUsageStats': 'false'}
    flags = [f'--{key}={value}' for key, value in settings.items()]
    return [sys.executable, '-m', 'streamlit', 'run', str(PAGE), *flags, '--', json.dumps(asdict(options))]


def check_port(host: str, port: int) -> None:
    """Check that a server can listen on a port.

    Raises:
        UserError: the port is in use, reserved or out of range; or the address does not belong to this machine.
    """
    try:
        with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(f'cannot listen on {host}, port {port} ({reason(error)}): '
                        'choose another --port or --host') from None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address.

    Raises:
        UserError: `host` is not an IP address or 'localhost'.
    """
    try:
        return host == 'localhost' or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UserError(f'--host {host} is not an IP address: use 127.0.0.1 for this machine only, or 0.0.0.0 for '
                        'every machine that can reach this one') from None
