"""A local HTTP server that serves files and byte ranges, and fails on request.

with FileServer({"a.mp4": content}) as server:
    server.faults["a.mp4"] = [Fault.DROP, Fault.ERROR_503]  # of the next two GETs of it; the third succeeds
    fetch(server.url("a.mp4"))
    assert server.deliveries["a.mp4"] == 1
"""

import re
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Fault(Enum):
    """How a request fails."""

    DROP = auto()  # half of the body, then the connection is closed
    RESET = auto()  # half of the body, then the connection is reset
    LONG_LENGTH = auto()  # Content-Length is larger than the body
    SHORT_LENGTH = auto()  # Content-Length is smaller than the body
    ERROR_503 = auto()
    ERROR_403 = auto()
    SILENCE = auto()  # no response, and the connection stays open
    STALL = auto()  # half of the body, and the connection stays open


class FileServer:
    """A context manager that serves bytes by name, each request in its own thread.

    Args:
        files: Contents by name.
        delay_seconds: Delay before every response.
        knows_size: Send Content-Length. Otherwise the body is sent in chunks.
        knows_parts: Support `Range`. Otherwise all bytes are sent, with `Accept-Ranges: none`.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        delay_seconds: float = 0.0,
        knows_size: bool = True,
        knows_parts: bool = True,
    ) -> None:
        self.files = dict(files)
        self.delay_seconds = delay_seconds
        self.knows_size = knows_size
        self.knows_parts = knows_parts
        self.faults: defaultdict[str, list[Fault | None]] = defaultdict(
            list
        )  # of the next GETs, by name; None for no fault
        self.always: dict[str, Fault] = {}  # of every request including HEAD, by name
        self.requests: Counter[str] = Counter()  # GETs by name
        self.deliveries: Counter[str] = Counter()  # completely sent files, by name
        self.ended = threading.Event()
        self.lock = threading.Lock()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def __enter__(self) -> "FileServer":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"files": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()

    def next_fault(self, name: str, *, is_get: bool) -> Fault | None:
        with self.lock:
            self.requests[name] += is_get
            if name in self.always:
                return self.always[name]
            return self.faults[name].pop(0) if is_get and self.faults[name] else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: FileServer

    def do_HEAD(self) -> None:
        self._respond(is_get=False)

    def do_GET(self) -> None:
        self._respond(is_get=True)

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client closed the connection
            super().handle()

    def _respond(self, *, is_get: bool) -> None:
        name = self.path.lstrip("/")
        fault = self.files.next_fault(name, is_get=is_get)
        self.files.ended.wait(self.files.delay_seconds)
        if fault is Fault.SILENCE:
            self.files.ended.wait()
            self.close_connection = True
            return
        error = {Fault.ERROR_503: 503, Fault.ERROR_403: 403}.get(fault, 200 if name in self.files.files else 404)
        if error != 200:
            self.send_response(error)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.files.files[name]
        first, stop = self._part(len(content))
        body = content[first:stop]
        chunked = is_get and not self.files.knows_size
        self.send_response(206 if (first, stop) != (0, len(content)) else 200)
        self.send_header("Accept-Ranges", "bytes" if self.files.knows_parts else "none")
        if self.files.knows_size:
            declared = len(body) + {Fault.LONG_LENGTH: 7, Fault.SHORT_LENGTH: -7}.get(fault, 0)
            self.send_header("Content-Length", str(declared))
            if (first, stop) != (0, len(content)):
                self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{len(content)}")
        elif chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.close_connection = True
        self.end_headers()
        if not is_get:
            return
        if chunked:
            self.wfile.write(b"%x\r\n" % len(body))
        if fault in (Fault.DROP, Fault.RESET, Fault.STALL):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if fault is Fault.STALL:
                self.files.ended.wait()
            if fault is Fault.RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.connection.close()
            self.close_connection = True
            return
        self.wfile.write(body)
        if chunked:
            self.wfile.write(b"\r\n0\r\n\r\n")
        if fault in (Fault.LONG_LENGTH, Fault.SHORT_LENGTH):
            self.close_connection = True
        elif stop == len(content):
            with self.files.lock:
                self.files.deliveries[name] += 1

    def _part(self, size: int) -> tuple[int, int]:
        """Return the first byte of the requested range and the one after its last."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked or not self.files.knows_parts:
            return 0, size
        return int(asked[1]), min(int(asked[2]) + 1 if asked[2] else size, size)
