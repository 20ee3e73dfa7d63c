"""The cards of tests and trainings."""

import hashlib
import json
import subprocess
import sys

import torch

from tests.each_case import each_case
from videoctx.data.annotations import VideoRecord
from videoctx.data.fingerprint import fingerprint
from videoctx.evaluation.card import describe_card, file_hash, git_state, make_card, make_training_card, write_card

DATA = {"manifest_sha256": "ab" * 32, "protocol": "pyslowfast", "views": [10, 3], "num_videos": 5, "seed": 7}


def card(**changes):
    fields = {"data": DATA, "network": "I3D", "num_videos": 5, "num_failed": 1, "checkpoint": None, "seed": 3}
    return make_card(**fields | changes, device=torch.device("cpu"))


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_card(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["videoctx", "test", "-c", "a b.yaml"])
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    found = card(checkpoint="best.ckpt")
    assert (found["data"], found["network"]) == (DATA, "I3D")
    assert found["videos"] == {"listed": 5, "evaluated": 5, "failed": 1}
    assert found["checkpoint"] == {"path": "best.ckpt", "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert found["command"] == "videoctx test -c 'a b.yaml'"
    assert (found["seed"], found["git"], found["folder"], found["device"]) == (3, None, str(tmp_path), "cpu")
    assert found["versions"]["torch"] == torch.__version__.split("+")[0]
    assert {"python", "torchvision", "lightning", "av", "numpy", "videoctx"} <= found["versions"].keys()
    write_card(found, tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text()) == found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "card.json"]


def test_training_card(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = make_training_card(
        data=DATA, num_ranks=16, num_nodes=2, checkpoint=None, seed=3, device=torch.device("cpu")
    )
    shared = card().keys() - {"network", "videos", "context_off", "clip_differences"}
    assert found.keys() == shared | {"ranks"}
    assert (found["data"], found["ranks"], found["seed"]) == (DATA, {"all": 16, "nodes": 2}, 3)


def test_description_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = describe_card(card(checkpoint="nowhere.ckpt"))
    assert line.startswith("manifest abababababab, pyslowfast 10x3, checkpoint -, torch ")
    changed = {"commit": "c" * 40, "dirty": True}
    assert "checkpoint -, commit cccccccccccc (changed), torch" in describe_card(
        card(checkpoint="a") | {"git": changed}
    )
    assert "3 of 5 videos" in describe_card(card(num_videos=3))
    assert describe_card(card(data={})).endswith(f"torch {torch.__version__.split('+')[0]}, cpu")


def test_checkpoint_that_is_not_a_file():
    assert card(checkpoint="hf://somewhere/weights")["checkpoint"] == {"path": "hf://somewhere/weights", "sha256": None}
    assert card()["checkpoint"] is None


def test_git_state(tmp_path):
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None  # no commit
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    (tmp_path / "notes.txt").write_text("not tracked")
    state = git_state(tmp_path)
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "code.py").write_text("2")
    assert git_state(tmp_path) == {"commit": state["commit"], "dirty": True}
    assert git_state(tmp_path, tracked=str(tmp_path / "code.py")) == {"commit": state["commit"], "dirty": True}
    assert git_state(tmp_path, tracked=str(tmp_path / "notes.txt")) is None


def test_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_file_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"").hexdigest()
    assert file_hash(tmp_path) is None


# The manifest's hash --------------------------------------------------------------------------------------------------

CLASSES = ["jump", "run"]
ROWS = [VideoRecord("/data/a.mp4", 0, "test"), VideoRecord("/data/b/c.mp4", 1, "test", 1.0, 2.5)]


def test_manifest_hash_does_not_depend_on_the_folder():
    moved = [VideoRecord(row.path.replace("/data", "s3://x"), *row_fields(row)) for row in ROWS]
    assert fingerprint(ROWS, CLASSES, root="/data") == fingerprint(moved, CLASSES, root="s3://x/")


@each_case(
    "rows",
    [
        ROWS[::-1],
        ROWS[:1],
        [VideoRecord("/data/x.mp4", 0, "test"), ROWS[1]],
        [VideoRecord("/data/a.mp4", 1, "test"), ROWS[1]],
        [VideoRecord("/data/a.mp4", None, "test"), ROWS[1]],
        [VideoRecord("/data/a.mp4", 0, "test", 1.0), ROWS[1]],
        [VideoRecord("/data/a.mp4", 0, "test", None, 1.0), ROWS[1]],
    ],
)
def test_other_rows_change_the_hash(rows):
    assert fingerprint(rows, CLASSES, root="/data") != fingerprint(ROWS, CLASSES, root="/data")


def test_hash_depends_on_class_names():
    assert fingerprint(ROWS, ["jump", "walk"], root="/data") != fingerprint(ROWS, CLASSES, root="/data")
    swapped = [VideoRecord(row.path, 1 - row.label, *row_fields(row)[1:]) for row in ROWS]
    assert fingerprint(swapped, CLASSES[::-1], root="/data") == fingerprint(ROWS, CLASSES, root="/data")


def row_fields(row):
    return row.label, row.split, row.start_seconds, row.end_seconds
