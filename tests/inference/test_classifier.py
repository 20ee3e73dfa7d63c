"""`load` returns the trained network of a checkpoint, which gets the same clips as in the test."""

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from tests.http_server import FileServer
from tests.small_preprocessing import small_preprocessing
from tests.tiny_set import CLASSES
from videoctx.data.datamodule import VideoDataModule
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.dataset import DecodedBatch, SampleIndex, VideoDataset
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.settings import ClipSettings, TestSettings
from videoctx.inference.classifier import Classifier, load


def test_loaded_network_is_the_trained_one(place):
    trained = load(place.last)
    stored = torch.load(place.last, weights_only=True)["state_dict"]
    weights = trained.net.state_dict()
    assert {f"net.{name}" for name in weights} == set(stored)
    assert all(torch.equal(weights[name.removeprefix("net.")], tensor) for name, tensor in stored.items())
    assert trained.class_names == CLASSES
    assert trained.net_config["class_path"] == "videoctx.models.ResNet3D"
    assert not trained.net.training
    assert not trained.multi_label


def test_clips_are_those_of_the_test(place):
    preprocessing = load(place.last).preprocessing
    data = yaml.safe_load(place.config.read_text())["data"]
    for group, name in (
        ("clips", "clip_len"),
        ("clips", "frame_interval"),
        ("test", "short_side_px"),
        ("test", "crop_size_px"),
    ):
        assert getattr(preprocessing, name) == data[group][name]
    module = VideoDataModule(data["manifest"], clips=ClipSettings(**data["clips"]), test=TestSettings(**data["test"]))
    expected = module.view_transforms["test"]
    made = preprocessing.transform()
    assert (made.crop_size_px, made.resizing.short_side_px, made.num_crops) == (28, 32, 3)
    assert (made.normalize.mean, made.normalize.std) == (expected.normalize.mean, expected.normalize.std)
    test_dataset = module.test_dataloader().loader.dataset
    network_dataset = VideoDataset(test_dataset.records, sampler=preprocessing.sampler(), seed=0)
    theirs, ours = (
        transform(DecodedBatch([dataset[SampleIndex(0)]]), num_clips=2).clips[:]
        for transform, dataset in ((expected, test_dataset), (made, network_dataset))
    )
    assert theirs.shape == (6, 3, 4, 28, 28)
    assert torch.equal(theirs, ours)


@pytest.mark.parametrize(("multi_label", "expected"), [(False, [0.8, 0.2]), (True, [0.8, 0.5])])
def test_probabilities_are_softmax_or_sigmoid(multi_label, expected):
    trained = Classifier(None, ["a", "b"], None, None, multi_label)
    logits = torch.tensor([[math.log(4), 0.0]])
    torch.testing.assert_close(trained.probabilities(logits), torch.tensor([expected]))


def test_for_evaluation_changes_only_rounding(place):
    trained = load(place.last)
    evaluated, clips = trained.for_evaluation(), torch.randn(2, 3, 4, 28, 28)
    assert not [layer for layer in evaluated.net.modules() if isinstance(layer, torch.nn.BatchNorm3d)]
    assert replace(evaluated, net=None) == replace(trained, net=None)
    with torch.no_grad():
        torch.testing.assert_close(evaluated.net(clips), trained.net(clips), rtol=1e-4, atol=1e-4)


def test_for_evaluation_leaves_other_projects_networks_unchanged():
    class Other(torch.nn.Linear):
        pass

    trained = Classifier(Other(1, 2), ["a", "b"], None, None, False)
    assert trained.for_evaluation() is trained


def test_preprocessing_is_the_same_after_saving_and_loading(tmp_path):
    made = small_preprocessing(
        clip_len=8,
        frame_interval=2,
        short_videos="refuse",
        protocol="torchvision",
        fixed_size_px=(128, 171),
        crop_size_px=112,
        views=(5, 1),
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
    )
    torch.save(made.as_dict(), tmp_path / "stored")
    assert Preprocessing.from_dict(torch.load(tmp_path / "stored", weights_only=True)) == made
    with pytest.raises(ValueError, match="the preprocessing differs in mean, size; expected antialias, "):
        Preprocessing.from_dict({name: value for name, value in made.as_dict().items() if name != "mean"} | {"size": 1})
    with pytest.raises(
        ValueError, match=r"3 crops per clip; expected 1 with data\.test\.crops middle_rounded, or even"
    ):
        made.transform(num_crops=3)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
def test_files_that_are_no_checkpoints_are_refused(tmp_path, content):
    (tmp_path / "file.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"file.ckpt: (not|a truncated)"):
        load(tmp_path / "file.ckpt")
    with pytest.raises(ValueError, match=r"missing.ckpt: no such checkpoint"):
        load(tmp_path / "missing.ckpt")


def test_net_argument_loads_another_projects_network(tmp_path):
    class Linear(torch.nn.Module):
        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.head = torch.nn.Linear(2, num_classes)

    net = Linear(3)
    stored = {
        "state_dict": {f"net.{name}": tensor for name, tensor in net.state_dict().items()},
        "class_names": CLASSES,
        "net": {"class_path": "somewhere.Linear", "init_args": {}},
        "preprocessing": None,
    }
    preprocessing = small_preprocessing(
        clip_len=1, frame_interval=1, short_side_px=8, crop_size_px=8, views=(1, 1), mean=(0.0,) * 3, std=(1.0,) * 3
    )
    torch.save(stored | {"preprocessing": preprocessing.as_dict()}, tmp_path / "some.ckpt")
    trained = load(tmp_path / "some.ckpt", net=Linear)
    assert torch.equal(trained.net.head.weight, net.head.weight)
    with pytest.raises(ValueError, match=r"some.ckpt: somewhere.Linear is no network or layer of videoctx"):
        load(tmp_path / "some.ckpt")
    with pytest.raises(ValueError, match=r"some.ckpt: its weights are those of another network: 2 differ"):
        load(tmp_path / "some.ckpt", net=lambda _: Linear(4))


# Predicting -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(network):
    return load(network.checkpoint)


def test_a_prediction_lists_classes_best_first(model, network):
    video = network.videos / "test0.mp4"
    prediction = model.predict(video, top=2)
    assert len(prediction) == 2
    (best, first), (_, second) = prediction
    assert first == prediction.probabilities.max() > second
    assert prediction.probabilities.sum() == pytest.approx(1)
    assert best == CLASSES[prediction.probabilities.argmax()]
    assert repr(prediction).splitlines()[:2] == [str(video), f"  {first:6.1%}  {best}"]
    assert not np.array_equal(model.predict(video, views="1x1").probabilities, prediction.probabilities)


def test_a_segment_is_classified_alone(model, network):
    """20 frames at 10 per second."""
    video = network.videos / "test0.mp4"
    whole, first, last = (model.predict(video, segment=ends).probabilities for ends in ((0, 2), (0, 1), (1, None)))
    assert np.array_equal(whole, model.predict(video).probabilities)
    assert len({values.tobytes() for values in (whole, first, last)}) == 3
    with pytest.raises(VideoDecodeError, match=r"no frame from 2 s to 3 s: the video lasts 2\.00 s"):
        model.predict(video, segment=(2, 3))


def test_a_list_names_failures_and_a_single_broken_video_raises(model, network, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(VideoDecodeError, match=r"broken.mp4: "):
        model.predict(broken)
    whole = network.videos / "test0.mp4"
    predictions = model.predict([whole, broken, tmp_path / "missing.mp4", network.videos])
    assert [bool(prediction) for prediction in predictions] == [True, False, False, True, True, True]
    assert np.array_equal(predictions[0].probabilities, predictions[3].probabilities)
    assert list(predictions[1]) == []
    assert f"{broken}\n  failed: " in repr(predictions)
    assert [prediction.path for prediction in model.predict(network.videos)] == [
        prediction.path for prediction in predictions[3:]
    ]
    with pytest.raises(ValueError, match="no such file or folder"):
        model.predict(tmp_path / "missing.mp4")
    with pytest.raises(ValueError, match="views are '3'"):
        model.predict(whole, views="3")


def test_a_network_that_gives_nan_is_a_failure(network):
    model = load(network.checkpoint)
    with torch.no_grad():
        model.net.head.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="the network gives no finite numbers"):
        model.predict(network.videos / "test0.mp4")
    assert {prediction.failure for prediction in model.predict(network.videos)} == {
        "the network gives no finite numbers for it"
    }


def test_features_are_the_input_of_the_classifier(model, network):
    video = network.videos / "test0.mp4"
    features = model.features(video)
    assert features.shape == (6, model.net.head.in_features)  # views 2x3
    logits = features @ model.net.head.weight.T + model.net.head.bias
    expected = model.probabilities(logits).mean(dim=0).detach().numpy()
    np.testing.assert_allclose(expected, model.predict(video).probabilities, atol=1e-3)
    assert model.features(video, views=(1, 1)).shape[0] == 1
    (features.requires_grad_() ** 2).sum().backward()  # not an inference tensor


def test_changed_weights_change_predictions(network):
    model, video = load(network.checkpoint), network.videos / "test0.mp4"
    assert model.for_evaluation() is model.for_evaluation()
    assert np.array_equal(model.predict(video).probabilities, model.for_evaluation().predict(video).probabilities)
    with torch.no_grad():
        model.net.head.weight.zero_()
        model.net.head.bias.zero_()
    np.testing.assert_allclose(model.predict(video).probabilities, 1 / len(CLASSES), atol=1e-3)


def test_to_returns_the_classifier(model):
    assert model.to("cpu") is model
    evaluated = load_copy(model).for_evaluation()
    assert evaluated.to("meta") is evaluated
    assert evaluated.device.type == evaluated.net.device.type == "meta"
    assert repr(model) == "Classifier(ResNet3D, 3 classes, 4x2 clips, 2x3 views, cpu)"


def load_copy(model):
    return replace(model, net=deepcopy(model.net))


def test_a_checkpoint_is_loaded_from_a_url(network):
    with FileServer({"best.ckpt": network.checkpoint.read_bytes()}) as server:
        model = load(server.url("best.ckpt"))
        with pytest.raises(ValueError, match=r"nothing.ckpt: "):
            load(server.url("nothing.ckpt"))
    assert model.class_names == CLASSES
