"""`videoctx bench nonlocal`: both paths are measured, on small sizes. The times are not checked."""

import json
import subprocess
import sys

import pytest

from videoctx.bench.non_local import AFFINITIES, DIRECT_UP_TO, Row, ratios, report

POSITIONS = (16, 64, DIRECT_UP_TO + 4)
# In its own process, because the profiler that counts the memory stays active in the process that uses it.
MEASURE = f"""
import json, torch
from videoctx.bench.non_local import bench_non_local
torch.set_num_threads(1)
rows = bench_non_local(inner_channels=1, positions={POSITIONS}, repeats=1, device="cpu")
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    run = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    return [Row(*row) for row in json.loads(run.stdout.splitlines()[-1])]


def test_every_affinity_is_measured_by_both_paths_where_the_matrix_is_not_too_large(rows):
    assert [(row.affinity, row.positions, row.path) for row in rows] == [
        (affinity, count, path)
        for affinity in AFFINITIES
        for count in POSITIONS
        for path in (("exact", "direct") if count <= DIRECT_UP_TO else ("exact",))
    ]
    assert all(row.seconds > 0 and row.peak_bytes > 0 for row in rows)


def test_the_direct_path_holds_its_matrix(rows):
    direct = {row.positions: row.peak_bytes for row in rows if (row.affinity, row.path) == ("dot_product", "direct")}
    assert direct[64] > direct[16] + 4 * (64 * 16 - 16 * 4)  # bytes of float32, N × N / 4


def test_ratios_are_direct_over_exact():
    rows = [Row("a", 8, "exact", 2.0, 10), Row("a", 8, "direct", 6.0, 50), Row("a", 99, "exact", 1.0, 1)]
    assert ratios(rows) == {"a_8": {"time": pytest.approx(3.0), "memory": pytest.approx(5.0)}}


def test_it_is_printed_and_written(rows, tmp_path, capsys):
    report(rows, tmp_path / "bench.json")
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written == {"rows": [row._asdict() for row in rows], "ratios": ratios(rows)}
    printed = capsys.readouterr().out
    assert "dot_product" in printed
    assert "25,092" in printed
