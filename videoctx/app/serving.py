"""Runs the server until Ctrl-C."""

import errno
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
    except OSError as error:
        raise ValueError(
            f"host is {host!r}: {error.strerror or error}; expected a name or an address of this computer"
        ) from error
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


def serve(app: Starlette, opened: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM, whose handler runs afterwards."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GOODBYE_SECONDS, server_header=False
    )
    uvicorn.Server(config).run(sockets=[opened])
