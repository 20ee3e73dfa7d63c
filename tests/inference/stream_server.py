"""A server of a stream over TCP on loopback that ends like a camera that breaks down."""

import socket
import threading
from contextlib import suppress

import av

from tests.numbered import paint


class StreamServer:
    """Serve MPEG-TS inside a `with` block: send each connection a number of frames, then close it.

    Args:
        connections: frames for each, in turn; after the last one, connections are refused.
        silent: after the frames the connection stays open.
    """

    def __init__(self, *connections: int, silent: bool = False) -> None:
        self._connections = connections
        self._silent = silent
        self._done = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._port}"

    def __enter__(self) -> "StreamServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            for num_frames in self._connections:
                connection, _ = self._socket.accept()
                with connection, suppress(OSError):
                    _send(_Pipe(connection), num_frames)
                    if self._silent:
                        self._done.wait()
        self._socket.close()


class _Pipe:
    """A file that can only be written to, like a stream."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def write(self, content: bytes) -> int:
        self._connection.sendall(content)
        return len(content)


def _send(file: _Pipe, num_frames: int) -> None:
    options = {"g": "10", "x264-params": "threads=1:log-level=none", "tune": "zerolatency"}
    with av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(paint(number, width=96, height=80), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
