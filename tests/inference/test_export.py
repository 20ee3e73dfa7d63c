"""Exported files give the probabilities of the network in other programs."""

import json
import sys

import pytest
import torch

from tests.each_case import each_case
from tests.inference.conftest import write_checkpoint
from tests.small_preprocessing import small_preprocessing
from tests.tiny_set import CLASSES
from videoctx.cli import main
from videoctx.data.sampling.protocols import PROTOCOLS
from videoctx.inference import export as export_module
from videoctx.inference.classifier import load
from videoctx.inference.deployable import DeployableNetwork, _filters
from videoctx.inference.export import Agreement, ExportError, export
from videoctx.inference.exported_file import read, write
from videoctx.inference.resizing_matrices import resizing_matrices
from videoctx.visualize.clip_on_video import read_clip


def torch_export(path, frames):
    extra_files = {"videoctx.json": ""}
    network = torch.export.load(path, extra_files=extra_files).module()
    return network(frames), json.loads(extra_files["videoctx.json"])


def onnx(path, frames):
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    (made,) = session.run(["probabilities"], {"frames": frames.numpy()})
    return torch.from_numpy(made), json.loads(session.get_modelmeta().custom_metadata_map["videoctx.json"])


FORMATS = {"torch-export": (".pt2", torch_export), "onnx": (".onnx", onnx)}


# Tracing is slow: one network per format is quick enough for `make test`.
@pytest.mark.parametrize(
    ("context", "format"),
    [
        ("NonLocal", "torch-export"),
        (None, "onnx"),
        *(
            pytest.param(context, format, marks=pytest.mark.slow)
            for context in (None, "GlobalContext", "NonLocal")
            for format in FORMATS
            if (context, format) not in (("NonLocal", "torch-export"), (None, "onnx"))
        ),
    ],
)
def test_a_file_gives_the_probabilities_of_the_test(network, tmp_path, context, format, capsys):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    suffix, run = FORMATS[format]
    checkpoint = write_checkpoint(tmp_path / "some.ckpt", context)
    output, video = tmp_path / f"network{suffix}", network.videos / "test0.mp4"
    main(["export", f"--ckpt_path={checkpoint}", f"--format={format}", f"--output={output}", f"--video={video}"])
    assert "5 clips, one of them real" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([output.name, "some.ckpt"])

    trained = load(checkpoint)
    clips = [read_clip(str(network.videos / f"test{index}.mp4"), trained.preprocessing) for index in range(3)]
    frames = torch.stack([torch.from_numpy(clip.frames) for clip in clips])
    with torch.no_grad():
        expected = trained.probabilities(trained.net(torch.cat([clip.input for clip in clips])))
    assert expected.max() < 0.999  # else nothing would be compared
    for size in (1, 3):
        made, metadata = run(output, frames[:size])
        torch.testing.assert_close(made.detach(), expected[:size], atol=5e-3, rtol=0)
    assert metadata["class_names"] == CLASSES
    assert metadata["input"]["shape"] == [None, 4, None, None, 3]
    upright = torch.randint(256, (2, 4, 71, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = export_module._tested(trained, upright)
        torch.testing.assert_close(run(output, upright)[0], expected, atol=5e-3, rtol=0)
    assert metadata["preprocessing"] == trained.preprocessing.as_dict()


@each_case("protocol", PROTOCOLS)
def test_matrices_of_any_size_are_those_of_torch(protocol):
    """Those of one size are PyTorch's own results for unit vectors."""
    for size in ((80, 96), (90, 41), (40, 64), (240, 320), (20, 31), (360, 202), (41, 41)):
        for crop_px, short_side_px in ((32, 40), (112, 128), (40, 40)):
            made = small_preprocessing(
                protocol=protocol, crop_size_px=crop_px, short_side_px=short_side_px, views=(1, 1)
            )
            found = resizing_matrices(torch.zeros(1, 1, *size, 3), made)
            for ours, theirs in zip(found, _filters(made, size), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_a_file_names_the_sizes_that_it_takes(tmp_path):
    trained = load(write_checkpoint(tmp_path / "some.ckpt"))
    metadata = export_module._metadata(trained, (40, 48)) | {"class_names": CLASSES}
    net = torch.nn.Flatten()
    frames = torch.zeros(2, 4, 40, 48, 3, dtype=torch.uint8)
    write(tmp_path / "some.pt2", net, frames, format="torch-export", metadata=metadata)
    run, _ = read(tmp_path / "some.pt2", format="torch-export")
    assert run(frames[:1]).shape == (1, 4 * 40 * 48 * 3)
    for other, line in (
        (
            frames[:, :2],
            r"frames are \(2, 2, 40, 48, 3\) uint8; expected \(any, 4, 40, 48, 3\) uint8, of layout B, T, H, W",
        ),
        (frames.float(), r"frames are \(2, 4, 40, 48, 3\) float32; expected"),
        (frames[0], r"frames are \(4, 40, 48, 3\) uint8; expected"),
        (frames[:0], r"frames are \(0, 4, 40, 48, 3\) uint8; expected"),
    ):
        with pytest.raises(ValueError, match=line):
            run(other)
    assert export_module._metadata(trained, None)["input"]["shape"] == [None, 4, None, None, 3]


@pytest.mark.parametrize("protocol", ["videoctx", "nonlocal", "pyslowfast", "mmaction2", "torchvision"])
@pytest.mark.parametrize("size", [(80, 96), (90, 41), (40, 64)])
def test_matrices_resize_and_crop_as_the_test_does(tmp_path, protocol, size):
    checkpoint = write_checkpoint(tmp_path / "some.ckpt", protocol=protocol, views=(1, 1))
    trained = load(checkpoint)
    made = []
    trained.net.register_forward_pre_hook(lambda _, inputs: made.append(inputs[0]))  # the copy has it too
    deployable = DeployableNetwork(trained, frame_size_px=size)
    frames = torch.randint(256, (2, 4, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        export_module._tested(trained, frames)
        deployable(frames)
    expected, ours = made
    gray_levels = (ours - expected).abs() * 255 * 0.229
    assert gray_levels.max() < 1.1
    assert (gray_levels > 0.1).float().mean() < 0.01  # nowhere, with the kernels of x86-64


def test_multi_label_networks_are_exported(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "some.ckpt", changes={"multi_label": True})
    trained = load(checkpoint)
    export(trained, tmp_path / "some.pt2", format="torch-export", frame_size_px=(40, 48))
    run, metadata = read(tmp_path / "some.pt2", format="torch-export")
    frames = torch.zeros(1, 4, 40, 48, 3, dtype=torch.uint8)
    black = (-torch.tensor(trained.preprocessing.mean) / torch.tensor(trained.preprocessing.std))[:, None, None, None]
    with torch.no_grad():
        torch.testing.assert_close(run(frames), trained.net(black.expand(1, 3, 4, 32, 32)).sigmoid())
    assert metadata["multi_label"] is True


def test_a_file_that_disagrees_is_not_written(tmp_path, monkeypatch):
    trained = load(write_checkpoint(tmp_path / "some.ckpt"))
    monkeypatch.setattr(export_module, "FILE_TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=r"not written: a probability differs by .* expected at most -1"):
        export(trained, tmp_path / "some.pt2", format="torch-export", frame_size_px=(40, 48))
    monkeypatch.undo()
    for found, line in (
        (Agreement(float("nan"), 0.0, 3), "differs by nan from that with the network; expected at most 0.0001"),
        (Agreement(0.0, 0.02, 3), "differs by 0.02 from that with the preprocessing of the test; expected at most"),
    ):
        with pytest.raises(ExportError, match=line):
            export_module._check(found)
    assert [path.name for path in tmp_path.iterdir()] == ["some.ckpt"]


def test_a_network_that_cannot_be_exported_is_an_error(tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3, 4)) if x.sum() > 0 else x.amax((2, 3, 4))

    trained = load(write_checkpoint(tmp_path / "some.ckpt"))
    object.__setattr__(trained, "net", Branching())
    with pytest.raises(ExportError, match="torch-export does not take this network: "):
        export(trained, tmp_path / "some.pt2", format="torch-export", frame_size_px=(40, 48))
    assert [path.name for path in tmp_path.iterdir()] == ["some.ckpt"]


def test_errors_are_one_line(network, tmp_path, refused):
    def output(*arguments):
        return refused("export", "--ckpt_path", network.checkpoint, "--format", "torch-export", *arguments)

    assert "expected a name that ends in .pt2" in output("--output", tmp_path / "a.onnx")
    assert "there is no folder" in output("--output", tmp_path / "no" / "a.pt2")
    assert "expected height x width" in output("--output", tmp_path / "a.pt2", "--frame_size", "big")
    video = network.videos / "test0.mp4"
    assert "has 80x96; expected the same" in output(
        "--output", tmp_path / "a.pt2", "--frame_size", "96x80", "--video", video
    )
    assert not list(tmp_path.iterdir())


def test_missing_onnx_is_an_error_that_names_the_extra(network, tmp_path, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    line = refused(
        "export", "--ckpt_path", network.checkpoint, "--format", "onnx", "--output", tmp_path / "network.onnx"
    )
    assert line == "format is 'onnx', but onnx is not installed; expected videoctx[onnx]"
