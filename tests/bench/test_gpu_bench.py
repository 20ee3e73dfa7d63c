"""`videoctx bench gpu`: it skips without a GPU, resumes, keeps to its time, and all of its steps run on a CPU."""

import json
from pathlib import Path

import pytest
import torch

from tests.each_case import each_case
from videoctx.bench.gpu.results import PartFile, StepResult
from videoctx.bench.gpu.runner import GpuBench
from videoctx.bench.gpu.steps import PARTS, STEPS
from videoctx.bench.gpu.table import bars, report
from videoctx.cli import main
from videoctx.cli.bench_gpu import PARTS as PARTS_OF_THE_COMMAND


def states(folder: Path) -> dict[str, str]:
    parts = json.loads((folder / "gpu.json").read_text())["parts"]
    return {f"{part}/{name}": result["state"] for part, steps in parts.items() for name, result in steps.items()}


def test_the_command_has_the_parts_of_the_steps():
    assert PARTS_OF_THE_COMMAND == PARTS == tuple(dict.fromkeys(step.part for step in STEPS))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_every_step_is_skipped_by_name(tmp_path, capsys):
    main(["bench", "gpu", f"--folder={tmp_path}"])
    printed = capsys.readouterr().out
    for step in STEPS:
        assert step.name in printed
    assert printed.count("no CUDA device") == len(STEPS)
    assert set(states(tmp_path).values()) == {"skipped"}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A bench on the CPU whose steps do nothing, and the list of those that were run."""
    ran = []

    def run(self, step, seconds):  # noqa: ARG001
        ran.append((step.name, seconds > 0))
        return StepResult("failed", "on purpose") if step.name == "peak" else StepResult("done", figures={"one": 1.0})

    monkeypatch.setattr(GpuBench, "_in_a_process", run)
    return GpuBench(tmp_path, device="cpu"), ran


def test_what_is_done_is_not_run_again_and_what_failed_is(bench):
    gpu_bench, ran = bench
    names = [step.name for step in STEPS if step.part == "model"]
    first = gpu_bench.run(["model"])
    assert [name for name, _ in ran] == names
    assert first["model"].results["i3d_r50"] == StepResult("done", figures={"one": 1.0})
    ran.clear()
    again = gpu_bench.run(["model"])
    assert [name for name, _ in ran] == ["peak"]
    assert again["model"].results["i3d_r50"] == StepResult("done", figures={"one": 1.0})
    assert again["data"].results == {}


def test_a_step_that_does_not_fit_into_the_time_is_left_for_the_next_call(tmp_path, bench):
    _, ran = bench
    short = GpuBench(tmp_path, device="cpu", minutes_per_part=0.001)
    results = short.run(["fit"])["fit"].results
    assert [name for name, _ in ran] == ["one_gpu"]  # the first one is always begun
    assert {name: result.state for name, result in results.items()} == {
        "one_gpu": "done",
        **dict.fromkeys(["ddp_1", "ddp_all", "evaluation"], "left"),
    }
    GpuBench(tmp_path, device="cpu").run(["fit"])
    assert [name for name, _ in ran] == ["one_gpu", "ddp_1", "ddp_all", "evaluation"]


@pytest.mark.slow
def test_a_step_that_hangs_or_fails_is_reported_in_one_line(tmp_path, monkeypatch):
    (step,) = (step for step in STEPS if step.name == "transform")
    slow = GpuBench(tmp_path, device="cpu", tiny=True)._in_a_process(step, 0.01)
    assert slow.state == "failed"
    assert "not finished after" in slow.reason
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)  # here the process finds no package, unless it is installed
    failed = GpuBench(tmp_path, device="nonsense", tiny=True)._in_a_process(step, 300)
    assert failed.state == "failed"
    assert "status 1: " in failed.reason
    assert "transform.log" in failed.reason


@each_case("content", [None, "{", "[]", '{"machine": 1}', '{"machine": {"card": "other"}, "steps": {}}'])
def test_results_of_another_machine_and_damaged_ones_are_begun_again(tmp_path, content):
    path = tmp_path / "model.json"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    file = PartFile(path, {"card": "this"})
    assert file.results == {}
    file.put("peak", StepResult("done", rows=[("a", "b")], figures={"x": 1.0}))
    assert PartFile(path, {"card": "this"}).results["peak"].rows == [("a", "b")]
    assert PartFile(path, {"card": "other"}).results == {}


def files_with(tmp_path: Path, figures: dict[tuple[str, str], dict[str, float]]) -> dict[str, PartFile]:
    files = {
        part: PartFile(tmp_path / f"{part}.json", {"device": "cuda", "tiny": False, "torch": "2"}) for part in PARTS
    }
    for (part, step), values in figures.items():
        files[part].put(step, StepResult("done", figures=values))
    return files


def test_the_bars_compare_what_was_measured(tmp_path):
    files = files_with(
        tmp_path,
        {
            ("model", "i3d_r50"): {
                "train_vs_peer_bf16": 1.6,
                "train_vs_matmul_peak": 0.3,
                "training_clips_per_second": 1000.0,
            },
            ("model", "i3d_r50_nl5"): {"training_clips_per_second": 800.0},
            ("data", "loader"): {"gop16_ours_clips_per_second": 750.0},
            ("fit", "one_gpu"): {"wait": 0.26, "clips_per_second": 730.0},
        },
    )
    found = list(bars(files))
    assert [bar.measured for bar in found] == pytest.approx([1.6, 0.3, 1.25, 0.01, 730 / 750])
    assert [bar.is_met for bar in found] == [True, False, True, True, True]
    assert list(bars(files_with(tmp_path / "nothing", {}))) == []


def test_the_table_is_printed_and_written(tmp_path, capsys):
    files = files_with(tmp_path, {("model", "i3d_r50"): {"train_vs_peer_bf16": 1.6}})
    assert report(files, tmp_path / "out" / "gpu.json")
    files["data"].put("loader", StepResult("failed", "no disk"))
    assert not report(files, tmp_path / "out" / "gpu.json")
    assert "no disk" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert written["parts"]["data"]["loader"]["reason"] == "no disk"
    assert written["bars"][0]["is_met"] is True


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_every_step_runs_on_a_cpu(tmp_path, part):
    busy = "--minutes_per_part=60"  # a busy machine takes its time
    main(["bench", "gpu", f"--folder={tmp_path}", "--device=cpu", "--tiny", busy, f"--part={part}"])
    found = {name: state for name, state in states(tmp_path).items() if name.startswith(f"{part}/")}
    if found.get("data/nvdec") == "skipped":  # without torchcodec
        found["data/nvdec"] = "done"
    assert found == {f"{part}/{step.name}": "done" for step in STEPS if step.part == part}
