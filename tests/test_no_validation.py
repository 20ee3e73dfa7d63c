"""A manifest without validation videos: training continues without a validation, and a line reports it."""

import pytest
import torch
import yaml

from tests.each_case import each_case
from tests.tiny_runs import column, manifest_of
from videoctx.data.annotations import has_no_validation


def keep_splits(folder, *splits: str) -> str:
    """Keep the rows of some splits of a manifest, and return the option that names it."""
    header, *rows = (folder / "manifest.csv").read_text().splitlines(keepends=True)
    kept = [row for row in rows if any(f",{split}" in row for split in splits)]
    (folder / "manifest.csv").write_text(header + "".join(kept))
    return manifest_of(folder)


EARLY_STOPPING = """
trainer:
  callbacks:
  - {class_path: lightning.pytorch.callbacks.EarlyStopping, init_args: {monitor: val/loss}}
  - class_path: lightning.pytorch.callbacks.ModelCheckpoint
    init_args: {monitor: val/loss, save_top_k: 2, filename: own}
  - {class_path: videoctx.tasks.PreciseBatchNorm, init_args: {num_batches: 1}}
checkpoint: {save_top_k: 3}
"""


def test_a_training_without_validation_videos(run, copy, capsys):
    (copy / "more.yaml").write_text(EARLY_STOPPING)
    manifest = keep_splits(copy, "train", "test")
    folder = run("fit", manifest, "-c", copy / "more.yaml", "--model.schedule=videoctx.tasks.WarmupCosine")
    out, err = capsys.readouterr()
    assert f"{copy / 'manifest.csv'}: no row has split 'val'; the training is not validated, and best.ckpt is" in err
    for name in ("EarlyStopping", "ModelCheckpoint"):
        assert f".{name} is left out, as val/loss is not measured" in err
    assert f"best checkpoint: {folder / 'checkpoints' / 'best.ckpt'} (of the last epoch)" in out
    weights = [torch.load(folder / "checkpoints" / f"{name}.ckpt")["state_dict"] for name in ("best", "last")]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    assert column(folder, "val/loss") == []
    assert len(column(folder, "train/loss")) == 4
    assert yaml.safe_load((folder / "config.yaml").read_text())["data"]["val_split"] is None


@each_case("option", ["--data.val_split=null", "--trainer.limit_val_batches=0"])
def test_no_validation_on_request(run, capsys, option):
    folder = run("fit", option, "--trainer.max_epochs=1", "--checkpoint.monitor=val/loss", name=option[:12])
    assert "(of the last epoch)" in capsys.readouterr().out
    assert (folder / "checkpoints" / "best.ckpt").is_file()


@each_case(
    ("command", "kept", "words"),
    [
        ("fit", ["val", "test"], "no row has split 'train'; its splits are test, val"),
        ("fit", ["test"], "no row has split 'train'; its splits are test"),
        ("fit", ["val"], "no row has split 'train'; its splits are val"),
        ("validate", ["train", "test"], "no row has split 'val'; its splits are test, train"),
        ("test", ["train", "val"], "no row has split 'test'; its splits are train, val"),
        ("predict", ["train"], "no row has split 'test'; its splits are train"),
    ],
)
def test_other_splits_without_videos_are_one_line(place, copy, refused, command, kept, words):
    (copy / "manifest.csv").write_text((place.videos / "manifest.csv").read_text())
    checkpoint = [] if command == "fit" else [f"--ckpt_path={place.last}"]
    assert words in refused(command, keep_splits(copy, *kept), *checkpoint)


def test_validation_that_is_turned_off_cannot_be_run(place, refused):
    line = refused("validate", f"--ckpt_path={place.last}", "--data.val_split=null")
    assert line == "data.val_split is null, so there is nothing to validate; expected the name of a split"


@each_case(
    ("found", "expected"),
    [
        (["train", "test"], True),
        (["train"], True),
        (["train", "val"], False),
        (["train", "validation"], False),  # perhaps a misspelled one
        (["test"], False),
    ],
)
def test_nobody_has_meant_videos_for_validation(tmp_path, found, expected):
    rows = "".join(f"{index}.mp4,run,{split}\n" for index, split in enumerate(found))
    (tmp_path / "manifest.csv").write_text(f"path,label,split\n{rows}")
    assert has_no_validation(tmp_path / "manifest.csv", {"train": "train", "val": "val", "test": "test"}) == expected


def test_a_manifest_that_cannot_be_read_is_reported_elsewhere(tmp_path):
    assert not has_no_validation(tmp_path / "gone.csv", {"train": "train", "val": "val", "test": "test"})


@pytest.mark.slow
def test_a_training_from_python_is_not_validated(copy, tmp_path, caplog):
    from lightning.pytorch import Trainer

    import videoctx

    keep_splits(copy, "train", "test")
    data = videoctx.VideoDataModule(str(copy / "manifest.csv"), batch_size=2)
    net = videoctx.create_model("demo_r18", num_classes=3)
    trainer = Trainer(max_steps=1, logger=False, accelerator="cpu", default_root_dir=tmp_path)
    trainer.fit(videoctx.VideoClassifier(data.class_names, net), data)
    assert "no row has split 'val'; the training is not validated" in caplog.text
