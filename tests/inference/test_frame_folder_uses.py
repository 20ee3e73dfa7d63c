"""Tests that what uses a trained network takes folders and archives of images, with the probabilities of the video."""

import json
import shutil

import av
import numpy as np
import pytest
from PIL import Image

from tests.frame_folders import tar_of, zip_of
from videoctx.cli import main
from videoctx.cli.report_sources import error_images
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.evaluation.confident_errors import ConfidentError
from videoctx.inference.classifier import load
from videoctx.inference.timed_frames import open_timed_frames
from videoctx.inference.video_paths import video_paths


@pytest.fixture(scope="module")
def images(tmp_path_factory, network):
    """The frames of a video as PNG images, which have the same pixels."""
    folder = tmp_path_factory.mktemp("images") / "test0"
    folder.mkdir()
    with av.open(str(network.videos / "test0.mp4")) as container:
        for number, frame in enumerate(container.decode(video=0)):
            Image.fromarray(frame.to_ndarray(format="rgb24")).save(folder / f"{number}.png")
    return folder


def test_probabilities_are_those_of_the_video(network, images, tmp_path, capsys):
    model = load(network.checkpoint)
    expected = model.predict(network.videos / "test0.mp4").probabilities
    archive = zip_of(shutil.copytree(images, tmp_path / "a"))
    for path in (images, archive):
        assert np.array_equal(model.predict(path, fps=10.0).probabilities, expected)
        assert model.features(path, fps=10.0).shape == model.features(network.videos / "test0.mp4").shape
    with pytest.raises(VideoDecodeError, match="images state no frame rate"):
        model.predict(images)
    tar_of(tmp_path / "a")
    options = ["--ckpt_path", str(network.checkpoint), "--json", str(tmp_path / "found.json")]
    main(["classify", str(tmp_path), "--fps", "10", *options])
    videos = json.loads((tmp_path / "found.json").read_text())["videos"]
    assert [video["video"] for video in videos] == [str(tmp_path / name) for name in ("a", "a.tar", "a.zip")]
    assert videos[0]["classes"][0]["probability"] == max(expected)
    with pytest.raises(SystemExit):
        main(["classify", str(images), *options])
    assert "images state no frame rate" in capsys.readouterr().err


def test_which_videos_a_folder_names(tmp_path):
    for name in ("set/a/1.jpg", "set/b/1.jpg", "set/b/deeper/1.jpg", "set/.hidden/1.jpg", "set/c.ZIP", "both/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "both" / "a.mp4").touch()
    assert video_paths(str(tmp_path / "set" / "a")) == [str(tmp_path / "set" / "a")]
    assert video_paths(str(tmp_path / "set")) == [str(tmp_path / "set" / name) for name in ("a", "b", "c.ZIP")]
    assert video_paths(str(tmp_path / "both")) == [str(tmp_path / "both" / "a.mp4")]
    (tmp_path / "links").mkdir()
    for name, target in {"both": "../both", "loop": ".", "set": "../set"}.items():
        (tmp_path / "links" / name).symlink_to(target)
    assert video_paths(str(tmp_path / "links")) == [str(tmp_path / "links" / "both" / "a.mp4")]
    (tmp_path / "links" / "both").unlink()
    assert video_paths(str(tmp_path / "links")) == [str(tmp_path / "links/set" / name) for name in ("a", "b", "c.ZIP")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no videos in the folder; expected files such as .* or folders of images"):
        video_paths(str(tmp_path / "empty"))


def test_attention_and_timeline_take_images(network, images, tmp_path, capsys):
    common = ["--ckpt_path", str(network.checkpoint), "--fps", "10"]
    main(["classify", str(images), *common, "--timeline", str(tmp_path / "timeline")])
    assert f"{images}: " in capsys.readouterr().out
    main(["attention", str(images), *common, "--method", "gradcam", "--layer", "res5", "--output", str(tmp_path)])
    assert len(list(tmp_path.rglob("test0-*"))) >= 4
    with open_timed_frames(str(images), 10.0) as opened:
        assert [seconds for _, seconds in opened.frames] == pytest.approx(np.arange(20) / 10)
    assert opened.duration_seconds == pytest.approx(2)


def test_a_report_shows_the_images_of_an_error(network, images, tmp_path):
    made = load(network.checkpoint).preprocessing
    manifest = images.parent / "manifest.csv"
    manifest.write_text("path,label,split,fps\nother,blue_up,test,\ntest0,blue_up,test,1e1\n")
    error = ConfidentError(str(images), ["blue_up"], "red_still", 0.9, 0.9, start_frame=0, clip=0, crop=0)
    card = {"folder": str(tmp_path), "data": made.as_dict() | {"manifest": str(manifest)}}
    (found,) = error_images([error], card)
    assert found.reason is None or found.reason == ""
    assert found.jpeg.startswith(b"\xff\xd8")
    manifest.unlink()
    (found,) = error_images([error], card)
    assert "images state no frame rate" in found.reason
