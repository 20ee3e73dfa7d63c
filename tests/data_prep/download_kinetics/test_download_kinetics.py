"""Kinetics from a server on this machine that drops, fails, stalls and lies, and from a folder."""

import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data_prep.download_kinetics.__main__ import main
from data_prep.download_kinetics.kinetics_archives import CVDF

STALL_SECONDS = 120  # longer than any client waits
BIG = 3_000_000  # bytes of a video that is dropped in the middle


class Server(ThreadingHTTPServer):
    """Serves `files` with byte ranges, ETags and If-Range, and before that what `faults` has for a path, in turn."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults = defaultdict(list)  # path -> "503", ("drop", bytes), ("stall", bytes)
        self.requests = Counter()
        self.bytes_served = Counter()
        self.ranges = True
        self.knows_if_range = True
        self.has_validators = True
        self.go_on = threading.Event()  # ends a stall
        self.num_waited_out = 0  # stalls that have ended before

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        pass  # clients that hang up


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.requests[self.path] += 1
        fault = server.faults[self.path].pop(0) if server.faults[self.path] else None
        if fault is not None and isinstance(fault, str):
            return self.send_error(int(fault))
        if self.path not in server.files:
            return self.send_error(404)
        content = server.files[self.path]
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start, asked = 0, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", etag) == etag or not server.knows_if_range
        if asked and server.ranges and same:
            start = int(asked[1])
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.has_validators:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        kind, count = fault or ("whole", len(content))
        piece = content[start : start + count]
        server.bytes_served[self.path] += len(piece)
        self.wfile.write(piece)
        self.wfile.flush()
        if kind == "stall":
            server.num_waited_out += not server.go_on.wait(STALL_SECONDS)
        return None


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()


def packed(files: dict[str, bytes], members: list[tarfile.TarInfo] | None = None) -> bytes:
    """A .tar.gz of these files, and of members without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in members or []:
            tar.addfile(member)
    return buffer.getvalue()


def noise(seed: int, size: int = 2000) -> bytes:
    """Bytes that do not compress."""
    return hashlib.shake_128(bytes([seed])).digest(size)


def layout(archives: dict[str, bytes], *, split: str = "val", checksums: dict[str, str] | None = None) -> dict:
    """The files of a split of Kinetics-400, by path."""
    lines = [f"{CVDF}/400/{split}/{name} {(checksums or {}).get(name, '')}".rstrip() for name in archives]
    return {
        f"/400/{split}/k400_{split}_path.txt": "\r\n".join([*lines, ""]).encode(),
        f"/400/annotations/{split}.csv": b"label,youtube_id,time_start,time_end,split\n",
        **{f"/400/{split}/{name}": content for name, content in archives.items()},
    }


def videos(output: Path, split: str = "val") -> dict[str, bytes]:
    folder = output / split
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def options(output: Path, base: object, *more: object) -> list[str]:
    return [
        *("k400", str(output), "--splits", "val", "--base_url", str(base), "--pause_seconds", "0.01"),
        *("--timeout_seconds", "60", *map(str, more)),
    ]


@pytest.fixture
def run(capsys):
    """Runs the command and gives (exit status, error stream without the progress bar)."""

    def run(*arguments):
        status = main(options(*arguments))
        errors = capsys.readouterr().err.splitlines()
        return status, "\n".join(line for line in errors if "archives ━" not in line and line.strip())

    return run


# ---------------------------------------------------------------- what is fetched, and how often


def test_everything_once(tmp_path, server, run):
    server.files = layout(
        {"part_0.tar.gz": packed({"a.mp4": b"A", "b.mp4": b"B"}), "part_1.tar.gz": packed({"c/d.mp4": b"D"})}
    )
    assert run(tmp_path, server.url) == (0, "")
    assert videos(tmp_path) == {"a.mp4": b"A", "b.mp4": b"B", "c/d.mp4": b"D"}
    assert (tmp_path / "annotations/val.csv").read_bytes().startswith(b"label,")
    assert not list((tmp_path / ".download").rglob("*.tar.gz"))
    served = server.requests.copy()
    (tmp_path / "val/a.mp4").write_bytes(b"mine")  # what has been done is not done again
    assert run(tmp_path, server.url) == (0, "")
    assert {path for path in server.requests if server.requests[path] != served[path]} == {"/400/val/k400_val_path.txt"}
    assert videos(tmp_path)["a.mp4"] == b"mine"


def test_archives_can_be_kept(tmp_path, server, run):
    server.files = layout({"part_0.tar.gz": packed({"a.mp4": b"A"})})
    assert run(tmp_path, server.url, "--keep_archives", "true")[0] == 0
    assert (tmp_path / ".download/val/part_0.tar.gz").read_bytes() == server.files["/400/val/part_0.tar.gz"]


@pytest.mark.parametrize(
    ("dataset", "paths"),
    {
        "k400": [
            *("/400/train/k400_train_path.txt", "/400/annotations/train.csv"),
            "/400/replacement_for_corrupted_k400.tgz",
        ],
        "k600": ["/600/train/k600_train_path.txt", "/600/annotations/train.txt"],
        "k700_2020": ["/700_2020/train/k700_2020_train_path.txt", "/700_2020/annotations/train.csv"],
    }.items(),
)
def test_the_paths_of_each_release(tmp_path, server, dataset, paths, capsys):
    assert main([dataset, str(tmp_path), "--splits=train", "--base_url", server.url]) == 1
    assert list(server.requests) == paths
    errors = capsys.readouterr().err
    assert errors.count("HTTP 404") == len(paths)


def test_names_with_spaces(tmp_path, server, run):
    """As the archives of Kinetics-600 have; a list may also name archives relative to itself, or in full."""
    server.files = layout({"acting in play.tar.gz": packed({"a.mp4": b"A"})})
    server.files["/400/val/acting%20in%20play.tar.gz"] = server.files.pop("/400/val/acting in play.tar.gz")
    server.files["/elsewhere/b.tgz"] = server.files["/400/val/c.tar.gz"] = packed({"b.mp4": b"B"})
    server.files["/400/val/k400_val_path.txt"] += f"{server.url}/elsewhere/b.tgz\nc.tar.gz\n".encode()
    assert run(tmp_path, server.url) == (0, "")
    assert sorted(videos(tmp_path)) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("line", ["file:///etc/x.tar.gz", "../../x.zip", "not an archive", "part_0.tar.gz"])
def test_bad_lines_of_a_list_are_named(tmp_path, server, run, line):
    server.files = layout({"part_0.tar.gz": packed({"a.mp4": b"A"})})
    server.files["/400/val/k400_val_path.txt"] += line.encode()
    status, errors = run(tmp_path, server.url)
    assert status == 1
    assert "k400_val_path.txt, line 2" in errors
    assert videos(tmp_path) == {"a.mp4": b"A"}


# ---------------------------------------------------------------- a server that fails


def test_a_dropped_connection_resumes_where_it_ended(tmp_path, server, run):
    archive = packed({"a.mp4": noise(1, BIG)})
    server.files = layout({"part_0.tar.gz": archive})
    path = "/400/val/part_0.tar.gz"
    server.faults[path] = [("drop", 1_000_000), "503", ("drop", 700_000), ("drop", 0), "500"]
    assert run(tmp_path, server.url, "--attempts", 2)[0] == 1  # the last two in a row brought nothing
    assert run(tmp_path, server.url) == (0, "")
    assert videos(tmp_path) == {"a.mp4": noise(1, BIG)}
    assert server.bytes_served[path] == len(archive)  # not a byte twice


def test_attempts_that_bring_bytes_do_not_count(tmp_path, server, run):
    archive = packed({"a.mp4": noise(1, BIG)})
    server.files = layout({"part_0.tar.gz": archive})
    server.faults["/400/val/part_0.tar.gz"] = [("drop", 300_000)] * 8
    assert run(tmp_path, server.url, "--attempts", 1) == (0, "")


def test_a_stalled_connection_is_given_up(tmp_path, server, run):
    archive = packed({"a.mp4": noise(1, BIG)})
    server.files = layout({"part_0.tar.gz": archive})
    server.faults["/400/val/part_0.tar.gz"] = [("stall", 1_000_000)]
    assert run(tmp_path, server.url, "--timeout_seconds", 0.5) == (0, "")
    assert videos(tmp_path) == {"a.mp4": noise(1, BIG)}
    assert server.requests["/400/val/part_0.tar.gz"] >= 2  # a busy machine may take longer than 0.5 s once more
    assert server.num_waited_out == 0


@pytest.mark.parametrize("state", ["as it should be", "no ranges", "no If-Range", "no validators"])
def test_a_file_that_changes_is_fetched_again(tmp_path, server, run, state):
    old, new = packed({"a.mp4": noise(1, BIG)}), packed({"a.mp4": noise(2, BIG + 5)})
    path = "/400/val/part_0.tar.gz"
    server.files = layout({"part_0.tar.gz": old})
    server.ranges = state != "no ranges"
    server.knows_if_range = state != "no If-Range"
    server.has_validators = state != "no validators"
    server.faults[path] = [("drop", 1_000_000), "500"]
    assert run(tmp_path, server.url, "--attempts", 1)[0] == 1
    assert (tmp_path / ".download/val/part_0.tar.gz.part").stat().st_size == 1_000_000
    server.files[path] = new
    assert run(tmp_path, server.url) == (0, "")
    assert videos(tmp_path) == {"a.mp4": noise(2, BIG + 5)}


def test_a_file_that_becomes_shorter_is_fetched_again(tmp_path, server, run):
    path = "/400/val/part_0.tar.gz"
    server.files = layout({"part_0.tar.gz": packed({"a.mp4": noise(1, BIG)})})
    server.faults[path] = [("drop", 1_000_000), "500"]
    assert run(tmp_path, server.url, "--attempts", 1)[0] == 1
    server.files[path], server.knows_if_range = packed({"a.mp4": b"A"}), False
    assert run(tmp_path, server.url) == (0, "")
    assert videos(tmp_path) == {"a.mp4": b"A"}


def test_what_a_server_refuses_is_listed_and_the_rest_resumes(tmp_path, server, run):
    server.files = layout({f"part_{index}.tar.gz": packed({f"{index}.mp4": b"V"}) for index in range(4)})
    server.faults["/400/val/part_1.tar.gz"] = ["403"]
    server.faults["/400/val/part_2.tar.gz"] = ["503"] * 3
    status, errors = run(tmp_path, server.url, "--attempts", 3)
    assert status == 1
    assert "2 problems" in errors
    assert f"val/part_1.tar.gz: {server.url}/400/val/part_1.tar.gz: HTTP 403" in errors
    assert "HTTP 503 Service Unavailable, 3 times in a row" in errors
    assert server.requests["/400/val/part_1.tar.gz"] == 1  # what is refused is not asked for again
    assert sorted(videos(tmp_path)) == ["0.mp4", "3.mp4"]
    assert run(tmp_path, server.url) == (0, "")
    assert len(videos(tmp_path)) == 4


def test_no_server(tmp_path, run):
    status, errors = run(tmp_path, "http://127.0.0.1:9", "--attempts", 2)
    assert status == 1
    assert "k400_val_path.txt: [Errno 111] Connection refused, 2 times in a row" in errors


# ---------------------------------------------------------------- archives that are not what they should be


@pytest.mark.parametrize(
    "damage",
    {
        "flipped": lambda data: data[:1500] + bytes([data[1500] ^ 1]) + data[1501:],
        "cut": lambda data: data[:-900],
        "without its checksum": lambda data: data[:-8],
        "incorrect checksum": lambda data: data[:-8] + b"\0\0\0\0" + data[-4:],
        "empty": lambda data: data[:0],
        "a web page": lambda _: b"<html>sign in</html>" * 100,
        "no files": lambda _: packed({}),
        "header overwritten": lambda data: gzip.compress(
            (tar := gzip.decompress(data))[: 512 * 5] + b"x" * 512 + tar[512 * 6 :]
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_damaged_archive(tmp_path, server, run, damage):
    _, spoil = damage
    good = packed({"a.mp4": noise(1), "b.mp4": noise(2)})
    server.files = layout({"part_0.tar.gz": spoil(good), "part_1.tar.gz": packed({"c.mp4": b"C"})})
    status, errors = run(tmp_path, server.url)
    assert status == 1
    assert "val/part_0.tar.gz: " in errors
    assert "removed, and the next run fetches it again" in errors
    assert sorted(videos(tmp_path)) == ["c.mp4"]  # nothing of a damaged archive, not even its good members
    server.files["/400/val/part_0.tar.gz"] = good
    assert run(tmp_path, server.url) == (0, "")
    assert sorted(videos(tmp_path)) == ["a.mp4", "b.mp4", "c.mp4"]


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_members_that_climb_out_are_refused_and_named(tmp_path, server, run):
    outside = tmp_path / "outside.mp4"
    members = [
        link("link", str(tmp_path)),
        link("hard", "good.mp4", tarfile.LNKTYPE),
        link("pipe", "", tarfile.FIFOTYPE),
    ]
    files = {"../../outside.mp4": b"X", f"{tmp_path}/outside.mp4": b"X", "a/../../outside.mp4": b"X", "good.mp4": b"G"}
    server.files = layout({"part_0.tar.gz": packed(files, members)})
    output = tmp_path / "output"
    for _ in range(2):  # a second run reports it again, without fetching it again
        status, errors = run(output, server.url)
        assert status == 1
        for name in [*files][:3]:
            assert f"member {name!r} lies outside the folder, and is left out" in errors
        assert f"member 'link' is a link to {str(tmp_path)!r}" in errors
        assert "member 'hard' is a link to 'good.mp4'" in errors
        assert "member 'pipe' is neither a file nor a folder" in errors
        assert not outside.exists()
        assert videos(output) == {"good.mp4": b"G"}
    assert server.requests["/400/val/part_0.tar.gz"] == 1


def test_a_link_cannot_be_written_through(tmp_path, server, run):
    server.files = layout({"part_0.tar.gz": packed({"b.mp4": b"B"})})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(link("door", str(tmp_path / "elsewhere")))
        member = tarfile.TarInfo("door/a.mp4")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"A"))
    server.files["/400/val/part_0.tar.gz"] = buffer.getvalue()
    (tmp_path / "elsewhere").mkdir()
    assert run(tmp_path / "output", server.url)[0] == 1
    assert not list((tmp_path / "elsewhere").iterdir())
    assert videos(tmp_path / "output") == {"door/a.mp4": b"A"}


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_checksums_of_the_list(tmp_path, server, run, algorithm):
    archive = packed({"a.mp4": b"A"})
    correct, incorrect = (hashlib.new(algorithm, data).hexdigest() for data in (archive, b"other"))
    server.files = layout({"part_0.tar.gz": archive}, checksums={"part_0.tar.gz": incorrect})
    status, errors = run(tmp_path, server.url)
    assert status == 1
    assert f"its {algorithm} is {correct}, not {incorrect} as in the list" in errors
    assert not videos(tmp_path)
    server.files = layout({"part_0.tar.gz": archive}, checksums={"part_0.tar.gz": correct.upper()})
    assert run(tmp_path, server.url) == (0, "")
    assert videos(tmp_path) == {"a.mp4": b"A"}


def test_a_new_checksum_in_the_list_fetches_again(tmp_path, server, run):
    for content in (b"A", b"B"):
        archive = packed({"a.mp4": content})
        server.files = layout({"part_0.tar.gz": archive}, checksums={"part_0.tar.gz": hashlib.md5(archive).hexdigest()})
        assert run(tmp_path, server.url) == (0, "")
        assert videos(tmp_path) == {"a.mp4": content}


# ---------------------------------------------------------------- a folder as mirror


def mirror_in(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        (folder / name[1:]).write_bytes(content)
    return folder


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_folder_is_read_in_place(tmp_path, run, scheme):
    mirror = mirror_in(tmp_path / "a mirror", layout({"part_0.tar.gz": packed({"a.mp4": b"A"})}))
    base = mirror.as_uri() if scheme else mirror
    assert run(tmp_path / "output", base) == (0, "")
    assert videos(tmp_path / "output") == {"a.mp4": b"A"}
    assert (mirror / "400/val/part_0.tar.gz").exists()


def test_damaged_and_missing_archives_of_a_folder(tmp_path, run):
    files = layout({name: packed({f"{name}.mp4": noise(1)}) for name in ("0.tar.gz", "1.tar.gz", "2.tar.gz")})
    files["/400/val/0.tar.gz"] = files["/400/val/0.tar.gz"][:-50]
    mirror = mirror_in(tmp_path / "mirror", files)
    (mirror / "400/val/1.tar.gz").unlink()
    status, errors = run(tmp_path / "output", mirror)
    assert status == 1
    assert f"{mirror}/400/val/0.tar.gz: damaged: " in errors
    assert f"{mirror}/400/val/1.tar.gz: No such file" in errors
    assert (mirror / "400/val/0.tar.gz").exists()  # it is not ours
    assert sorted(videos(tmp_path / "output")) == ["2.tar.gz.mp4"]


def test_a_list_cannot_lead_out_of_a_folder(tmp_path, run):
    mirror = mirror_in(tmp_path / "mirror", layout({"0.tar.gz": packed({"a.mp4": b"A"})}))
    (tmp_path / "secret.tar.gz").write_bytes(packed({"secret.mp4": b"S"}))
    with (mirror / "400/val/k400_val_path.txt").open("a") as file:
        file.write(f"{CVDF}/../secret.tar.gz\n{tmp_path}/secret.tar.gz\n")
    status, errors = run(tmp_path / "output", mirror)
    assert status == 1
    assert errors.count("lies outside") == 2
    assert sorted(videos(tmp_path / "output")) == ["a.mp4"]


@pytest.mark.parametrize("base", ["/no/such/folder", "ftp://host/kinetics", "http://"])
def test_a_base_that_cannot_be(tmp_path, run, base):
    status, errors = run(tmp_path, base)
    assert status == 2
    assert errors.startswith(f"download_kinetics: --base_url {base}: ")
    assert "\n" not in errors


@pytest.mark.parametrize(
    "option", ["--splits=holdout", "--splits=", "--workers=0", "--attempts=0", "--timeout_seconds=0"]
)
def test_options_that_cannot_be(tmp_path, run, option):
    status, errors = run(tmp_path, tmp_path, option)
    assert status == 2
    assert "expected" in errors


# ---------------------------------------------------------------- the disk, and the end of a run


@pytest.mark.parametrize("place", ["server", "folder"])
def test_a_disk_that_takes_no_more_ends_it_in_one_line(tmp_path, server, run, place):
    """A limit on the size of files stands for the full disk: writing fails in the same way."""
    archive = packed({"a.mp4": noise(1, BIG)})
    server.files = layout({"part_0.tar.gz": packed({"b.mp4": b"B"}), "part_1.tar.gz": archive})
    base = server.url if place == "server" else mirror_in(tmp_path / "mirror", server.files)
    output = tmp_path / "output"
    process = start(
        output, base, "--workers", 1, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6,) * 2)
    )
    _, errors = process.communicate(timeout=60)
    last = [line for line in errors.splitlines() if "archives ━" not in line and line.strip()]
    assert process.returncode == 2
    assert len(last) == 1, errors
    assert last[0].startswith(f"download_kinetics: {output}")
    assert last[0].endswith("File too large; finished files are kept, run it again to do the rest")
    assert videos(output) == {"b.mp4": b"B"}
    assert run(output, base) == (0, "")
    assert videos(output) == {"a.mp4": noise(1, BIG), "b.mp4": b"B"}
    assert not list(output.rglob("*.extracting"))
    if place == "server":
        sent = server.bytes_served["/400/val/part_1.tar.gz"]  # all of it at first, as far as the server knows
        assert sent == len(archive) + len(archive) - 10**6  # and then what the disk did not take


def test_an_output_that_cannot_be_made(tmp_path, server, run):
    (tmp_path / "file").touch()
    status, errors = run(tmp_path / "file/output", server.url)
    assert status == 2
    assert errors.startswith("download_kinetics: ")
    assert "Not a directory" in errors
    assert "\n" not in errors


def start(output: Path, base: object, *more: object, preexec_fn=None) -> subprocess.Popen:
    command = [sys.executable, "-m", "data_prep.download_kinetics", *options(output, base, *more)]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=preexec_fn,
    )


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def size_of(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_resumes(tmp_path, server, run, blow):
    archive = packed({"a.mp4": noise(1, BIG)})
    path = "/400/val/part_1.tar.gz"
    server.files = layout({"part_0.tar.gz": packed({"b.mp4": b"B"}), "part_1.tar.gz": archive})
    server.faults[path] = [("stall", 2_000_000)]
    process = start(tmp_path, server.url, "--timeout_seconds", STALL_SECONDS)
    try:
        state = tmp_path / ".download/val"
        wait_for(lambda: size_of(state / "part_1.tar.gz.part") == 2_000_000 and (state / "part_0.tar.gz.done").exists())
        process.send_signal(blow)
        _, errors = process.communicate(timeout=STALL_SECONDS / 2)  # its server would let it wait longer
    finally:
        process.kill()
    if blow == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted; finished files are kept, run it again to do the rest" in errors
        assert "Traceback" not in errors
    assert not (state / "part_1.tar.gz.done").exists()
    assert run(tmp_path, server.url) == (0, "")
    assert videos(tmp_path) == {"a.mp4": noise(1, BIG), "b.mp4": b"B"}
    assert server.bytes_served[path] == len(archive)  # resumed: nothing was served twice
    assert server.requests["/400/val/part_0.tar.gz"] == 1


def test_two_runs_at_once_fetch_each_archive_once(tmp_path, server):
    server.files = layout(
        {f"part_{index}.tar.gz": packed({f"{index}.mp4": noise(index, 200_000)}) for index in range(8)}
    )
    processes = [start(tmp_path, server.url) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert videos(tmp_path) == {f"{index}.mp4": noise(index, 200_000) for index in range(8)}
    archives = {path: count for path, count in server.requests.items() if path.endswith(".tar.gz")}
    assert archives == dict.fromkeys((f"/400/val/part_{index}.tar.gz" for index in range(8)), 1)


def test_a_lock_is_waited_for(tmp_path, server, run):
    server.files = layout({"part_0.tar.gz": packed({"a.mp4": b"A"})})
    state = tmp_path / ".download/val"
    state.mkdir(parents=True)
    with (state / "part_0.tar.gz.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        requests = []

        def unlock() -> None:
            requests.append(server.requests["/400/val/part_0.tar.gz"])
            fcntl.flock(lock, fcntl.LOCK_UN)

        threading.Timer(0.4, unlock).start()
        assert run(tmp_path, server.url) == (0, "")
        assert requests == [0]
    assert server.requests["/400/val/part_0.tar.gz"] == 1


def test_a_half_written_marker_counts_as_none(tmp_path, server, run):
    server.files = layout({"part_0.tar.gz": packed({"a.mp4": b"A"})})
    assert run(tmp_path, server.url)[0] == 0
    marker = tmp_path / ".download/val/part_0.tar.gz.done"
    assert json.loads(marker.read_text())["files"] == 1
    marker.write_text(marker.read_text()[:10])
    os.remove(tmp_path / "val/a.mp4")
    assert run(tmp_path, server.url) == (0, "")
    assert videos(tmp_path) == {"a.mp4": b"A"}
