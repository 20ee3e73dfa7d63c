"""Runs the server until Ctrl-C."""

import errno
import ipaddress
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

EXPECTED = {
    errno.EADDRNOTAVAIL: "an address of this computer as --host",
    errno.EACCES: "a port from 1024, or 0 for any that is free",
}
GOODBYE_SECONDS = 1  # that open connections get at the end


@contextmanager
def listening_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Open the socket of a server, before a network is loaded for it.

    Args:
        host: a name or an address.
        port: 0: any that is free.

    Raises:
        ValueError: the port is in use, or the host is not this computer's.
    """
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # of a name that no host can have
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no name of a host"
        raise ValueError(f"host is {host!r}: {reason}; expected a name or an address of this computer") from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(address)
            opened.listen(128)
        except OSError as error:
            expected = EXPECTED.get(error.errno or 0, "a port that is free, or 0 for any")
            raise ValueError(f"port {port} of {host}: {error.strerror}; expected {expected}") from error
        yield opened


def url_of(host: str, opened: socket.socket) -> str:
    """Return the URL that a browser on this computer opens.

    Args:
        host: a name or an address, of which the socket was opened.
    """
    address, port = opened.getsockname()[:2]
    if ipaddress.ip_address(address).is_unspecified:  # all addresses, which no browser has to open
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: Starlette, opened: socket.socket) -> None:
    """Serve until Ctrl-C, SIGTERM or SIGHUP, whose handler runs afterwards."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GOODBYE_SECONDS, server_header=False
    )
    server = uvicorn.Server(config)
    with _hangup_ends(server):
        server.run(sockets=[opened])


@contextmanager
def _hangup_ends(server: uvicorn.Server) -> Iterator[None]:
    """End the server on SIGHUP, as uvicorn does on Ctrl-C and SIGTERM, unless `nohup` has it ignored."""
    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_IGN:
        yield
        return
    received = []

    def end(number: int, _: object) -> None:
        received.append(number)
        server.should_exit = True

    signal.signal(signal.SIGHUP, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
    if received:
        signal.raise_signal(signal.SIGHUP)
