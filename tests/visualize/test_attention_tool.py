"""`videoctx attention`, from a checkpoint to files."""

import csv
import json

import av
import numpy as np
import pytest
import torch
import yaml
from matplotlib.image import imread

from tests.each_case import each_case
from tests.numbered import write_video
from tests.small_preprocessing import small_preprocessing
from tests.tiny_set import CLASSES, break_video, make_set
from videoctx.cli import main
from videoctx.models.network_config import build_network

PREPROCESSING = small_preprocessing(short_side_px=32)


def net_config(context: str | None, **arguments) -> dict:
    net = {"depth": 18, "width": 2, "zero_init_residual": False}
    if context:
        net["context"] = {"class_path": f"videoctx.layers.{context}", "init_args": arguments}
        net["context_at"] = {"res3": [1], "res4": [0]}
    return {"class_path": "videoctx.models.ResNet3D", "init_args": net}


def write_checkpoint(path, context: str | None = "NonLocal", changes: dict | None = None, **arguments):
    """Write a checkpoint with random weights, as `fit` writes it."""
    torch.manual_seed(0)
    config = net_config(context, **arguments)
    net = build_network(config, len(CLASSES))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    checkpoint = {
        "epoch": 1,
        "state_dict": {f"net.{name}": tensor for name, tensor in net.state_dict().items()},
        "class_names": CLASSES,
        "net": config,
        "preprocessing": PREPROCESSING.as_dict(),
    }
    torch.save(checkpoint | (changes or {}), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attention")
    make_set(folder, num_videos={"train": 1, "test": 4})
    write_checkpoint(folder / "nl.ckpt")
    write_checkpoint(folder / "gc.ckpt", "GlobalContext", ratio=0.5)
    write_checkpoint(folder / "plain.ckpt", None)
    return folder


def run(*arguments: object) -> None:
    main(["attention", *map(str, arguments)])


@pytest.fixture
def refused(capsys):
    """Run the tool, which fails, and return its one line on stderr."""

    def refused(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(*arguments)
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("videoctx: ")

    return refused


def shown(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_video_and_sheet_of_a_query(folder, tmp_path, capsys):
    run(
        folder / "test0.mp4",
        "--ckpt_path",
        folder / "nl.ckpt",
        "--block",
        "res3.1",
        "--query=40,30,1.0",
        "--output",
        tmp_path,
    )
    line, video, sheet = capsys.readouterr().out.splitlines()
    assert line == "test0.mp4: NonLocal at res3.1, seen from x 40, y 30 in frame 10"
    assert [video, sheet] == [str(tmp_path / f"test0-res3.1{suffix}") for suffix in (".mp4", ".png")]
    assert shown(video).shape == (4, 80, 96, 3)
    assert imread(sheet).shape[1] > 600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test0-res3.1.mp4", "test0-res3.1.png"]


def test_defaults_are_the_last_block_and_the_strongest_query(folder, tmp_path, capsys):
    run(folder / "test0.mp4", "--ckpt_path", folder / "nl.ckpt", "--output", tmp_path)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("test0.mp4: NonLocal at res4.0, seen from x ")
    assert line.endswith(", the position to which it adds most")


def test_global_block_has_one_map(folder, tmp_path, capsys):
    for query in ([], ["--query", "40,30,3f"]):
        run(folder / "test1.mp4", "--ckpt_path", folder / "gc.ckpt", *query, "--output", tmp_path)
        assert capsys.readouterr().out.startswith(
            "test1.mp4: GlobalContext at res4.0, the same map for every position\n"
        )


def test_gradcam_of_a_plain_network(folder, tmp_path, capsys):
    arguments = folder / "test2.mp4", "--ckpt_path", folder / "plain.ckpt", "--method", "gradcam", "--output", tmp_path
    run(*arguments, "--layer", "res4", "--target_class", "red_still")
    assert capsys.readouterr().out.startswith("test2.mp4: Grad-CAM of 'red_still' (")
    assert (tmp_path / "test2-gradcam-res4.png").is_file()
    frames = shown(tmp_path / "test2-gradcam-res4.mp4")
    run(*arguments, "--layer", "res4", "--target_class", "green_down")
    assert (shown(tmp_path / "test2-gradcam-res4.mp4") != frames).any()


def test_uniform_map_is_named_in_the_title_and_in_the_video(folder, tmp_path, capsys):
    """The weights of the map are zero, or those of the classifier."""
    for name, part, note, arguments in (
        ("gc", "context.key", "this block weighs all places alike", ["--block", "res3.1"]),
        ("nl", "context.theta", "this block weighs all places alike", ["--block", "res3.1"]),
        ("plain", "head.", "nothing there raises its logit", ["--method", "gradcam", "--layer", "res4"]),
    ):
        checkpoint = torch.load(folder / f"{name}.ckpt")
        for key, weight in checkpoint["state_dict"].items():
            if part in key:
                weight.zero_()
        torch.save(checkpoint, tmp_path / "zero.ckpt")
        run(folder / "test0.mp4", "--ckpt_path", tmp_path / "zero.ckpt", *arguments, "--output", tmp_path)
        title, video, _ = capsys.readouterr().out.splitlines()
        assert title.endswith(f": {note}"), title
        white = (shown(video)[:, :10].min(axis=-1) > 150).sum(axis=(1, 2))  # the letters of the caption
        assert white.min() > 10, name


def test_video_of_odd_size(folder, tmp_path):
    video = write_video(
        tmp_path / "odd.mkv", num_frames=9, width=81, height=53, codec="ffv1", options={}, pixel_format="bgr0"
    )
    run(video.path, "--ckpt_path", folder / "nl.ckpt", "--output", tmp_path)
    assert shown(tmp_path / "odd-res4.0.mp4").shape == (4, 54, 82, 3)


@each_case(
    ("arguments", "message"),
    [
        (["--block", "res5.9"], "no block 'res5.9' with an attention map; expected one of res3.1, res4.0"),
        (["--query", "400,30,1"], "expected x from 0 to less than 96 and y from 0 to less than 80"),
        (["--query", "40,30,2.0"], "the query is at 2 s; expected frame 0 to 19"),
        (["--query", "here"], "query is 'here'; expected x,y,seconds"),
        (["--method", "gradcam"], "--method gradcam needs --layer"),
        (["--method", "gradcam", "--layer", "res9"], "no layer 'res9'; expected perhaps res"),
        (["--method", "gradcam", "--layer", "head"], "layer head gives (1, 3)"),
        (["--method", "gradcam", "--layer", "res4", "--target_class", "x"], "no class 'x'; expected one of blue_up"),
        (["--method", "gradcam", "--layer", "res4", "--query", "1,1,1"], "has no --query, which is for --method map"),
        (["--layer", "res4"], "--method map has no --layer, which is for --method gradcam"),
        (["--manifest", "x.csv"], "--method map has no --manifest, which is for --analyze"),
        (["--analyze", "--manifest", "x.csv"], "--analyze has no VIDEO, which is for --method map"),
    ],
)
def test_errors_have_one_line(folder, tmp_path, refused, arguments, message):
    line = refused(folder / "test0.mp4", "--ckpt_path", folder / "nl.ckpt", "--output", tmp_path / "out", *arguments)
    assert message in line
    assert not (tmp_path / "out").exists()


def test_network_without_attention(folder, tmp_path, refused):
    for arguments in ([folder / "test0.mp4"], ["--analyze", "--manifest", folder / "manifest.csv"]):
        line = refused(*arguments, "--ckpt_path", folder / "plain.ckpt", "--output", tmp_path)
        assert line.startswith("the network has no block with an attention map; expected --method gradcam")


@each_case(
    ("changes", "message"),
    [
        ({"class_names": None}, "has no class names; `videoctx convert --class_names` adds them"),
        ({"preprocessing": None}, "has no preprocessing, which makes the clips; `videoctx convert --protocol` adds it"),
        ({"net": None}, "has no config of its network"),
        ({"state_dict": {}}, "its weights are those of another network"),
    ],
)
def test_incomplete_checkpoint_is_refused(folder, tmp_path, refused, changes, message):
    path = write_checkpoint(tmp_path / "some.ckpt", changes=changes)
    line = refused(folder / "test0.mp4", "--ckpt_path", path, "--output", tmp_path)
    assert line.startswith(f"{path}: {message}")


def test_checkpoint_without_network_takes_that_of_a_config(folder, tmp_path, capsys):
    path = write_checkpoint(tmp_path / "some.ckpt", changes={"net": None})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": {"net": net_config("NonLocal")}, "data": {}}))
    run(folder / "test0.mp4", "--ckpt_path", path, "-c", tmp_path / "config.yaml", "--output", tmp_path)
    assert "NonLocal at res4.0" in capsys.readouterr().out


def test_no_incomplete_files_are_left(folder, tmp_path, refused, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    arguments = folder / "test0.mp4", "--ckpt_path", folder / "nl.ckpt"
    assert "cannot be written to" in refused(*arguments, "--output", tmp_path / "file")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("videoctx.inference.explanation.write_contact_sheet", full)
    assert "No space left" in refused(*arguments, "--output", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


# Analysis ---------------------------------------------------------------------------------------------------------


def analyzed(folder, output, *arguments) -> dict:
    run(
        "--analyze",
        "--ckpt_path",
        folder / "nl.ckpt",
        "--manifest",
        folder / "manifest.csv",
        "--output",
        output,
        *arguments,
    )
    return json.loads((output / "attention.json").read_text())


def test_analysis_of_a_split(folder, tmp_path, capsys):
    result = analyzed(folder, tmp_path)
    assert (result["split"], result["num_videos"], list(result["blocks"])) == ("test", 4, ["res3.1", "res4.0"])
    rows = list(csv.DictReader((tmp_path / "attention.csv").open()))
    assert len(rows) == 8
    for name, block in result["blocks"].items():
        assert block["kind"] == "NonLocal"
        for measure in ("input", "output", "attention", "divergence"):
            values = np.array([float(row[measure]) for row in rows if row["block"] == name])
            assert block["mean"][measure] == pytest.approx(values.mean())
            assert block["standard_error"][measure] == pytest.approx(values.std(ddof=1) / 2)
    assert 0 < result["blocks"]["res3.1"]["mean"]["output"] < 1
    assert "res3.1" in capsys.readouterr().out


def test_analysis_names_blocks_with_uniform_maps(folder, tmp_path, capsys):
    checkpoint = torch.load(folder / "nl.ckpt")
    for key, weight in checkpoint["state_dict"].items():
        if "res3.1" in key and "theta" in key:
            weight.zero_()
    torch.save(checkpoint, tmp_path / "zero.ckpt")
    result = analyzed(folder, tmp_path / "out", "--num_videos", "2", "--ckpt_path", tmp_path / "zero.ckpt")
    assert "res3.1: 100.0% of the maps weigh all places alike" in capsys.readouterr().out
    assert [block["mean"]["uniform"] for block in result["blocks"].values()] == [1, 0]


def test_analysis_of_some_videos_of_another_split(folder, tmp_path):
    assert analyzed(folder, tmp_path, "--split", "train")["num_videos"] == 1
    assert analyzed(folder, tmp_path, "--num_videos", "2")["num_videos"] == 2
    block = analyzed(folder, tmp_path, "--num_videos", "1")["blocks"]["res3.1"]
    assert block["standard_error"]["input"] is None


def test_unreadable_video_is_named_and_the_others_analyzed(folder, tmp_path, capsys):
    make_set(tmp_path, num_videos={"test": 2})
    break_video(tmp_path / "test0.mp4", "text")
    arguments = [
        "--analyze",
        "--ckpt_path",
        folder / "nl.ckpt",
        "--manifest",
        tmp_path / "manifest.csv",
        "--output",
        tmp_path,
    ]
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 1
    assert f"left out: {tmp_path / 'test0.mp4'}: " in capsys.readouterr().err
    assert json.loads((tmp_path / "attention.json").read_text())["num_videos"] == 1
    break_video(tmp_path / "test1.mp4", "missing")
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    assert "none of 2 videos can be read" in capsys.readouterr().err


def test_failed_analysis_leaves_no_folder(folder, tmp_path, refused):
    arguments = "--analyze", "--ckpt_path", folder / "nl.ckpt", "--manifest", folder / "manifest.csv"
    assert "no row has split 'val'" in refused(*arguments, "--split", "val", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written to" in refused(*arguments, "--output", tmp_path / "file")


def test_too_few_queries(folder, tmp_path, refused):
    line = refused(
        "--analyze", "--ckpt_path", folder / "nl.ckpt", "--manifest", "x", "--output", tmp_path, "--max_queries", "1"
    )
    assert line == "max_queries is 1; expected 2 or more, as pairs are compared"
