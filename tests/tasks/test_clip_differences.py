"""A test on other clips than those of the training reports what differs, and its card holds it."""

import json

import pytest
from lightning.pytorch.loggers import CSVLogger

from tests.tasks.synthetic_runs import PREPROCESSING, classifier, synthetic_clips, trainer
from videoctx.tasks import VideoClassifier

OTHER = {
    "clip_len": 8,
    "frame_interval": 2,
    "short_videos": "repeat",
    "sampling": "segments",
    "crops": "stepped",
    "short_side_px": 40,
    "crop_size_px": 36,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def clips_with(**changed):
    data = synthetic_clips(1)
    data.preprocessing_dict = lambda: PREPROCESSING | changed
    return data


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    trainer(folder).fit(classifier(lr=0.01), clips_with())
    return folder / "last.ckpt"


def card_of(checkpoint, folder, data, way):
    task = classifier(lr=0.01)
    path = checkpoint if way == "ckpt_path" else None
    if way == "weights":
        task = classifier(lr=0.01, weights=str(checkpoint))
    if way == "loaded":
        task = VideoClassifier.load_from_checkpoint(checkpoint)
    trainer(folder, logger=CSVLogger(folder, name=way, version="")).test(task, data, ckpt_path=path)
    return json.loads((folder / way / "card.json").read_text())["clip_differences"]


@pytest.mark.parametrize("way", ["ckpt_path", "weights", "loaded"])
def test_every_setting_that_differs_is_reported(checkpoint, tmp_path, way, capsys):
    card = card_of(checkpoint, tmp_path, clips_with(views=[9, 3], protocol="tsm", **OTHER), way)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "trained on other clips than these: " in line]
    for name, value in OTHER.items():
        assert f"{name} {value} instead of {PREPROCESSING[name]}" in line
        assert card[name] == {"trained": PREPROCESSING[name], "used": value}
    assert "views" not in line
    assert "protocol" not in line
    assert card_of(checkpoint, tmp_path / "same", clips_with(views=[9, 3]), way) == {}
    assert "trained on other clips" not in capsys.readouterr().out


def test_a_training_reports_the_colors_of_its_weights_and_a_resumed_one_every_setting(checkpoint, tmp_path, capsys):
    task = classifier(weights=str(checkpoint))
    trainer(tmp_path).fit(task, clips_with(**OTHER))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "trained on other clips" in line]
    assert line.endswith(
        ": mean [0.485, 0.456, 0.406] instead of [0.45, 0.45, 0.45], std [0.229, 0.224, 0.225] instead"
        " of [0.225, 0.225, 0.225]"
    )
    assert task.preprocessing["clip_len"] == 8
    trainer(tmp_path, max_epochs=2).fit(classifier(lr=0.01), clips_with(frame_interval=3), ckpt_path=checkpoint)
    assert f"{checkpoint}: trained on other clips than these: frame_interval 3 instead of 1" in capsys.readouterr().out
