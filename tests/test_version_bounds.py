"""The versions that the tests run with are the lowest ones that pyproject.toml allows, and newer ones."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]


def dependencies() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(names for extra, names in extras.items() if extra != "dev")]
    found = [Requirement(text) for names in lists for text in names]
    return [bound for bound in found if bound.name != "videoctx"]


def pinned(name: str) -> dict[str, set[Version]]:
    """Return the versions of each library in a file of constraints. There is more than one if Python's decides."""
    found: dict[str, set[Version]] = {}
    for line in (REPOSITORY / name).read_text("utf-8").splitlines():
        if match := re.match(r"([\w.-]+)==([\w.]+)", line):
            found.setdefault(match[1].lower().replace("_", "-"), set()).add(Version(match[2]))
    return found


def test_lower_bounds_are_the_versions_of_test_lowest():
    lowest = pinned(".ci/constraints-lowest.txt")
    bounds = {
        bound.name.lower(): {Version(part.version) for part in bound.specifier if part.operator == ">="}
        for bound in dependencies()
    }
    assert all(bounds.values()), "a dependency without a lower bound"
    assert {name: lowest.get(name) for name in bounds} == bounds


def test_versions_of_make_test_are_allowed():
    versions = pinned("constraints.txt")
    for bound in dependencies():
        assert all(version in bound.specifier for version in versions[bound.name.lower()]), bound.name


def test_upper_bounds_have_a_reason():
    lines = (REPOSITORY / "pyproject.toml").read_text("utf-8").splitlines()
    for bound in dependencies():
        if any(part.operator.startswith("<") for part in bound.specifier):
            line = next(line for line in lines if line.strip().startswith(f'"{bound.name}'))
            assert "#" in line, f"{bound}: say in a comment what would break"
