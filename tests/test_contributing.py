"""CONTRIBUTING names files that exist, and its example of a block runs."""

import re
from pathlib import Path

import torch

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / ".github" / "CONTRIBUTING.md").read_text()
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "common.py", "core/", "engine/", "builder.py", "registry.py"}


def test_files_that_contributing_names_exist():
    names = set(re.findall(r"`([\w./-]+(?:\.(?:py|md|yaml|toml|txt)|/))`", PAGE)) - FORBIDDEN_NAMES
    existing = {
        path.relative_to(REPOSITORY).as_posix()
        for part in ("videoctx", "data_prep", "tests", "configs")
        for path in (REPOSITORY / part).rglob("*")
    }
    existing |= {path.name for path in REPOSITORY.iterdir()} | {".github/CONTRIBUTING.md", ".ci/run"}
    missing = {
        name
        for name in names
        if "NAME" not in name and not any(f"/{path}".endswith(f"/{name.rstrip('/')}") for path in existing)
    }
    assert len(names) > 10
    assert not missing, f"CONTRIBUTING names files that do not exist: {sorted(missing)}"


def test_the_example_of_a_block_runs():
    (code,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    names = {}
    exec(code, names)
    block = names["ChannelBias"](16)
    for shape in ((2, 16, 1, 5, 4), (2, 16, 3, 5, 4), (2, 16, 5, 4)):
        x = torch.randn(shape)
        assert torch.equal(block(x), x)
