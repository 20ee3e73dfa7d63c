"""A file is complete under its name, or the one before it is still there."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

import pytest

from tests.each_case import each_case
from videoctx.atomic_write import atomic_write
from videoctx.user_error import error_line


def write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text)


def test_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "table.csv"
    write(path, "old")
    with atomic_write(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert part.parent == tmp_path
        assert part.suffix == ".csv"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_exception_leaves_the_old_file(tmp_path, error):
    write(tmp_path / "a", "old")

    def interrupted() -> None:
        with atomic_write(tmp_path / "a") as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_killed_process_leaves_no_file_under_the_name(tmp_path):
    code = """if True:
        import os, sys
        from videoctx.atomic_write import atomic_write
        with atomic_write(sys.argv[1]) as part:
            part.write_text("half")
            os.kill(os.getpid(), 9)
    """
    path = tmp_path / "a"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=False).returncode == -9
    assert not path.exists()


def test_process_that_ends_at_once_deletes_what_its_threads_write_and_nothing_else(tmp_path):
    code = """if True:
        import os, sys, threading
        from videoctx.atomic_write import atomic_write, exit_at_once
        begun = threading.Event()

        def write():
            with atomic_write(sys.argv[1]) as part:
                part.write_text("half")
                begun.set()
                threading.Event().wait()

        threading.Thread(target=write, daemon=True).start()
        begun.wait()
        child = os.fork()
        if not child:
            exit_at_once(0)
        os.waitpid(child, 0)
        print(len(os.listdir(os.path.dirname(sys.argv[1]))), flush=True)
        exit_at_once(7)
    """
    root = Path(__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], cwd=root, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (7, "1\n", "")
    assert not os.listdir(tmp_path)


def test_threads_may_write_the_same_file(tmp_path):
    together = Barrier(4)

    def run(text: str) -> None:
        with atomic_write(tmp_path / "a") as part:
            part.write_text(text)
            together.wait(60)

    threads = [Thread(target=run, args=(digit * 1000,)) for digit in "0123"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() in {digit * 1000 for digit in "0123"}
    assert os.listdir(tmp_path) == ["a"]


def test_link_and_permissions_are_kept(tmp_path):
    target = tmp_path / "target"
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(target)
    write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_error_names_the_file(tmp_path):
    missing = tmp_path / "no folder" / "a"
    with pytest.raises(FileNotFoundError) as caught:
        write(missing, "new")
    assert caught.value.filename == str(missing)
    with pytest.raises(OSError, match=r"a'$") as caught, atomic_write(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")
    with pytest.raises(IsADirectoryError) as caught:
        write(tmp_path, "new")
    assert caught.value.filename == str(tmp_path)


@each_case("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.ENOSPC, errno.EIO])
@each_case("place", ["open", "write", "fsync", "replace"])
def test_every_reason_names_the_file_wherever_it_arises(tmp_path_factory, number, place):
    """Root may write everywhere, so the system's calls are replaced by ones that fail as they do for others."""
    if place == "write" and number in (errno.EACCES, errno.EPERM, errno.EIO):
        return  # the system checks rights when a file is opened; and EIO may be of a file that is read
    folder = tmp_path_factory.mktemp("output")
    path = folder / "results.json"
    path.write_text("old")

    def fails(*names: object) -> None:
        raise OSError(number, os.strerror(number), *map(str, names[:1] if place in ("open", "replace") else ()))

    def run() -> None:
        with atomic_write(path) as part:
            if place == "open":
                fails(part)
            part.write_text("new")
            if place == "write":
                fails()

    with pytest.MonkeyPatch.context() as patch:
        if place in ("fsync", "replace"):
            patch.setattr(os, place, fails)
        with pytest.raises(OSError, match="cannot be written") as caught:
            run()
    assert error_line(caught.value) == f"{path}: cannot be written ({os.strerror(number)})"
    assert path.read_text() == "old"
    assert os.listdir(folder) == ["results.json"]


def test_longest_file_name(tmp_path):
    for name in ("x" * 255, "\N{VIDEO CAMERA}" * 63):
        write(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"


def test_device_is_written_directly():
    write(Path("/dev/null"), "new")
    assert Path("/dev/null").is_char_device()
