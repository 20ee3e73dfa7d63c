"""The previous checkpoint survives a full disk."""

import pytest
import torch
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from tests.file_limits import files_of_at_most
from tests.tasks.synthetic_runs import classifier, synthetic_clips, trainer
from videoctx.tasks.atomic_checkpoint_io import AtomicCheckpointIO


def test_the_previous_file_stays_where_writing_fails(tmp_path):
    path = tmp_path / "new folder" / "last.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"weights": torch.ones(3)}, path)
    with (
        files_of_at_most(5000),
        pytest.raises(OSError, match=r"cannot be written \(File too large\); one .*last\.ckpt'$"),
    ):
        writer.save_checkpoint({"weights": torch.zeros(10_000)}, path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    assert torch.equal(writer.load_checkpoint(path, weights_only=True)["weights"], torch.ones(3))


def test_a_run_saves_atomically(tmp_path):
    trainer(tmp_path).fit(classifier(), datamodule=synthetic_clips(1))
    good = (tmp_path / "last.ckpt").read_bytes()
    run = trainer(tmp_path)
    with files_of_at_most(len(good) // 2), pytest.raises(OSError, match="one that was there before still is"):
        run.fit(classifier(), datamodule=synthetic_clips(1))
    assert (tmp_path / "last.ckpt").read_bytes() == good


def test_another_plugin_can_be_chosen(tmp_path):
    chosen = AsyncCheckpointIO()
    run = trainer(tmp_path, plugins=[chosen])
    run.fit(classifier(), datamodule=synthetic_clips(1))
    assert run.strategy.checkpoint_io is chosen


def test_urls_are_left_to_lightning(tmp_path):
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"a": 1}, f"file://{tmp_path}/there.ckpt")
    assert torch.load(tmp_path / "there.ckpt", weights_only=True) == {"a": 1}
