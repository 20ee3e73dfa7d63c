"""Training with compiled blocks: the numbers and checkpoints of a run without, whatever else takes part.

Graphs are traced as torch.compile does, and run without a C++ compiler (`aot_eager`), except in the slow tests.
"""

import logging
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch._dynamo.utils import counters

from tests.tasks.synthetic_runs import classifier, small_resnet, synthetic_clips, trainer
from videoctx.layers import GlobalContext
from videoctx.models import ResNet3D
from videoctx.models.block_compilation import compile_blocks, compiler_problem, use_compiled_code
from videoctx.models.residual_blocks import ResidualBlock
from videoctx.tasks import EMA, FrozenBatchNorm, PreciseBatchNorm


@pytest.fixture
def quick_compiler(monkeypatch):
    """Trace graphs, and run them without compiling them further."""
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    yield
    torch._dynamo.reset()


def two_blocks(num_classes: int) -> nn.Module:
    """Two of the eight blocks of a ResNet-18, of one shape, so that little is traced."""
    context = partial(GlobalContext, ratio=0.5)
    net = small_resnet(num_classes, context=context, context_at={"res2": [1]})
    return nn.Sequential(net.stem, net.res2, net.average, nn.Flatten(), nn.Linear(4, num_classes))


class Graphs(Callback):
    """Counts the graphs that were compiled before and during a validation, and keeps the losses."""

    def __init__(self):
        self.before, self.during, self.losses = [], [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        self.losses.append(outputs["loss"].item())

    def on_validation_start(self, *_):
        self.before.append(counters["stats"]["unique_graphs"])

    def on_validation_end(self, *_):
        self.during.append(counters["stats"]["unique_graphs"] - self.before[-1])


def train(folder, *, net=two_blocks, callbacks=(), ckpt_path=None, compiled_blocks=False, freeze=(), **arguments):
    seen = Graphs()
    model = classifier(net, compiled_blocks=compiled_blocks, freeze=freeze)
    run = trainer(folder, seen, *callbacks, **arguments)
    run.fit(model, datamodule=synthetic_clips(), ckpt_path=ckpt_path, weights_only=True)
    return seen, torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def assert_close(found, expected):
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.usefixtures("quick_compiler")
def test_a_run_has_the_losses_and_the_checkpoint_of_one_that_is_not_compiled(tmp_path):
    plain, expected = train(tmp_path, max_epochs=2)
    assert plain.before[-1] == 0
    compiled, found = train(tmp_path, max_epochs=2, compiled_blocks=True)
    assert compiled.before[0] > 0
    assert compiled.during == [0, 0]
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-4)
    assert_close(found, expected)


@pytest.mark.usefixtures("quick_compiler")
def test_a_run_resumes_with_and_without_compiled_blocks(tmp_path):
    whole, expected = train(tmp_path, max_epochs=2)
    for before, after in ((True, False), (False, True)):
        train(tmp_path, max_steps=3, compiled_blocks=before)
        rest, found = train(tmp_path, max_epochs=2, ckpt_path=tmp_path / "last.ckpt", compiled_blocks=after)
        assert rest.losses == pytest.approx(whole.losses[3:], rel=1e-4), (before, after)
        assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiler")
def test_frozen_modules_are_the_same(tmp_path):
    for freeze in (["stem", "res2"], ["backbone"]):
        (plain, expected), (compiled, found) = (
            train(tmp_path, net=small_resnet, compiled_blocks=compiled, freeze=freeze) for compiled in (False, True)
        )
        assert compiled.losses == pytest.approx(plain.losses, rel=1e-4)
        assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiler")
def test_averages_statistics_and_checkpointed_activations_are_the_same(tmp_path):
    net = partial(small_resnet, activation_checkpointing=["res2"])
    ends = []
    for compiled_blocks in (False, True):
        callbacks = [EMA(decay=0.7), PreciseBatchNorm(num_batches=2), FrozenBatchNorm(except_in=["res2", "res5"])]
        seen, state = train(tmp_path, net=net, callbacks=callbacks, compiled_blocks=compiled_blocks)
        ends.append((seen.losses, state))
    (losses, expected), (found_losses, found) = ends
    assert found_losses == pytest.approx(losses, rel=1e-4)
    assert_close(found, expected)


@pytest.mark.usefixtures("quick_compiler")
def test_gradients_in_bfloat16_are_checked_on_blocks_as_they_are(tmp_path):
    """The check looks at the layers, whose hooks must not be compiled into the blocks."""
    with pytest.raises(ValueError, match="in which torch on a CPU computes incorrect gradients"):
        train(tmp_path, net=partial(small_resnet, temporal_kernels="r3d"), compiled_blocks=True, precision="bf16-mixed")


def test_without_a_compiler_a_line_tells_why_and_the_run_continues(tmp_path, monkeypatch, caplog):
    plain, expected = train(tmp_path)

    def fail(*_, **__):
        raise RuntimeError("GPUTooOldForTriton: found Tesla P4\nlong explanation")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
    with caplog.at_level(logging.WARNING):
        seen, found = train(tmp_path, compiled_blocks=True)
    line = "model.compiled_blocks: torch.compile fails here, so nothing is compiled: GPUTooOldForTriton: found Tesla P4"
    assert [record.message for record in caplog.records if "compile" in record.message] == [line]
    assert seen.losses == plain.losses
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.usefixtures("quick_compiler")
def test_the_compiled_code_can_be_left_aside():
    net = compile_blocks(two_blocks(3))
    clips = torch.randn(2, 3, 4, 32, 32)
    use_compiled_code(False)
    try:
        expected = net(clips)
        assert counters["stats"]["unique_graphs"] == 0
    finally:
        use_compiled_code(True)
    torch.testing.assert_close(net(clips), expected)
    assert counters["stats"]["unique_graphs"] > 0


@pytest.mark.slow
def test_the_compiler_gives_the_loss_and_the_gradients_of_the_network():
    """With torch's real compiler, a narrow I3D-R50 with context blocks in both memory formats."""
    if problem := compiler_problem(torch.device("cpu")):
        pytest.skip(f"torch.compile fails here: {problem}")
    torch.manual_seed(0)
    clips, labels = torch.randn(2, 3, 4, 32, 32), torch.tensor([1, 4])
    for memory_format in (torch.contiguous_format, torch.channels_last_3d):
        results = []
        for compiled in (False, True):
            torch.manual_seed(1)
            net = ResNet3D(
                5,
                width=4,
                width_per_group=64,
                dropout=0.0,
                zero_init_residual=False,
                context=GlobalContext,
                context_at={"res4": [5]},
                activation_checkpointing=["res5"],
            ).train()
            for module in net.modules():
                if isinstance(module, ResidualBlock):
                    nn.init.constant_(module.last_norm.weight, 0.2)
            if memory_format == torch.channels_last_3d:
                net = net.to(memory_format=memory_format)
            if compiled:
                compile_blocks(net)
            loss = nn.functional.cross_entropy(net(clips.contiguous(memory_format=memory_format)), labels)
            loss.backward()
            results.append((net.state_dict(), loss.item(), {name: p.grad for name, p in net.named_parameters()}))
        (state, loss, gradients), (found_state, found_loss, found) = results
        assert found_loss == pytest.approx(loss, rel=1e-5)
        assert_close(found_state, state)
        bound = 1e-4 * max(gradient.abs().max().item() for gradient in gradients.values())  # of a bias it is near zero
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=bound, msg=name)
