"""Live classification: files play at their own rate, the newest clip wins, and every end prints the result."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from tests.inference.stream_server import StreamServer
from tests.numbered import read_number, write_video
from videoctx.cli import main
from videoctx.inference import live_source
from videoctx.inference.classifier import load
from videoctx.inference.live import LiveClassifier
from videoctx.inference.live_source import LiveSource, SourceError


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A video of 40 frames at 40 frames per second."""
    return write_video(tmp_path_factory.mktemp("live") / "second.mp4", num_frames=40, fps=40)


def live(*arguments: object) -> None:
    main(["classify", *map(str, arguments)])


def test_a_file_plays_at_its_own_rate(second, monkeypatch):
    """The fake clock advances while the source waits, and by 5 ms for each frame that is used."""
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds):
        clock.now += seconds

    monkeypatch.setattr(live_source, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    numbers, captured = [], []
    for frame in LiveSource(str(second.path), speed=2.0).frames():
        numbers.append(read_number(frame.image()))
        captured.append(frame.captured)
        clock.now += 0.005
    assert numbers == list(range(40))
    assert captured == pytest.approx([index / 80 for index in range(40)])


def test_every_clip_has_a_result_if_the_network_keeps_up(network, second, tmp_path, capsys):
    live("--live", second.path, "--ckpt_path", network.checkpoint, "--json", tmp_path / "result.json")
    output = json.loads((tmp_path / "result.json").read_text())
    assert (output["num_frames"], output["num_clips"]) == (40, 17)  # every second frame from the seventh on
    assert output["num_results"] + output["num_dropped"] == 17
    assert output["ended"] == "end of the file"
    assert not output["lost"]
    assert 0 < output["latency_p50_seconds"] <= output["latency_p95_seconds"]
    assert "p50" in capsys.readouterr().out


class Slow(torch.nn.Module):
    """A network that takes as long as three more clips need to arrive."""

    live: LiveClassifier  # of the class, as networks are copied

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def forward(self, clips):
        last = self.live.counts.clips + 3
        while self.live.counts.clips < last and not self.live._ended:
            time.sleep(0.001)
        return self.weight.expand(len(clips), 3)


class Observed(LiveClassifier):
    """Notes all clips, and whether the one that is taken is the newest."""

    def __iter__(self):
        self.offered, self.newest_taken = [], []
        return super().__iter__()

    def _offer(self, seen, captured):
        with self._changed:
            self.offered.append(seen)
            super()._offer(seen, captured)

    def _take(self):
        with self._changed:
            taken = super()._take()
            if taken is not None:
                self.newest_taken.append(taken[0] is self.offered[-1])
            return taken


def test_a_slow_network_gets_the_newest_clip(network, second):
    trained = load(network.checkpoint)
    object.__setattr__(trained, "net", Slow())
    Slow.live = classifier = Observed(trained, LiveSource(str(second.path), speed=4), reconnects=0, say=print)
    results = list(classifier)
    counts = classifier.counts
    assert counts.clips == 17
    assert counts.dropped >= 10
    assert len(results) == counts.results == 17 - counts.dropped
    assert classifier.newest_taken == [True] * len(results)  # nothing piles up
    assert classifier.lost is None


def test_a_broken_stream_is_reopened_a_limited_number_of_times(network, tmp_path, capsys):
    with StreamServer(30, 20) as server, pytest.raises(SystemExit) as stop:
        live(
            "--live",
            server.url,
            "--ckpt_path",
            network.checkpoint,
            "--reconnects=1",
            "--json",
            tmp_path / "result.json",
        )
    assert stop.value.code == 1
    output = json.loads((tmp_path / "result.json").read_text())
    assert output["num_frames"] == 50
    assert output["lost"]
    assert output["num_reconnects"] == 2  # the first one succeeds
    assert output["num_clips"] == output["num_results"] + output["num_dropped"] > 0
    died, died_again, given_up = capsys.readouterr().err.splitlines()
    assert died.endswith("the stream has ended; attempt 1 of 1 to open it again in 0.5 s")
    assert died_again == died
    assert given_up.endswith("Connection refused, 1 attempts to open it again")


def test_a_silent_stream_is_an_error_after_its_timeout():
    with StreamServer(30, silent=True) as server:
        source = LiveSource(server.url, patience_seconds=1.0)
        numbers = []
        with pytest.raises(SourceError, match=r"silent for 1 s"):
            numbers.extend(read_number(frame.image()) for frame in source.frames())
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 25


def test_missing_sources_are_errors_of_one_line(network, tmp_path, refused, broken_files):
    checkpoint = ["--ckpt_path", network.checkpoint]
    with StreamServer() as server:
        url = server.url
    assert refused("classify", "--live", url, *checkpoint) == f"{url}: Connection refused"
    assert "No such file" in refused("classify", "--live", tmp_path / "missing.mp4", *checkpoint)
    assert refused("classify", "--live", 97, *checkpoint).startswith("camera 97: ")
    for how in ("empty", "text", "audio only"):
        assert refused("classify", "--live", broken_files[how], *checkpoint).startswith(f"{broken_files[how]}: ")
    assert "but 0 is not a file" in refused("classify", "--live", 0, *checkpoint, "--speed", 2)
    assert "--live has no --top" in refused("classify", "--live", 0, *checkpoint, "--top", 2)
    assert "--live has no VIDEO" in refused("classify", "a.mp4", "--live", 0, *checkpoint)


@pytest.mark.slow
def test_ctrl_c_ends_it_with_a_result(network, tmp_path):
    video = write_video(tmp_path / "long.mp4", num_frames=250, fps=5).path
    command = ["classify", "--live", video, "--ckpt_path", network.checkpoint, "--json", tmp_path / "result.json"]
    start = [sys.executable, "-c", "import sys; from videoctx.cli import main; main(sys.argv[1:])"]
    with subprocess.Popen(
        [*start, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            process.stdout.readline()  # the first result
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()  # where it does not end
    assert process.returncode == 0
    assert err == ""
    assert "p95" in out
    output = json.loads((tmp_path / "result.json").read_text())
    assert output["ended"] == "Ctrl-C"
    assert 0 < output["num_results"] <= output["num_clips"]
