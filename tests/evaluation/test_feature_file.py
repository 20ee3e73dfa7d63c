"""Files of features: what was written is read, in both formats, and other files are refused."""

import numpy as np
import pytest

from tests.each_case import each_case
from videoctx.batch import View
from videoctx.evaluation.feature_file import FeatureFileError, FeatureWriter, VideoFeatures, read_features

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7


def write(path, *, videos=1):
    views = [View(0, 0), View(0, 1), View(8, 0), View(8, 1)]
    with FeatureWriter(path, {"layer": None}) as writer:
        writer.write(VideoFeatures("broken.mp4", "run", "train", failure="empty"))
        for _ in range(videos):
            writer.write(VideoFeatures("a.mp4", "run", "train", "room 1", views, VECTORS))
        writer.write(VideoFeatures("bé.mp4", vectors=VECTORS[:1]))


@each_case("suffix", ["parquet", "npz"])
def test_what_was_written_is_read(tmp_path, suffix):
    write(tmp_path / f"features.{suffix}")
    table = read_features(tmp_path / f"features.{suffix}")
    assert np.array_equal(table.vectors[1:], np.concatenate([VECTORS, VECTORS[:1]]))
    assert np.isnan(table.vectors[0]).all()
    columns = {name: column.tolist() for name, column in table.columns.items()}
    assert columns["row"] == [0, 1, 1, 1, 1, 2]
    assert columns["path"] == ["broken.mp4", *["a.mp4"] * 4, "bé.mp4"]
    assert columns["label"] == ["run"] * 5 + [None]
    assert columns["group"] == [None, *["room 1"] * 4, None]
    assert columns["failure"] == ["empty", *[None] * 5]
    assert columns["clip"] == [-1, 0, 0, 1, 1, -1]
    assert columns["crop"] == [-1, 0, 1, 0, 1, -1]
    assert columns["start_frame"] == [-1, 0, 0, 8, 8, -1]
    assert table.metadata == {"format": 1, "layer": None}


def test_many_videos_are_written_in_parts(tmp_path):
    write(tmp_path / "features.parquet", videos=600)
    table = read_features(tmp_path / "features.parquet")
    assert table.columns["row"].max() == 601
    assert np.array_equal(table.vectors[1:5], VECTORS)
    assert np.array_equal(table.vectors[-5:-1], VECTORS)


@each_case("suffix", ["parquet", "npz"])
def test_a_file_is_whole_or_not_there(tmp_path, suffix):
    path = tmp_path / f"features.{suffix}"
    with (
        pytest.raises(FeatureFileError, match=r"none of 1 videos can be read: a\.mp4: empty"),
        FeatureWriter(path, {}) as writer,
    ):
        writer.write(VideoFeatures("a.mp4", failure="empty"))
    writer = FeatureWriter(path, {})
    writer.write(VideoFeatures("a.mp4", vectors=VECTORS))
    writer.__exit__(KeyError, KeyError(), None)
    assert list(tmp_path.iterdir()) == []


@each_case("suffix", ["parquet", "npz"])
def test_other_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"features.{suffix}"
    with pytest.raises(FeatureFileError, match="no such file"):
        read_features(path)
    write(path)
    content = path.read_bytes()
    for other in (b"", content[: len(content) // 2], b"no features\n" * 9):
        path.write_bytes(other)
        with pytest.raises(FeatureFileError, match=r"features\.\w+: not a file of `videoctx features`"):
            read_features(path)
    with pytest.raises(FeatureFileError, match=r"expected a file that ends in \.parquet or \.npz"):
        read_features(tmp_path / "features.csv")


def test_objects_in_an_npz_file_are_not_run(tmp_path):
    np.savez(tmp_path / "features.npz", metadata=np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(FeatureFileError, match="not a file of `videoctx features`"):
        read_features(tmp_path / "features.npz")
