"""`validate`, `test` and `predict` run a fast copy of the network; during training, the network itself is validated."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader

from tests.tasks.synthetic_runs import CLASSES, batch_of, synthetic_clips, trainer
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.run_folders import SCORES_FILE
from videoctx.evaluation.scores import read_scores
from videoctx.layers import NonLocal
from videoctx.models import ResNet3D
from videoctx.models.block_compilation import compiler_problem
from videoctx.tasks import VideoClassifier

EVALUATIONS = ("validate", "test", "predict")
CLIPS = batch_of(6, seed=50)


class ViewingBlock(nn.Module):
    """A context block of another project, for contiguous features alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1), 0.5))

    def forward(self, x):
        return (x.view(*x.shape[:2], -1) * self.scale).view(x.shape)


def network(num_classes: int, **arguments) -> ResNet3D:
    torch.manual_seed(0)
    net = ResNet3D(num_classes, depth=18, width=4, dropout=0.0, zero_init_residual=False, **arguments)
    nn.init.normal_(net.head.weight, std=0.3)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm3d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return net


with_other_block = partial(network, context=ViewingBlock, context_at={"res3": [0]})


class Watch(Callback):
    """Keeps the inputs of the first convolution, the calls of its norm, and the names in the task's state."""

    def __init__(self, net: nn.Module) -> None:
        self.inputs, self.num_norms, self.names = [], 0, set()
        net.stem.conv.register_forward_pre_hook(lambda _, inputs: self.inputs.append(inputs[0]))
        net.stem.norm.register_forward_pre_hook(lambda *_: self.count())

    def count(self):
        self.num_norms += 1

    def on_test_batch_end(self, trainer, pl_module, *_):  # noqa: ARG002
        self.names |= set(pl_module.state_dict())


def run(folder, model, work="test", *callbacks, **arguments) -> Watch:
    watch = Watch(model.net)
    runs = trainer(folder, watch, *callbacks, default_root_dir=folder, **arguments)
    getattr(runs, work)(model, DataLoader([CLIPS], batch_size=None))
    return watch


def scores_of(folder) -> torch.Tensor:
    return torch.tensor(read_scores(folder / SCORES_FILE).scores).float()


def test_a_fast_copy_evaluates(tmp_path):
    for work in EVALUATIONS:
        model = VideoClassifier(CLASSES, network, channels_last=False)
        names = set(model.state_dict())
        watch = run(tmp_path, model, work)
        (clips,) = watch.inputs
        assert clips.is_contiguous(memory_format=torch.channels_last_3d), work
        assert watch.num_norms == 0, work  # the norm is folded into the weights
        assert watch.names == (names if work == "test" else set())
        assert model.evaluation_forward is None, work
        model(CLIPS.clips)
        assert watch.num_norms == 1, work
        assert watch.inputs[1].is_contiguous(), work


@pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"), [("32-true", torch.float32, 2e-3), ("bf16-mixed", torch.bfloat16, 0.1)]
)
def test_it_gives_the_scores_of_the_network(tmp_path, precision, dtype, tolerance):
    watch = run(tmp_path, VideoClassifier(CLASSES, network), precision=precision)
    assert [clips.dtype for clips in watch.inputs] == [dtype]
    with torch.no_grad():
        expected = network(len(CLASSES)).eval()(CLIPS.clips).log_softmax(dim=1)
    assert expected.std() > 0.3
    torch.testing.assert_close(scores_of(tmp_path), expected, rtol=0, atol=tolerance)


def test_a_network_with_layers_of_other_projects_evaluates_itself(tmp_path):
    for work in EVALUATIONS:
        assert run(tmp_path, VideoClassifier(CLASSES, with_other_block), work).num_norms == 1, work


def test_in_training_the_network_validates_itself(tmp_path):
    model = VideoClassifier(CLASSES, network)
    run(tmp_path, model)  # leaves no copy behind
    watch = Watch(model.net)
    trainer(tmp_path).fit(model, datamodule=synthetic_clips(num_batches=3))
    assert watch.num_norms == 3 + 1


class Silence(Callback):
    """Puts other weights in for the time of a test, as averages of weights are put in."""

    def on_test_epoch_start(self, trainer, pl_module):  # noqa: ARG002
        nn.init.zeros_(pl_module.net.head.weight)
        nn.init.zeros_(pl_module.net.head.bias)


def test_the_weights_that_a_callback_has_put_in_are_evaluated(tmp_path):
    run(tmp_path, VideoClassifier(CLASSES, network), "test", Silence())
    torch.testing.assert_close(scores_of(tmp_path).exp(), torch.full((6, 3), 1 / 3), rtol=0, atol=1e-3)


@pytest.mark.slow
def test_compiled(tmp_path):
    if problem := compiler_problem(torch.device("cpu")):
        pytest.skip(f"torch.compile fails here: {problem}")
    counters = torch._dynamo.utils.counters["stats"]
    model = VideoClassifier(CLASSES, partial(network, temporal_kernels="c2d"), compiled=True)
    before = counters["unique_graphs"]
    run(tmp_path, model)
    assert counters["unique_graphs"] > before + 1  # the network, not only what is compiled to see whether that works


def test_without_a_compiler_the_copy_is_not_compiled(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nlong explanation")

    run(tmp_path, VideoClassifier(CLASSES, network), "test")
    expected = scores_of(tmp_path)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
    run(tmp_path, VideoClassifier(CLASSES, network, compiled=True), "test")
    torch.testing.assert_close(scores_of(tmp_path), expected)
    line = (
        "model.compiled: torch.compile fails here, so nothing is compiled: InvalidCxxCompiler: No working C++ compiler"
    )
    assert [record.message for record in caplog.records if "compile" in record.message] == [f"{line} found"]


@pytest.mark.parametrize(("make_net", "fast"), [(with_other_block, {"32-true": torch.float32}), (network, {})])
def test_compiled_is_refused_where_the_network_evaluates_itself(tmp_path, make_net, fast, monkeypatch):
    monkeypatch.setattr(
        "videoctx.tasks.evaluation_network.FAST_PRECISIONS", fast
    )  # 16-mixed, which has none, is for GPUs
    with pytest.raises(ValueError, match=r"compiled requires .*; got ResNet3D with 32-true"):
        run(tmp_path, VideoClassifier(CLASSES, make_net, compiled=True))


# Layout in training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make_net", "last"), [(network, True), (with_other_block, False)])
def test_channels_last_by_default_where_all_layers_are_known_to_take_it(make_net, last):
    model = VideoClassifier(CLASSES, make_net)
    watch = Watch(model.net)
    model(CLIPS.clips)
    for tensor in (*watch.inputs, model.net.stem.conv.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last_3d) == last


def of_frames_side_by_side(num_classes: int) -> nn.Module:
    layers = (nn.Conv3d(3, 4, 3), nn.Flatten(1, 2), nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes))


def test_2d_convolutions_keep_their_layout(tmp_path):
    model = VideoClassifier(CLASSES, of_frames_side_by_side).eval()
    assert model.net[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert model.net[2].weight.is_contiguous()
    with torch.no_grad():
        expected = model(CLIPS.clips).log_softmax(dim=1)
    trainer(tmp_path, default_root_dir=tmp_path).test(model, DataLoader([CLIPS], batch_size=None))
    torch.testing.assert_close(scores_of(tmp_path), expected, rtol=0, atol=2e-3)


# bfloat16 on a CPU ------------------------------------------------------------------------------------------------


def test_training_in_bf16_is_refused_where_gradients_would_be_incorrect(tmp_path):
    model = VideoClassifier(CLASSES, partial(network, temporal_kernels="i3d333"))  # 2 of the 4 frames reach res3
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with pytest.raises(
        ValueError, match=r"is bf16-mixed, .* incorrect gradients of \d+ convolutions with clips of 4 frames"
    ):
        trainer(tmp_path, precision="bf16-mixed").fit(model, datamodule=synthetic_clips())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_training_in_bf16_runs_where_gradients_are_correct(tmp_path):
    model = VideoClassifier(CLASSES, partial(network, temporal_kernels="c2d"))
    trains = trainer(tmp_path, precision="bf16-mixed")
    trains.fit(model, datamodule=synthetic_clips(num_batches=3))
    assert trains.global_step == 3
    assert not any(layer._forward_hooks for layer in model.net.modules())


@pytest.mark.parametrize("part", ["theta", "phi"])
def test_nan_in_a_context_block_leaves_no_video_with_a_prediction(part, tmp_path):
    """BatchNorm at the end of a new block multiplies by zero, and the fused attention of a CPU drops NaN."""
    net = network(len(CLASSES), context=NonLocal, context_at={"res3": [0]})
    nn.init.constant_(getattr(net.res3[0].after_add.context, part).weight, torch.nan)
    trainer(tmp_path, default_root_dir=tmp_path).test(VideoClassifier(CLASSES, net), synthetic_clips(), verbose=False)
    result = EvaluationResult(read_scores(tmp_path / SCORES_FILE))
    assert result.num_undecided == 6
    assert result.summary()["video_top1"] == 0
