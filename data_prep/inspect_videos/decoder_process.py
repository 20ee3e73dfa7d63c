"""A process in which decoders read frames, because a decoder that hangs or crashes can only be stopped from outside.

Each process that inspects videos has one, from the first comparison to its end, so that each decoder is imported once.
"""

import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import cast

import numpy as np

from data_prep.inspect_videos.compared_frames import sample_pixels
from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.video_reader import Decoder, is_installed, open_video
from videoctx.interrupts import without_interrupts

START_SECONDS = 120.0  # to import a decoder
PARENT_CHECK_SECONDS = 1.0
_START = "from data_prep.inspect_videos.decoder_process import _serve; _serve()"


@dataclass(frozen=True, slots=True)
class Request:
    """Frames that a decoder shall read."""

    path: str
    decoder: str
    reads: Sequence[Sequence[int]]  # one after the other
    probe_result: ProbeResult


class DecoderProcess:
    """Starts when it is first asked, and again after a decoder hung or crashed."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection
        self._lock = threading.Lock()
        self._usable: dict[str, bool] = {}  # decoders that can be imported

    def read(self, request: Request, *, deadline_seconds: float) -> list[np.ndarray] | None:
        """Return the pixels of the frames, or None if the decoder is missing, failed, crashed or was too slow."""
        with self._lock:
            usable = self._usable.get(request.decoder)
            if usable is None or (usable and self._child is None):  # imported apart: it may take longer than to read
                usable = self._usable[request.decoder] = bool(self._ask(request.decoder, START_SECONDS))
            return cast("list[np.ndarray] | None", self._ask(request, deadline_seconds)) if usable else None

    def _ask(self, question: object, seconds: float) -> object:
        """Return the response, or None if there is none in time."""
        try:
            if self._child is None:
                self._start()
            self._pipe.send(question)
            if self._pipe.poll(seconds):
                return self._pipe.recv()
        except (EOFError, OSError):  # it crashed
            pass
        self._end()
        return None

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))}
        with without_interrupts():
            self._child = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        theirs.close()
        atexit.register(self._end)

    def _end(self) -> None:
        if self._child is not None:
            self._pipe.close()
            self._child.kill()
            self._child.wait()
            self._child = None
            atexit.unregister(self._end)


# Inside the process ---------------------------------------------------------------------------------------------------


def _serve() -> None:
    """Respond to questions until the other process is gone."""
    threading.Thread(target=_leave_when_alone, args=[os.getppid()], daemon=True).start()
    with suppress(EOFError, OSError):
        pipe: Connection = Connection(int(sys.argv[1]))
        while True:
            question = pipe.recv()
            pipe.send(_read(question) if isinstance(question, Request) else is_installed(question))


def _leave_when_alone(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


def _read(request: Request) -> list[np.ndarray] | None:
    pixels: list[np.ndarray] = []
    try:
        with open_video(request.path, cast(Decoder, request.decoder), request.probe_result) as reader:
            for indices in request.reads:
                pixels += map(sample_pixels, reader.read(np.array(indices)))
    except (VideoDecodeError, ValueError):
        return None
    return pixels
