"""Runs the tests that are marked `cuda`, in a checkout."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from videoctx.bench.gpu.results import StepResult
from videoctx.bench.gpu.sizes import Setting
from videoctx.first_few import first_few

ON_CPU = "VIDEOCTX_CUDA_TESTS_ON_CPU"  # tests/conftest.py: the tests run on the CPU, as far as they can


def run_marked_tests(setting: Setting) -> StepResult:
    """Run pytest on the files that mention the marker. Tests of other files need libraries that may be missing here."""
    root = Path(__file__).parents[3]
    files = [path for path in sorted((root / "tests").rglob("test_*.py")) if "mark.cuda" in path.read_text()]
    if not files:
        return StepResult("skipped", "no tests: this is not a checkout")
    report = setting.folder / "tests.xml"
    environment = os.environ | ({} if setting.device.startswith("cuda") else {ON_CPU: "1"})
    pytest = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", f"--junitxml={report}"]
    run = subprocess.run([*pytest, *map(str, files)], cwd=root, env=environment, capture_output=True, text=True)
    (setting.folder / "tests.log").write_text(run.stdout + run.stderr)
    if not report.is_file():
        raise RuntimeError(f"pytest ended with status {run.returncode}: {run.stdout[-200:]} {run.stderr[-200:]}")
    cases = list(ElementTree.parse(report).iter("testcase"))
    found = {
        state: [case for case in cases if case.find(state) is not None] for state in ("failure", "error", "skipped")
    }
    failed = [case.attrib["name"] for case in found["failure"] + found["error"]]
    skipped = {case.attrib["name"]: case.find("skipped") for case in found["skipped"]}
    rows = [("passed", str(len(cases) - len(failed) - len(skipped)))]
    rows += [
        (f"skipped: {name}", reason.attrib.get("message", "")) for name, reason in skipped.items() if reason is not None
    ]
    result = StepResult("failed" if failed else "done", rows=rows)
    result.figures = {"passed": len(cases) - len(failed) - len(skipped), "failed": len(failed), "skipped": len(skipped)}
    if failed:
        result.reason = f"{len(failed)} failed: {first_few(failed)}; see {setting.folder / 'tests.log'}"
    return result
