"""`videoctx classify` of whole videos."""

import json
import shutil

import pytest
import torch

from tests.http_server import FileServer
from tests.inference.conftest import write_checkpoint
from tests.tiny_set import CLASSES, break_video
from videoctx.cli import main
from videoctx.inference.classifier import load


def run(*arguments: object) -> None:
    main(["classify", *map(str, arguments)])


def test_best_classes_of_a_video_are_printed(network, tmp_path, capsys):
    video = network.videos / "test0.mp4"
    run(video, "--ckpt_path", network.checkpoint, "--top", 2, "--json", tmp_path / "result.json")
    output = json.loads((tmp_path / "result.json").read_text())
    (result,) = output.pop("videos")
    assert output == {"checkpoint": str(network.checkpoint), "views": [2, 3], "num_failed": 0}
    expected = load(network.checkpoint).predict(video).probabilities
    order = expected.argsort()[::-1]
    assert result["video"] == str(video)
    assert [row["class"] for row in result["classes"]] == [CLASSES[index] for index in order[:2]]
    assert [row["probability"] for row in result["classes"]] == list(expected[order[:2]])
    table = capsys.readouterr().out
    assert f"{expected[order[0]]:.1%}" in table
    assert CLASSES[order[2]] not in table
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_broken_video_does_not_end_a_folder(network, tmp_path, capsys):
    folder = shutil.copytree(network.videos, tmp_path / "videos")
    break_video(folder / "test1.mp4", "empty")
    (folder / "deeper").mkdir()
    (folder / "test2.mp4").rename(folder / "deeper" / "last.MP4")
    (folder / ".hidden.mp4").write_bytes(b"")
    (folder / "notes.txt").write_text("no video")
    with pytest.raises(SystemExit) as stop:
        run(folder, "--ckpt_path", network.checkpoint, "--views", "1x1", "--json", tmp_path / "result.json")
    assert stop.value.code == 1
    output = json.loads((tmp_path / "result.json").read_text())
    assert output["num_failed"] == 1
    assert output["views"] == [1, 1]
    results = {row["video"].removeprefix(f"{folder}/"): row for row in output["videos"]}
    assert set(results) == {"deeper/last.MP4", "test0.mp4", "test1.mp4"}
    assert "empty" in results["test1.mp4"]["failure"]
    assert len(results["test0.mp4"]["classes"]) == len(results["deeper/last.MP4"]["classes"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{folder / 'test1.mp4'}: {results['test1.mp4']['failure']}"


def test_a_url_is_classified(network, tmp_path):
    content = (network.videos / "test0.mp4").read_bytes()
    with FileServer({"a.mp4": content}) as server:
        for video, file in ((server.url("a.mp4"), "url.json"), (network.videos / "test0.mp4", "file.json")):
            run(video, "--ckpt_path", network.checkpoint, "--views", "1x1", "--json", tmp_path / file)
    url, file = (json.loads((tmp_path / name).read_text())["videos"][0] for name in ("url.json", "file.json"))
    assert url["classes"] == file["classes"]


def test_errors_are_one_line(network, tmp_path, refused):
    video, checkpoint = network.videos / "test0.mp4", ["--ckpt_path", network.checkpoint]
    (tmp_path / "nothing").mkdir()
    assert "no such file or folder" in refused("classify", tmp_path / "missing.mp4", *checkpoint)
    assert "no videos in the folder" in refused("classify", tmp_path / "nothing", *checkpoint)
    assert "there is no folder" in refused("classify", video, *checkpoint, "--json", tmp_path / "no" / "result.json")
    assert "is a folder" in refused("classify", video, *checkpoint, "--json", tmp_path)
    assert "views are '3'; expected clips x crops" in refused("classify", video, *checkpoint, "--views", "3")
    assert "expected a video, a folder of videos or a URL" in refused("classify", *checkpoint)
    assert "--stride is for --timeline alone" in refused("classify", video, *checkpoint, "--stride", 1)
    torch.save({"state_dict": {}}, tmp_path / "nameless.ckpt")
    assert "class_names" in refused("classify", video, "--ckpt_path", tmp_path / "nameless.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(network.checkpoint.read_bytes()[:5000])
    assert "cut.ckpt" in refused("classify", video, "--ckpt_path", tmp_path / "cut.ckpt")
    counting = write_checkpoint(tmp_path / "torchvision.ckpt", protocol="torchvision", views=(1, 1))
    assert "3 crops per clip; expected 1" in refused("classify", video, "--ckpt_path", counting, "--views", "1x3")
