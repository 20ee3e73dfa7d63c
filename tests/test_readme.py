"""The pages: the README's Python example runs as printed, links lead to files, and named configs exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_set import make_set

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in REPOSITORY.rglob("*.md")
    if not {".venv", "runs", "datasets"} & set(path.relative_to(REPOSITORY).parts)
)


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_python_example_of_the_readme_runs(tmp_path):
    (tmp_path / "my_videos").mkdir()
    make_set(tmp_path / "my_videos", num_videos={"train": 4, "val": 1, "test": 1})
    (tmp_path / "my_videos" / "test0.mp4").rename(tmp_path / "clip.mp4")
    script = code_blocks(REPOSITORY / "README.md", "python")[0]
    assert "max_epochs=10" in script
    done = subprocess.run(
        [sys.executable, "-c", script.replace("max_epochs=10", "max_epochs=1")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=None,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "blue_up" in done.stdout
    assert re.search(r"torch\.Size\(\[30, \d+\]\)", done.stdout)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


def test_configs_named_on_the_pages_exist():
    shipped = {
        path.relative_to(REPOSITORY / "configs").with_suffix("") for path in (REPOSITORY / "configs").rglob("*.yaml")
    }
    names = {path.as_posix() for path in shipped} | {path.name for path in shipped}
    for page in PAGES:
        for block in code_blocks(page, "bash"):
            for name in re.findall(r"(?:-c|--config)[ =]([\w./-]+)(?=\s|$)", block):
                known = name in names or (REPOSITORY / name).exists() or not re.fullmatch(r"[a-z0-9_/]+", name)
                assert known, f"{page.name}: -c {name}"
