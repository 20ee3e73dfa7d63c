"""A row of a manifest that is a segment of a video: all tabs show this part alone, with the figures of the test."""

import json

import numpy as np
import pytest

from tests.tiny_set import CLASSES
from videoctx.app.examples import read_examples
from videoctx.app.tested_run import TestedRun
from videoctx.data.annotations import read_manifest
from videoctx.data.loading.dataset import DecodedBatch, SampleIndex, VideoDataset
from videoctx.data.loading.segment import WHOLE, Segment
from videoctx.evaluation.view_scores import softmax, stored_scores
from videoctx.evaluation.view_subset import Views
from videoctx.inference.classifier import load

ROWS = [("long.mp4", 2, 5.5), ("long.mp4", "", 2), ("long.mp4", 7.25, ""), ("long.mp4", "", "")]
NAMES = ["long.mp4, 2 s to 5.5 s", "long.mp4, to 2 s", "long.mp4, from 7.25 s", "long.mp4"]


@pytest.fixture(scope="module")
def manifest(app_folder):
    path = app_folder / "segments.csv"
    rows = [f"{name},{CLASSES[0]},test,{start},{end}" for name, start, end in ROWS]
    path.write_text("\n".join(["path,label,split,start_seconds,end_seconds", *rows]) + "\n")
    return path


@pytest.fixture
def videos(served, manifest, monkeypatch):
    """The name and the identifier of each row's video."""
    monkeypatch.setattr(served.work, "examples", read_examples(manifest))
    return {found["name"]: found for found in (served.ask("POST", "/videos", {"example": index}) for index in range(4))}


def test_a_segment_has_the_probabilities_of_its_row_in_a_test(served, manifest, videos):
    trained = load(str(served.folder / "nl.ckpt"))
    made = trained.preprocessing
    records = read_manifest(manifest, CLASSES, split="test")
    dataset = VideoDataset(records, sampler=made.sampler(), seed=0)
    assert list(videos) == NAMES
    for row, name in enumerate(NAMES):
        logits = trained._through(
            trained.for_evaluation().net, DecodedBatch([dataset[SampleIndex(row)]]), Views(*made.views)
        )
        expected = softmax(stored_scores(logits, multi_label=False).double().numpy()).mean(axis=0)
        found = served.run(kind="predict", video=videos[name]["id"], network=0)["result"]["classes"]
        assert {one["class"]: one["probability"] for one in found} == dict(zip(CLASSES, expected, strict=True)), name


def test_moments_and_maps_are_those_of_the_segment(served, videos):
    for name, (_, start, end) in zip(NAMES, ROWS, strict=True):
        start, end = start or 0, end or 12
        body = {"video": videos[name]["id"], "network": 0}
        found = served.run(kind="timeline", **body, stride_seconds=0.5)["result"]
        assert (found["start"], found["end"]) == (start, end), name
        assert found["starts"][0] == start, name
        assert np.diff(found["starts"]) == pytest.approx(0.5), name
        assert end - 1 < found["ends"][-1] < end, name
        assert start == found["thumbnails"][0]["seconds"] < found["thumbnails"][-1]["seconds"] < end, name
        for seconds, middle in ((None, (start + end) / 2), (0, start), (20, end)):
            shown = served.run(kind="map", **body, method="attention", seconds=seconds)["result"]["frames"]
            times = [frame["seconds"] for frame in shown]
            assert times == [frame["number"] / 20 for frame in shown], name
            assert start <= times[0] < times[-1] < end, name
            assert times[0] - 0.5 < middle < times[-1] + 0.5, name


def test_the_segments_of_a_run_are_those_of_its_manifest(served, tmp_path):
    (tmp_path / "scores.parquet").write_bytes((served.folder / "run" / "scores.parquet").read_bytes())
    paths = TestedRun(served.folder / "run").result.view_scores.paths
    lines = [f"{path},{CLASSES[0]},test,{index},{index + 1}" for index, path in enumerate(paths)]
    lines.insert(1, f"other.mp4,{CLASSES[0]},train,5,6")
    lines[3] = f"another.mp4,{CLASSES[0]},test,2,3"
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label,split,start_seconds,end_seconds", *lines]) + "\n")
    for data in ({"manifest": "manifest.csv", "split": "test"}, {"manifest": "gone.csv", "split": "test"}, {}):
        (tmp_path / "card.json").write_text(json.dumps({"folder": str(tmp_path), "data": data}))
        run = TestedRun(tmp_path)
        expected = [
            Segment(index, index + 1) if data.get("manifest") == "manifest.csv" else WHOLE for index in range(6)
        ]
        expected[2] = WHOLE  # the manifest has another video there now
        assert [run.source(index)[2] for index in range(6)] == expected, data
