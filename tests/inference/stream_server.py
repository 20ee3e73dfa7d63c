"""A server of a stream over TCP on loopback that ends like a camera that breaks down."""

import socket
import threading
from contextlib import suppress
from io import BytesIO

import av

from tests.numbered import paint


class StreamServer:
    """Serve MPEG-TS inside a `with` block: send each connection a number of frames at once, then close it.

    Args:
        connections: frames for each, in turn; after the last one, connections are refused.
        silent: after the frames the connection stays open.
    """

    def __init__(self, *connections: int, silent: bool = False) -> None:
        self._streams = [_encoded(num_frames) for num_frames in connections]
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
            for number, stream in enumerate(self._streams, start=1):
                connection, _ = self._socket.accept()
                if number == len(self._streams):
                    self._socket.close()
                with connection, suppress(OSError):
                    connection.sendall(stream)
                    if self._silent:
                        self._done.wait()
        self._socket.close()


def _encoded(num_frames: int) -> bytes:
    file = BytesIO()
    options = {"g": "10", "x264-params": "threads=1:log-level=none", "tune": "zerolatency"}
    with av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(paint(number, width=96, height=80), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
