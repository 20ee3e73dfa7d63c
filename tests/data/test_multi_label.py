"""Tests of videos with several classes or without any, from the manifest to a batch."""

import pytest
import torch

from tests.data.test_datamodule import batches, module
from tests.each_case import each_case
from videoctx.data.annotations import CLASS_FILE, AnnotationError, read_manifest, write_manifest

CLASSES = ["clap", "wave", "sit down"]


@pytest.fixture
def manifest(tmp_path, video_folder):
    path = tmp_path / "manifest.csv"
    cells = {"train": ["wave|clap", "sit down", ""], "val": ["clap", "wave | sit down"], "test": ["clap|clap", "", ""]}
    rows = [
        {"path": video.path, "label": cell, "split": split}
        for split, labels in cells.items()
        for video, cell in zip(video_folder.videos[split], labels, strict=False)
    ]
    write_manifest(path, rows, CLASSES)
    return path


def test_labels_are_one_boolean_per_class(manifest):
    labels = {
        split: [record.label for record in read_manifest(manifest, CLASSES, split=split, multi_label=True)]
        for split in ("train", "val", "test")
    }
    yes, no = True, False
    assert labels == {
        "train": [(yes, yes, no), (no, no, yes), (no, no, no)],
        "val": [(yes, no, no), (no, yes, yes)],
        "test": [(yes, no, no), (no, no, no), (no, no, no)],
    }


def test_unknown_class_among_several_is_reported_with_its_line(manifest):
    manifest.write_text(manifest.read_text().replace("sit down", "sit"))
    with pytest.raises(AnnotationError, match=r"line 3: label 'sit' is not one of the 3 classes"):
        read_manifest(manifest, CLASSES, split="train", multi_label=True)


def test_several_labels_are_refused_without_multi_label(manifest):
    with pytest.raises(AnnotationError, match=r"line 2: label 'wave\|clap' is not .*; multi_label reads several"):
        read_manifest(manifest, CLASSES, split="train")


def test_class_name_with_the_separator_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"'a\|b' has a '\|'"):
        write_manifest(tmp_path / "manifest.csv", [], ["a|b"])
    assert not (tmp_path / CLASS_FILE).exists()


@each_case("stage", ["train", "val", "test"])
def test_batch_has_one_row_of_labels_per_video(manifest, stage):
    data = module(manifest, multi_label=True, batch_size=3, test={"batch_size": 3})
    (batch,) = batches(data, stage)
    records = data.loaders[stage].dataset.records
    assert batch.labels.dtype == torch.bool
    assert batch.labels.tolist() == [list(records[row].label) for row in batch.rows]


def test_card_changes_with_the_labels(manifest):
    def card():
        data = module(manifest, multi_label=True)
        batches(data, "test")
        return data.card("test")["manifest_sha256"]

    before = card()
    assert card() == before
    manifest.write_text(manifest.read_text().replace("clap|clap", "clap|wave"))
    assert card() != before


def test_class_balanced_order_is_refused(manifest):
    with pytest.raises(ValueError, match="'class_balanced' with multi_label"):
        module(manifest, multi_label=True, train={"order": "class_balanced"})
