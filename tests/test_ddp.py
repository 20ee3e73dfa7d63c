"""Two ranks on the CPU against one: the same results to the last digit, and training that keeps the ranks equal.

Starting ranks takes most of the time, so several commands share one start: the fixtures run them, the tests look.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.tiny_set import break_video, make_set, write_config
from videoctx.cli import main

ROOT = Path(__file__).parents[1]
TWO_RANKS = ["--trainer.devices=2", "--trainer.strategy=ddp"]
BLOCKS = ["NonLocal", "GlobalContext"]
COMPILED = ["--model.compiled_blocks=true", "--model.fused_optimizer=true"]
TRAINED = {
    **{block: (block, []) for block in BLOCKS},
    "compiled": ("GlobalContext", COMPILED),
    "frozen": ("GlobalContext", ["--model.freeze=[stem, res2]"]),
    "head_alone": ("NonLocal", ["--model.freeze=backbone"]),
}
TOLERANCE = 5e-4  # the step of float16, in which probabilities are on disk, below one

pytestmark = pytest.mark.slow  # starts ranks

# Each rank runs this file; the first starts the second. What is compiled is traced, and not compiled further.
ALL_COMMANDS = """
import json
from functools import partial
from pathlib import Path

import torch

from videoctx.cli import main

torch.compile = partial(torch.compile, backend="aot_eager")
for arguments in json.loads(Path(__file__).with_name("commands.json").read_text()):
    main(arguments)
"""


def run(*command: object) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def named(command: str, config: Path, name: str, *arguments: object) -> list[str]:
    return [command, "-c", str(config), f"--trainer.logger.init_args.name={name}", *map(str, arguments)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos, of which one of training and one of test cannot be read; a config; runs of one rank; a checkpoint."""
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "videos").mkdir()
    manifest = make_set(folder / "videos", num_videos={"train": 6, "val": 1, "test": 7})
    break_video(folder / "videos" / "test4.mp4", "text")
    rows = manifest.read_text().splitlines(keepends=True)
    one = "".join(row for row in rows if row.startswith(("path,", "test1.mp4,")))
    (folder / "videos" / "one.csv").write_text(one)
    config = write_config(folder / "config.yaml", manifest=manifest, runs=folder / "runs")
    for block in BLOCKS:
        write_config(
            folder / f"{block}.yaml", manifest=manifest, runs=folder / "runs", context=f"videoctx.layers.{block}"
        )
    (folder / "ranks.py").write_text(ALL_COMMANDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["videoctx"])
        epochs = ["--trainer.max_epochs=20", "--model.net.init_args.dropout=0", "--checkpoint.monitor=null"]
        main(named("fit", config, "trained", *epochs))
        for name in ("manifest", "one"):
            videos = f"--data.manifest={folder / 'videos' / name}.csv"
            main(named("test", config, f"{name}1", videos, *checkpoint(folder)))
    return folder


def checkpoint(folder: Path) -> list[str]:
    return ["--ckpt_path", str(folder / "runs" / "trained" / "checkpoints" / "last.ckpt")]


@pytest.fixture(scope="module")
def tested(folder):
    """What a test on two ranks, started as a person starts it, printed."""
    return run("-m", "videoctx", *named("test", folder / "config.yaml", "manifest2", *checkpoint(folder), *TWO_RANKS))


@pytest.fixture(scope="module")
def more(folder):
    """A test of one video on two ranks, and training with each kind of block."""
    one = f"--data.manifest={folder / 'videos' / 'one.csv'}"
    commands = [named("test", folder / "config.yaml", "one2", one, *checkpoint(folder), *TWO_RANKS)]
    break_video(folder / "videos" / "train0.mp4", "empty")
    for name, (block, options) in TRAINED.items():
        kept = folder / "weights" / name
        kept.mkdir(parents=True)
        callback = ["--trainer.callbacks=tests.tiny_set.KeepWeights", f"--trainer.callbacks.folder={kept}"]
        batches = ["--data.batch_size=1", "--data.train.max_failed_fraction=0.4", "--checkpoint.monitor=null"]
        commands.append(named("fit", folder / f"{block}.yaml", name, *batches, *options, *callback, *TWO_RANKS))
    (folder / "commands.json").write_text(json.dumps(commands))
    return run(folder / "ranks.py")


def result_of(folder: Path, name: str) -> dict:
    return json.loads((folder / "runs" / name / "results.json").read_text())


@pytest.mark.parametrize(("name", "num_videos", "num_failed"), [("manifest", 7, 1), ("one", 1, 0)])
@pytest.mark.usefixtures("tested", "more")
def test_two_ranks_evaluate_as_one_does(folder, name, num_videos, num_failed):
    one, two = (result_of(folder, f"{name}{ranks}") for ranks in (1, 2))
    assert two == one
    assert (one["num_videos"], one["num_views"], one["num_failed"]) == (num_videos, num_videos * 6, num_failed)
    one, two = (pq.read_table(folder / "runs" / f"{name}{ranks}" / "scores.parquet") for ranks in (1, 2))
    assert two.drop_columns("scores").equals(one.drop_columns("scores"))
    for first, second in zip(one["scores"].to_pylist(), two["scores"].to_pylist(), strict=True):
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_allclose(second, first, rtol=0, atol=TOLERANCE)


@pytest.mark.usefixtures("tested")
def test_the_scores_tell_videos_apart(folder):
    """Otherwise exchanged rows would not have been seen above."""
    table = pq.read_table(folder / "runs" / "manifest1" / "scores.parquet")
    views = np.array([scores for scores in table["scores"].to_pylist() if scores])
    videos = views.reshape(6, -1)
    distances = np.abs(videos[:, None] - videos[None]).max(axis=2)
    assert distances[np.triu_indices(6, 1)].min() > 2 * TOLERANCE


@pytest.mark.usefixtures("tested")
def test_no_part_of_a_rank_is_left(folder):
    assert not list((folder / "runs" / "manifest2").glob("scores-rank*"))


def test_result_and_failure_are_printed_once(tested):
    assert tested.stdout.count("7 videos, 42 views, 1 failed") == 1
    assert tested.stderr.count("counted as incorrect: ") == 1


@pytest.mark.parametrize("block", TRAINED)
@pytest.mark.usefixtures("more")
def test_ranks_train_the_same_weights(folder, block):
    """With a rank that has no readable video in one of its steps, and without searching for unused parameters."""
    first, second = (torch.load(folder / "weights" / block / f"rank{rank}.pt") for rank in (0, 1))
    assert list(first) == list(second)
    for name, parameter in first.items():
        assert torch.equal(parameter, second[name]), name
    saved = torch.load(folder / "runs" / block / "checkpoints" / "last.ckpt")
    assert saved["global_step"] == 2 * 3  # six videos on two ranks, two epochs
    assert all(torch.equal(saved["state_dict"][name], parameter) for name, parameter in first.items())
    assert all(parameter.isfinite().all() for parameter in first.values())


@pytest.mark.usefixtures("more")
def test_ranks_with_compiled_blocks_train_the_weights_of_ranks_without(folder):
    compiled, plain = (torch.load(folder / "weights" / name / "rank0.pt") for name in ("compiled", "GlobalContext"))
    assert list(compiled) == list(plain)
    for name, parameter in plain.items():
        torch.testing.assert_close(compiled[name], parameter, rtol=1e-3, atol=1e-4, msg=name)


def test_an_unreadable_training_video_is_named(folder, more):
    assert f"left out of training: {folder / 'videos' / 'train0.mp4'}: the file is empty" in more.stderr
