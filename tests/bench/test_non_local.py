"""The bench measures what it says, on sizes that take no time; its figures are not judged here."""

import json

import pytest

from videoctx.bench.non_local import AFFINITIES, DIRECT_UP_TO, Row, bench_non_local, ratios, report


def test_every_affinity_is_measured_by_both_paths(tmp_path, capsys):
    rows = bench_non_local(inner_channels=4, positions=(16, 64), repeats=1, device="cpu")
    assert {(row.affinity, row.positions, row.path) for row in rows} == {
        (affinity, count, path) for affinity in AFFINITIES for count in (16, 64) for path in ("direct", "exact")
    }
    assert all(row.seconds > 0 and row.peak_bytes > 0 for row in rows)
    direct = {row.positions: row.peak_bytes for row in rows if (row.affinity, row.path) == ("dot_product", "direct")}
    assert direct[64] > direct[16] + 4 * (64 * 16 - 16 * 4)  # at least its matrix more
    report(rows, tmp_path / "bench.json")
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["rows"] == [row._asdict() for row in rows]
    assert "dot_product" in capsys.readouterr().out


def test_the_direct_path_is_left_out_where_the_matrix_is_too_large():
    (row,) = [
        row
        for row in bench_non_local(inner_channels=1, positions=(DIRECT_UP_TO + 4,), repeats=1, device="cpu")
        if row.affinity == "dot_product"
    ]
    assert row.path == "exact"


def test_ratios_are_direct_over_exact():
    rows = [Row("a", 8, "exact", 2.0, 10), Row("a", 8, "direct", 6.0, 50), Row("a", 99, "exact", 1.0, 1)]
    assert ratios(rows) == {"a_8": {"time": pytest.approx(3.0), "memory": pytest.approx(5.0)}}
