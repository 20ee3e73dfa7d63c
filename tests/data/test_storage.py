"""Tests of remote files and tar members, with a local HTTP server that fails on request."""

import multiprocessing
import os
import pickle
import random
import signal
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from io import BytesIO
from pathlib import Path

import pytest

from tests.each_case import each_case
from tests.http_server import Fault, FileServer
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage import remote
from videoctx.data.storage.local_files import LocalFiles
from videoctx.data.storage.locations import resolve, split_member
from videoctx.data.storage.remote import StorageError

SIZE = 20_000  # bytes of most files here


def content(seed: int, size: int = SIZE) -> bytes:
    return random.Random(seed).randbytes(size)


def local_files(cache: Path, **settings) -> LocalFiles:
    return LocalFiles(cache, **{"first_wait_seconds": 0.002, "timeout_seconds": 60.0} | settings)


def fetched(files: LocalFiles, path: str) -> bytes:
    with files.local_copy(path) as local:
        return Path(local).read_bytes()


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def write_tar(path: Path, members: dict[str, bytes]) -> bytes:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, BytesIO(data))
    return path.read_bytes()


@each_case(
    ("root", "path", "leads_to"),
    [
        ("data", "a/b.mp4", "data/a/b.mp4"),
        ("data", "/a/b.mp4", "/a/b.mp4"),
        ("data", "s3://bucket/a.mp4", "s3://bucket/a.mp4"),
        ("s3://bucket/data/", "a.mp4", "s3://bucket/data/a.mp4"),
        ("data", "tar://a.mp4::train-0.tar", "tar://a.mp4::data/train-0.tar"),
        ("data", "tar://a.mp4::/x/train-0.tar", "tar://a.mp4::/x/train-0.tar"),
        ("https://host/set", "tar://k/a.mp4::train-0.tar", "tar://k/a.mp4::https://host/set/train-0.tar"),
        ("data", "tar://a.mp4::gs://b/train-0.tar", "tar://a.mp4::gs://b/train-0.tar"),
        ("data", "odd::name.mp4", "data/odd::name.mp4"),
    ],
)
def test_relative_paths_are_resolved_also_in_tar_members(root, path, leads_to):
    assert resolve(root, path) == leads_to


def test_split_member_separates_member_and_tar_file():
    assert split_member("tar://k/a.mp4::s3://b/t.tar") == ("k/a.mp4", "s3://b/t.tar")
    assert split_member("s3://b/t.tar") is None


def test_local_file_is_used_in_place(tmp_path):
    files = local_files(tmp_path / "cache")
    for path in ("/nowhere/a.mp4", "relative.mp4"):
        with files.local_copy(path) as local:
            assert local == path
    with files.local_copy("file:///nowhere/a.mp4") as local:
        assert local == "/nowhere/a.mp4"
    assert not (tmp_path / "cache").exists()


def test_url_is_downloaded_once_and_keeps_its_suffix(tmp_path):
    with FileServer({"a.MP4": content(0)}) as server:
        files = local_files(tmp_path)
        for _ in range(3):
            with files.local_copy(server.url("a.MP4")) as local:
                assert Path(local).read_bytes() == content(0)
                assert local.endswith(".mp4")
        assert server.requests == {"a.MP4": 1}
        assert fetched(pickle.loads(pickle.dumps(files)), server.url("a.MP4")) == content(0)
        assert server.requests == {"a.MP4": 1}


@each_case("knows_size", [True, False])
def test_sizes_are_reported_and_missing_files_are_errors(tmp_path_factory, knows_size):
    tmp_path = tmp_path_factory.mktemp("sizes")
    (tmp_path / "a.mp4").write_bytes(content(0, 100))
    files = local_files(tmp_path / "cache")
    with FileServer({"b.mp4": content(1)}, knows_size=knows_size) as server:
        assert files.size(str(tmp_path / "a.mp4")) == 100
        assert files.size(server.url("b.mp4")) == SIZE
        for missing in (str(tmp_path / "c.mp4"), server.url("c.mp4")):
            with pytest.raises(VideoDecodeError, match=f"^{missing}: "):
                files.size(missing)


def test_error_about_a_local_copy_names_the_url(tmp_path):
    with FileServer({"a.mp4": b"no video"}) as server:
        url = server.url("a.mp4")
        with pytest.raises(VideoDecodeError) as caught, local_files(tmp_path).local_copy(url) as local:
            raise VideoDecodeError(local, "not a video")
    assert str(caught.value) == f"{url}: not a video"


FAULTS = [fault for fault in Fault if fault is not Fault.ERROR_403]


@each_case("fault", FAULTS)
@each_case("server_is", ["plain", "without parts", "without sizes"])
def test_a_temporary_failure_costs_one_attempt(tmp_path_factory, fault, server_is, monkeypatch):
    if server_is == "without sizes" and fault in (Fault.LONG_LENGTH, Fault.SHORT_LENGTH):
        pytest.skip("it sends no length")
    monkeypatch.setattr(remote, "PIECE_BYTES", 7_000)
    settings = {"knows_parts": server_is == "plain", "knows_size": server_is != "without sizes"}
    with FileServer({"a.mp4": content(0)}, **settings) as server:
        server.faults["a.mp4"] = [fault] * (2 if server_is == "without sizes" else 1)  # it is asked for the size too
        cache = tmp_path_factory.mktemp("cache")
        files = local_files(cache, timeout_seconds=0.3 if (waits := fault in (Fault.SILENCE, Fault.STALL)) else 60.0)
        assert fetched(files, server.url("a.mp4")) == content(0)
        assert not server.faults["a.mp4"]
        if server_is != "without sizes":  # or else the file is sent when only its size is requested
            assert server.deliveries["a.mp4"] == 1 or waits  # a busy machine may take longer than 0.3 s once more
    assert bytes_in(cache / "partial") == 0
    assert int((cache / "total").read_text()) == bytes_in(cache / "entries") == SIZE


def test_dropped_connection_repeats_one_piece_only(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PIECE_BYTES", 4_000)
    with FileServer({"a.tar": content(0)}) as server:
        server.faults["a.tar"] = [Fault.DROP, None] * 5  # more in all than the attempts at one piece
        assert fetched(local_files(tmp_path, num_attempts=2), server.url("a.tar")) == content(0)
        assert server.requests["a.tar"] == 10


@each_case(
    ("fault", "message", "attempts"),
    [
        (Fault.ERROR_503, "the server responded 503 Service Unavailable (3 attempts)", 3),
        (Fault.ERROR_403, "the server responded 403 Forbidden", 1),
        (Fault.SILENCE, "no response within 0.1 s (3 attempts)", 3),
        (None, "the server responded 404 Not Found", 1),
    ],
)
def test_a_permanent_failure_is_reported(tmp_path_factory, fault, message, attempts):
    cache = tmp_path_factory.mktemp("cache")
    with FileServer({"b.mp4": content(1)}) as server:
        if fault:
            server.always["a.mp4"] = fault
        files = local_files(cache, num_attempts=3, timeout_seconds=0.1 if fault is Fault.SILENCE else 60.0)
        with pytest.raises(VideoDecodeError) as caught, files.local_copy(server.url("a.mp4")):
            pass
        assert str(caught.value) == f"{server.url('a.mp4')}: cannot be fetched: {message}"
        wait_for(lambda: server.requests["a.mp4"] >= attempts)  # the server may notice the last one late
        assert server.requests["a.mp4"] == attempts
        assert fetched(local_files(cache), server.url("b.mp4")) == content(1)
    assert int((cache / "total").read_text()) == bytes_in(cache / "entries") == SIZE
    assert bytes_in(cache / "partial") == 0


def test_unreachable_server_is_reported(tmp_path):
    with FileServer({}) as server:
        url = server.url("a.mp4")
    with pytest.raises(VideoDecodeError, match=r"cannot be fetched: ClientConnectorError: .* \(2 attempts\)"):
        fetched(local_files(tmp_path, num_attempts=2), url)


@each_case("fault", [Fault.SHORT_LENGTH, Fault.LONG_LENGTH])
def test_a_body_of_another_size_than_reported_is_refused(tmp_path_factory, fault):
    tmp_path = tmp_path_factory.mktemp("cache")
    with FileServer({"a.mp4": content(0)}) as server:
        server.faults["a.mp4"] = [fault] * 9
        with pytest.raises(VideoDecodeError, match=r"cannot be fetched: .* \(2 attempts\)"):
            fetched(local_files(tmp_path, num_attempts=2), server.url("a.mp4"))
    assert bytes_in(tmp_path / "entries") == 0


def test_missing_backend_is_reported_with_its_package(tmp_path):
    pytest.importorskip("fsspec")
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(
            VideoDecodeError, match=r"^s3://bucket/a.mp4: cannot be fetched: Install s3fs to access S3$"
        ):
            fetched(local_files(tmp_path), "s3://bucket/a.mp4")
    else:
        pytest.skip("s3fs is installed")


def test_unknown_protocol_is_reported(tmp_path):
    with pytest.raises(VideoDecodeError, match=r"^s4://a.mp4: s4:// is not accepted; expected file, http"):
        fetched(local_files(tmp_path), "s4://a.mp4")


def test_least_recently_used_files_are_evicted(tmp_path):
    with FileServer({f"{k}.mp4": content(k) for k in range(6)}) as server:
        files = local_files(tmp_path, max_cache_bytes=3 * SIZE)
        for k in (0, 1, 2, 0, 3, 0, 4, 0):  # 0 is used all the time
            assert fetched(files, server.url(f"{k}.mp4")) == content(k)
            assert bytes_in(tmp_path / "entries") <= 3 * SIZE
        assert server.requests == {"0.mp4": 1, "1.mp4": 1, "2.mp4": 1, "3.mp4": 1, "4.mp4": 1}
        fetched(files, server.url("3.mp4"))
        assert server.requests["3.mp4"] == 1
        fetched(files, server.url("1.mp4"))
        assert server.requests["1.mp4"] == 2


def test_files_in_use_are_kept_and_files_without_room_are_temporary(tmp_path):
    with FileServer({f"{k}.mp4": content(k) for k in range(5)}) as server, ExitStack() as stack:
        files = local_files(tmp_path, max_cache_bytes=2 * SIZE)
        held = [stack.enter_context(files.local_copy(server.url(f"{k}.mp4"))) for k in range(5)]
        assert [Path(path).read_bytes() for path in held] == [content(k) for k in range(5)]
        assert bytes_in(tmp_path / "entries") == 2 * SIZE
        assert bytes_in(tmp_path / "temporary") == 3 * SIZE
        stack.close()
        assert bytes_in(tmp_path / "temporary") == 0
        assert bytes_in(tmp_path / "entries") == 2 * SIZE
        assert fetched(files, server.url("4.mp4")) == content(4)
        assert bytes_in(tmp_path / "entries") == 2 * SIZE


def test_file_larger_than_the_cache_evicts_nothing(tmp_path):
    with FileServer({"a.mp4": content(0), "big.mp4": content(1, 3 * SIZE)}) as server:
        files = local_files(tmp_path, max_cache_bytes=2 * SIZE)
        fetched(files, server.url("a.mp4"))
        assert fetched(files, server.url("big.mp4")) == content(1, 3 * SIZE)
        fetched(files, server.url("a.mp4"))
        assert server.requests["a.mp4"] == 1


def test_smaller_cache_limit_takes_effect_immediately(tmp_path):
    with FileServer({f"{k}.mp4": content(k) for k in range(4)}) as server:
        for k in range(4):
            fetched(local_files(tmp_path), server.url(f"{k}.mp4"))
        assert fetched(local_files(tmp_path, max_cache_bytes=2 * SIZE), server.url("3.mp4")) == content(3)
        assert server.requests["3.mp4"] == 1
    assert bytes_in(tmp_path / "entries") == 2 * SIZE


def test_member_of_a_local_tar_file(tmp_path):
    write_tar(tmp_path / "a.tar", {f"k/{k}.mp4": content(k) for k in range(3)})
    files = local_files(tmp_path / "cache")
    with files.local_copy(f"tar://k/1.mp4::{tmp_path}/a.tar") as local:
        assert Path(local).read_bytes() == content(1)
        assert local.endswith(".mp4")
    assert not Path(local).exists()
    assert files.size(f"tar://k/1.mp4::{tmp_path}/a.tar") == SIZE
    write_tar(tmp_path / "a.tar", {"k/1.mp4": content(7, 30), "k/0.mp4": b""})
    assert fetched(files, f"tar://k/1.mp4::{tmp_path}/a.tar") == content(7, 30)
    assert fetched(files, f"tar://k/0.mp4::file://{tmp_path}/a.tar") == b""


def test_remote_tar_file_is_downloaded_once_for_all_members(tmp_path):
    tar = write_tar(tmp_path / "a.tar", {f"{k}.mp4": content(k) for k in range(8)})
    with FileServer({"a.tar": tar}, delay_seconds=0.02) as server:
        files = local_files(tmp_path / "cache")
        paths = [f"tar://{k}.mp4::{server.url('a.tar')}" for k in range(8)]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda path: fetched(files, path), paths)) == [content(k) for k in range(8)]
        assert server.deliveries == {"a.tar": 1}
        with pytest.raises(VideoDecodeError, match=r"^tar://9.mp4::http.*a.tar: no such file among the 8"):
            fetched(files, f"tar://9.mp4::{server.url('a.tar')}")
        with pytest.raises(VideoDecodeError, match=r"^tar://1.mp4::http.*b.tar: cannot be fetched: .* 404 Not Found$"):
            fetched(files, f"tar://1.mp4::{server.url('b.tar')}")
        with pytest.raises(StorageError, match=f"has {len(tar)} bytes, but max_cache_bytes is 1000"):
            fetched(local_files(tmp_path / "small", max_cache_bytes=1000), paths[0])
    assert bytes_in(tmp_path / "cache/temporary") == 0


@each_case(
    ("make", "message"),
    [
        (lambda path: None, "its tar file cannot be read: No such file or directory"),  # noqa: ARG005
        (lambda path: path.write_bytes(b"no tar file" * 100), "its tar file cannot be read: "),
        (
            lambda path: path.write_bytes(write_tar(path, {"a.mp4": content(0)})[: SIZE // 2]),
            "its tar file cannot be read: ",
        ),
        (lambda path: write_tar(path, {"b.mp4": b""}), "no such file among the 1 in the tar file"),
    ],
)
def test_a_bad_tar_file_is_reported(tmp_path_factory, make, message):
    tmp_path = tmp_path_factory.mktemp("tar")
    make(tmp_path / "a.tar")
    path = f"tar://a.mp4::{tmp_path}/a.tar"
    with pytest.raises(VideoDecodeError) as caught:
        fetched(local_files(tmp_path / "cache"), path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert bytes_in(tmp_path / "cache/temporary") == 0


def fetch_all(cache: Path, urls: list[str], max_cache_bytes: int, seed: int, results_queue) -> None:
    """Fetch all files in four threads. Put the incorrect files and the largest size of the cache into the queue."""
    files = local_files(cache, max_cache_bytes=max_cache_bytes)
    order = random.Random(seed).sample(range(len(urls)), len(urls))
    most = 0

    def fetch(k: int) -> bool:
        nonlocal most
        with files.local_copy(urls[k]) as local:
            right = Path(local).read_bytes() == content(k)
            time.sleep(0.001)
            right &= Path(local).read_bytes() == content(k)  # although others evict
        return right

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            sizes = {}  # by file, as one may move on between the two
            for path in (*(cache / "partial").glob("*"), *(cache / "entries").glob("*")):
                with suppress(FileNotFoundError):
                    sizes[path.stat().st_ino] = path.stat().st_size
            most = max(most, sum(sizes.values()))

    done = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(4) as pool:
        incorrect = [k for k, right in zip(order, pool.map(fetch, order), strict=True) if not right]
    done.set()
    watcher.join()
    results_queue.put((incorrect, most))


def in_processes(*arguments, num_processes: int = 2, start: str = "fork") -> list[tuple[list[int], int]]:
    context = multiprocessing.get_context(start)
    results_queue = context.Queue()
    processes = [
        context.Process(target=fetch_all, args=(*arguments, seed, results_queue)) for seed in range(num_processes)
    ]
    for process in processes:
        process.start()
    results = [results_queue.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    return results


def test_processes_and_threads_download_each_file_once(tmp_path):
    with FileServer({f"{k}.mp4": content(k) for k in range(24)}, delay_seconds=0.01) as server:
        for k in range(0, 24, 3):
            server.faults[f"{k}.mp4"] = [Fault.DROP]
        urls = [server.url(f"{k}.mp4") for k in range(24)]
        fetched(local_files(tmp_path), urls[0])  # so that fsspec has its thread here before the fork
        results = in_processes(tmp_path, urls, 10**9)
        assert [incorrect for incorrect, _ in results] == [[], []]
        assert server.deliveries == dict.fromkeys(server.files, 1)


def test_processes_and_threads_respect_the_cache_limit(tmp_path):
    with FileServer({f"{k}.mp4": content(k) for k in range(40)}) as server:
        results = in_processes(tmp_path, [server.url(name) for name in server.files], 10 * SIZE)
    for incorrect, most in results:
        assert incorrect == []
        assert most <= 10 * SIZE
    total = bytes_in(tmp_path / "entries")
    assert 9 * SIZE <= total <= 10 * SIZE, "no more is removed than room is needed"
    assert int((tmp_path / "total").read_text()) == total
    assert bytes_in(tmp_path / "temporary") == bytes_in(tmp_path / "partial") == 0


def hold_and_wait(cache: Path, paths: list[str], stalled: str, held) -> None:
    files = local_files(cache, timeout_seconds=60.0)
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(files.local_copy(path))
        held.set()
        stack.enter_context(files.local_copy(stalled))


def test_files_of_killed_processes_are_removed_and_others_kept(tmp_path):
    cache = tmp_path / "cache"
    write_tar(tmp_path / "a.tar", {"0.mp4": content(0)})
    with FileServer({"a.mp4": content(1), "stalled.mp4": content(2)}) as server:
        server.faults["stalled.mp4"] = [Fault.STALL]
        context = multiprocessing.get_context("fork")
        held = context.Event()
        member = f"tar://0.mp4::{tmp_path}/a.tar"
        arguments = (cache, [server.url("a.mp4"), member], server.url("stalled.mp4"), held)
        process = context.Process(target=hold_and_wait, args=arguments)
        process.start()
        assert held.wait(60)
        wait_for(lambda: server.requests["stalled.mp4"])
        files = local_files(cache)
        with files.local_copy(member) as mine:
            assert len(list((cache / "temporary").iterdir())) == 2
            assert fetched(local_files(cache), server.url("a.mp4")) == content(1)  # starts, and spares the living
            assert len(list((cache / "temporary").iterdir())) == 2
            assert len(list((cache / "partial").iterdir())) == 1
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert fetched(local_files(cache), server.url("a.mp4")) == content(1)
            assert list((cache / "temporary").iterdir()) == [Path(mine)]
            assert Path(mine).read_bytes() == content(0)
        assert list((cache / "partial").iterdir()) == []
        assert int((cache / "total").read_text()) == SIZE
        assert fetched(files, server.url("stalled.mp4")) == content(2)
        assert server.requests["a.mp4"] == 1


def test_a_local_copy_outlives_a_forked_child_that_releases_it(tmp_path):
    with FileServer({f"{k}.mp4": content(k) for k in range(3)}) as server:
        files = local_files(tmp_path, max_cache_bytes=SIZE)
        with files.local_copy(server.url("0.mp4")) as kept, files.local_copy(server.url("1.mp4")) as once:
            child = os.fork()
            if child == 0:  # what the interpreter does as it ends, at its worst
                import gc

                for generator in [thing for thing in gc.get_objects() if type(thing).__name__ == "generator"]:
                    if generator.gi_code.co_filename.endswith(("local_files.py", "file_cache.py")):
                        generator.close()
                os._exit(0)
            os.waitpid(child, 0)
            assert Path(once).read_bytes() == content(1)
            fetched(local_files(tmp_path, max_cache_bytes=SIZE), server.url("2.mp4"))  # evicts and cleans
            assert Path(kept).read_bytes() == content(0)
            assert Path(once).read_bytes() == content(1)


@each_case(
    ("settings", "message"),
    [
        ({"max_cache_bytes": -1}, "max_cache_bytes is -1; expected zero or more"),
        ({"num_attempts": 0}, "num_attempts is 0; expected at least 1"),
        ({"first_wait_seconds": -0.5}, "first_wait_seconds is -0.5; expected zero or more"),
        ({"timeout_seconds": 0.0}, "timeout_seconds is 0.0; expected more than 0"),
    ],
)
def test_bad_settings_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        LocalFiles(tmp_path, **settings)
