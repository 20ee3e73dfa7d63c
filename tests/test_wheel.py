"""The wheel holds everything that an installation outside the repository needs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
CONFIGS = "videoctx/configs"  # a link to configs


def tracked_files() -> list[str]:
    """Return the files that git tracks or would add, without those deleted in the working tree."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (REPOSITORY / name).is_file()]


def build(source: Path, folder: Path) -> Path:
    """Build a wheel of the source tree with the setuptools of this environment, and return its path."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the repository, because a build writes into its source tree."""
    folder = tmp_path_factory.mktemp("source")
    for name in tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((REPOSITORY / name).read_bytes())
    (folder / CONFIGS).symlink_to((REPOSITORY / CONFIGS).readlink())
    return folder


def inside(name: str) -> str:
    """Return where a file of the repository lies in an installation."""
    return f"videoctx/{name}" if name.startswith("configs/") else name


@pytest.mark.slow
def test_wheel_holds_every_module_config_template_and_class_list(source, tmp_path):
    wheel = build(source, tmp_path)
    held = set(zipfile.ZipFile(wheel).namelist())
    needed = {inside(name) for name in tracked_files() if name.startswith(("videoctx/", "data_prep/", "configs/"))}
    images = {name for name in needed if name.endswith(".png")}
    pages = {name for name in needed if name.endswith(".md") and not name.startswith("videoctx/configs/")}
    assert not needed - images - pages - held
    assert {name.partition("/")[0].partition("-")[0] for name in held} == {"videoctx", "data_prep"}


@pytest.mark.slow
def test_wheel_by_way_of_a_source_archive_is_the_same(source, tmp_path):
    archives, unpacked = tmp_path / "sdist", tmp_path / "unpacked"
    code = f"from setuptools.build_meta import build_sdist; print(build_sdist({str(archives)!r}))"
    archives.mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    unpacked.mkdir()
    subprocess.run(["tar", "-xzf", next(archives.glob("*.tar.gz")), "-C", unpacked], check=True)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    wheels = build(source, first), build(next(unpacked.iterdir()), second)
    direct, by_archive = (set(zipfile.ZipFile(wheel).namelist()) for wheel in wheels)
    assert by_archive == direct
