"""Tests of the folder of the cache when another user of the computer has been there before."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from tests.each_case import each_case
from tests.http_server import FileServer
from videoctx.data.storage.file_cache import FileCache
from videoctx.data.storage.local_files import LocalFiles
from videoctx.models import compilation
from videoctx.private_folder import CacheFolderError, default_folder, make_private

CONTENT = b"a video"
VICTIM = b"somebody's only copy"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, in which everybody may write."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def fetch(files: LocalFiles) -> bytes:
    with FileServer({"a.mp4": CONTENT}) as server, files.local_copy(server.url("a.mp4")) as local:
        return Path(local).read_bytes()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_default_cache_is_private(temporary):
    assert fetch(LocalFiles()) == CONTENT
    (folder,) = temporary.iterdir()
    assert folder == default_folder() == LocalFiles().cache_dir
    assert {mode(path) for path in (folder, *folder.iterdir()) if path.is_dir()} == {0o700}


def test_user_without_a_name_has_a_cache(temporary, monkeypatch):
    def no_such_user(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", no_such_user)
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert fetch(LocalFiles()) == CONTENT
    assert (temporary / f"videoctx-{os.geteuid()}").is_dir()


def make_link(folder: Path, target: Path) -> None:
    folder.symlink_to(target)


def make_file(folder: Path, target: Path) -> None:  # noqa: ARG001 - a file has no target
    folder.write_bytes(b"")


@each_case(("make", "reason"), [(make_link, "is a link"), (make_file, "is a file")])
def test_default_folder_that_is_none_is_refused(tmp_path_factory, make, reason):
    target = tmp_path_factory.mktemp("target")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))
        make(default_folder(), target)
        with pytest.raises(CacheFolderError, match=f"^{default_folder()}: {reason}; expected a folder of yours"):
            fetch(LocalFiles())
    assert list(target.iterdir()) == []


@pytest.mark.usefixtures("temporary")
def test_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    default_folder().mkdir()
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    os.chown(chosen, 4321, -1) if os.geteuid() == 0 else None
    owner = chosen.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: 1234)
    default_folder().mkdir()
    for cache_dir in (None, chosen):
        files = LocalFiles(cache_dir)
        reason = r": belongs to another user \(uid \d+\); expected a folder of yours \(uid 1234\): "
        with pytest.raises(CacheFolderError, match=f"^{files.cache_dir}{reason}"):
            FileCache(files.cache_dir, max_bytes=1000)
    assert chosen.stat().st_uid == owner
    assert list(chosen.iterdir()) == list(default_folder().iterdir()) == []


def test_chosen_folder_that_everybody_may_change_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(CacheFolderError, match=f"^{tmp_path}: every user may replace what is in it; expected"):
        fetch(LocalFiles(tmp_path))
    tmp_path.chmod(0o1777)  # as /tmp: nobody can replace what another user has made
    assert fetch(LocalFiles(tmp_path)) == CONTENT


@each_case("part", ["entries", "partial", "temporary", "turns"])
def test_part_of_the_cache_that_is_a_link_is_refused(tmp_path_factory, part):
    folder, target = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("target")
    (target / "file").write_bytes(VICTIM)
    (folder / part).symlink_to(target)
    with pytest.raises(CacheFolderError, match=f"^{folder / part}: is a link; expected a folder of yours"):
        fetch(LocalFiles(folder))
    assert (target / "file").read_bytes() == VICTIM
    assert len(list(target.iterdir())) == 1


@each_case("make", [os.symlink, os.link])
@each_case("part", ["entries", "partial", "temporary", "turns", "total"])
def test_links_in_the_cache_are_never_followed(tmp_path_factory, make, part):
    folder, victim = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("victim") / "file"
    victim.write_bytes(VICTIM)
    with FileServer({"a.mp4": CONTENT}) as server:
        url = server.url("a.mp4")
        with LocalFiles(folder).local_copy(url) as local:
            name = Path(local).name
        if part == "total":
            planted = [folder / "total"]
        elif part == "turns":
            planted = list((folder / "turns").iterdir())
        else:
            planted = [folder / part / name]
        for path in planted:
            path.unlink(missing_ok=True)
            make(victim, path)
        if part == "partial":
            (folder / "entries" / name).unlink()
        with LocalFiles(folder, max_cache_bytes=len(CONTENT)).local_copy(url) as local:
            assert Path(local).read_bytes() == CONTENT
        LocalFiles(folder, max_cache_bytes=0).size(url)
        FileCache(folder, max_bytes=0)  # evicts everything
    assert victim.read_bytes() == VICTIM


@pytest.mark.usefixtures("temporary")
def test_permissions_of_an_own_folder_are_reduced():
    default_folder().mkdir()
    default_folder().chmod(0o777)
    make_private(default_folder())
    assert mode(default_folder()) == 0o700


@pytest.mark.usefixtures("temporary")
def test_compiled_networks_are_kept_in_the_private_folder(monkeypatch):
    monkeypatch.delenv(compilation.CACHE_VARIABLE, raising=False)
    compilation.compile_for_fixed_sizes(abs)
    folder = Path(os.environ[compilation.CACHE_VARIABLE])
    assert folder.parent == default_folder()
    assert mode(folder) == 0o700
    monkeypatch.setenv(compilation.CACHE_VARIABLE, "/elsewhere")
    compilation.compile_for_fixed_sizes(abs)
    assert os.environ[compilation.CACHE_VARIABLE] == "/elsewhere"
