"""Frozen modules: nothing of them changes, whatever else takes part in a run; the rest is trained."""

import logging
from functools import partial

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD

from tests.each_case import each_case
from tests.tasks.synthetic_runs import CLASSES, classifier, small_resnet, synthetic_clips, trainer
from videoctx.layers import GlobalContext, NonLocal
from videoctx.models import X3D, SlowFast
from videoctx.models.bf16_gradients import convolutions_with_incorrect_gradients
from videoctx.models.freezing import frozen_part
from videoctx.tasks import EMA, PreciseBatchNorm, SplitBatchNorm, VideoClassifier

NON_LOCAL = {"context": NonLocal, "context_at": {"res3": [1]}}
OTHERS = ["sit", "stand", "turn"]


class OwnNet(nn.Module):
    """With a parameter of its own, a norm without scale, dropout inside and before the classifier."""

    def __init__(self, num_classes):
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(1))
        self.body = nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4, affine=False), nn.Dropout(), nn.Conv3d(4, 4, 1))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(4, num_classes))

    def forward(self, clips):
        return self.classifier(self.body(clips + self.offset).mean(dim=(2, 3, 4)))


class Seen(Callback):
    """What a training step has: the modules in training mode, the parameters of the optimizer, and their gradients."""

    def __init__(self):
        self.training, self.optimized, self.has_graph, self.losses = set(), set(), {}, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):  # noqa: ARG002
        net = pl_module.net
        self.training = {name for name, module in net.named_modules() if module.training}
        (optimizer,) = trainer.optimizers
        optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.optimized = {name for name, p in net.named_parameters() if id(p) in optimized}
        self.hooks = [
            module.register_forward_hook(partial(self._look, name))
            for name, module in net.named_modules()
            if isinstance(module, nn.Conv3d | nn.Linear)
        ]

    def _look(self, name, module, inputs, output):  # noqa: ARG002
        self.has_graph[name] = output.requires_grad

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        self.losses.append(outputs["loss"].item())
        for hook in self.hooks:
            hook.remove()


def trained(folder, net, *callbacks, freeze, run=None, ckpt_path=None, **arguments):
    """Train; return the task, what was seen, and the names in the state dict that have changed."""
    torch.manual_seed(0)
    task, seen = classifier(net, freeze=freeze, **arguments), Seen()
    before = {name: tensor.clone() for name, tensor in task.net.state_dict().items()}
    fit = trainer(folder, *callbacks, seen, **({"max_epochs": 1} | (run or {})))
    fit.fit(task, synthetic_clips(2), ckpt_path=ckpt_path, weights_only=True)
    after = task.net.state_dict()
    return task, seen, {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def below(names, parents):
    return {name for name in names if any(name == parent or name.startswith(f"{parent}.") for parent in parents)}


SLOWFAST = partial(SlowFast, width=8, alpha=2, dropout=0.0)
X3D_NARROW = partial(X3D, width_factor=0.5, depth_factor=1, dropout=0.0)
PARTS = ["stem", "res2", "res3", "res4", "res5"]


@each_case(
    ("net", "freeze", "frozen"),
    [
        (small_resnet, "stem", ["stem"]),
        (small_resnet, ["res2", "stem"], ["stem", "res2"]),
        (partial(small_resnet, activation_checkpointing=["res2", "res3"]), ["stem", "res2"], ["stem", "res2"]),
        (small_resnet, ["res3.0", "res5"], ["res3.0", "res5"]),
        (small_resnet, "backbone", PARTS),
        (partial(small_resnet, **NON_LOCAL), "backbone", PARTS),
        (SLOWFAST, ["stem", "res2"], ["stem", "res2"]),
        (SLOWFAST, ["res3.slow"], ["res3.slow"]),
        (X3D_NARROW, "backbone", [*PARTS, "conv5", "fc1"]),
        (OwnNet, "backbone", ["offset", "body"]),
    ],
)
def test_frozen_modules_keep_every_tensor_and_the_rest_is_trained(tmp_path, net, freeze, frozen):
    task, seen, changed = trained(tmp_path, net, freeze=freeze)
    names_in_order = [name for name, _ in task.net.named_parameters()]
    names = set(names_in_order)
    assert not below(changed, frozen)
    assert seen.optimized == names - below(names, frozen)
    norms = {name for name, module in task.net.named_modules() if isinstance(module, _BatchNorm)}
    assert seen.training & norms == norms - below(norms, frozen)
    assert not below(seen.training, [part for part in frozen if part in dict(task.net.named_modules())])
    *_, last_weight, last_bias = names_in_order
    assert {last_weight, last_bias} <= changed
    if net is small_resnet:  # others start with branches of zero
        assert seen.optimized <= changed
    assert all(parameter.requires_grad for parameter in task.net.parameters()), "the next run may train them"


def test_nothing_is_kept_for_the_backward_pass_of_what_is_frozen_from_the_input_on(tmp_path):
    for net, freeze in ((small_resnet, ["stem", "res2"]), (SLOWFAST, ["stem", "res2"]), (OwnNet, ["backbone"])):
        _, seen, _ = trained(tmp_path, net, freeze=freeze)
        prefix = below(seen.has_graph, ["stem", "res2", "body"])
        assert prefix
        assert {name for name, has_graph in seen.has_graph.items() if not has_graph} == prefix


def test_dropout_before_the_classifier_stays_on(tmp_path):
    _, seen, _ = trained(tmp_path, OwnNet, freeze="backbone")
    assert {"classifier.0", "classifier.1", "classifier", ""} == seen.training
    _, seen, _ = trained(tmp_path, partial(small_resnet, dropout=0.5), freeze="backbone")
    assert {"", "dropout", "head"} <= seen.training <= {"", "dropout", "head", "average"}


def test_the_gradients_of_the_rest_are_those_with_fixed_statistics(tmp_path):
    """One step against a step by hand of the network whose frozen part is in evaluation mode."""
    task, _, _ = trained(tmp_path, small_resnet, freeze=["stem", "res2", "res3"], run={"max_steps": 1})
    torch.manual_seed(0)
    by_hand = small_resnet(3)
    for name in ("stem", "res2", "res3"):
        by_hand.get_submodule(name).eval()
    parameters = [p for name, p in by_hand.named_parameters() if name.startswith(("res4", "res5", "head"))]
    batch = synthetic_clips(2).batches[0]
    loss = nn.functional.cross_entropy(by_hand(batch.clips[:]), batch.labels)
    loss.backward()
    SGD(parameters, lr=0.1, momentum=0.9).step()
    for name, tensor in by_hand.state_dict().items():
        torch.testing.assert_close(task.net.state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_averages_measured_statistics_and_groups_of_clips_leave_frozen_modules_alone(tmp_path):
    for net, freeze, frozen in ((small_resnet, "backbone", PARTS), (OwnNet, "body", ["body"])):
        callbacks = [EMA(decay=0.5), PreciseBatchNorm(num_batches=2), SplitBatchNorm(num_clips=2)]
        _, _, changed = trained(tmp_path, net, *callbacks, freeze=freeze, run={"max_epochs": 2})
        assert changed
        assert not below(changed, frozen)
        saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
        for key in ("state_dict", "current_model_state"):
            torch.manual_seed(0)
            for name, tensor in net(3).state_dict().items():
                assert below([name], frozen) == set() or torch.equal(saved[key][f"net.{name}"], tensor), (key, name)


def test_only_norms_that_are_trained_count_in_the_check_of_small_batches(tmp_path, caplog):
    for freeze, warned in (("backbone", False), (["stem"], True)):
        caplog.clear()
        task = classifier(freeze=freeze)
        trainer(tmp_path, max_steps=1).fit(task, synthetic_clips(1, clips_per_device=2))
        assert ("BatchNorm layers get only 2 clips" in caplog.text) == warned


def test_a_frozen_convolution_cannot_get_an_incorrect_gradient():
    net = small_resnet(3, temporal_kernels="r3d")
    found = convolutions_with_incorrect_gradients(net, clip_len=2, size=32)
    assert any(name.startswith("res2") for name in found)
    net.res2.requires_grad_(False)
    assert convolutions_with_incorrect_gradients(net, clip_len=2, size=32) == [n for n in found if n[:4] != "res2"]


# Starting weights and new blocks ------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    """Weights of the network without context blocks, for other classes."""
    torch.manual_seed(5)
    task = VideoClassifier(OTHERS, small_resnet)
    trainer(tmp_path / "weights").fit(task, synthetic_clips(1, class_names=OTHERS, validates=False))
    return tmp_path / "weights" / "last.ckpt"


def test_new_blocks_in_frozen_modules_are_trained_and_reported(tmp_path, weights, capsys):
    for net, freeze, new in (
        (partial(small_resnet, **NON_LOCAL), ["stem", "res2", "res3"], "res3.1.after_add"),
        (partial(small_resnet, context=GlobalContext, context_at={"res5": [0]}), "backbone", "res5.0.after_add"),
        (small_resnet, [*PARTS, "head"], "head"),
    ):
        capsys.readouterr()
        task, seen, _ = trained(tmp_path, net, freeze=freeze, weights=str(weights))
        stored = torch.load(weights, weights_only=True)["state_dict"]
        after = task.net.state_dict()
        frozen = PARTS if freeze != ["stem", "res2", "res3"] else freeze
        for name in below(after, frozen) - below(after, [new]):
            assert torch.equal(after[name], stored[f"net.{name}"]), name
        assert new in seen.training
        assert below(seen.optimized, [new]) == below(dict(task.net.named_parameters()), [new])
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("model.freeze: ")]
        assert f"of these modules, {new} are trained, as the weights lack them" in line


def test_a_resumed_run_is_the_same_and_trains_the_same_new_blocks(tmp_path, weights):
    arguments = {"freeze": ["stem", "res2", "res3"], "weights": str(weights)}
    net = partial(small_resnet, **NON_LOCAL)
    whole, seen, _ = trained(tmp_path / "whole", net, EMA(decay=0.5), run={"max_epochs": 2}, **arguments)
    trained(tmp_path / "part", net, EMA(decay=0.5), run={"max_steps": 2}, **arguments)
    last = tmp_path / "part" / "last.ckpt"
    rest, again, _ = trained(tmp_path / "part", net, EMA(decay=0.5), run={"max_epochs": 2}, ckpt_path=last, **arguments)
    assert again.losses == seen.losses[2:]
    assert again.optimized == seen.optimized
    for name, tensor in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[name], tensor), name
    line = r"model.freeze is not the checkpoint's: res2 here and res2, res3, stem there; expected the config"
    with pytest.raises(ValueError, match=line):
        trained(tmp_path, net, EMA(decay=0.5), run={"max_epochs": 3}, ckpt_path=last, freeze=["res2"])
    line = "model.freeze is not the checkpoint's: nothing here and res2, res3, stem there"
    with pytest.raises(ValueError, match=line):
        trained(tmp_path, net, EMA(decay=0.5), run={"max_epochs": 3}, ckpt_path=last, freeze=[])


def test_modules_stay_frozen_in_a_run_that_resumes_inside_an_epoch(tmp_path):
    trained(tmp_path, small_resnet, freeze="backbone", run={"max_steps": 1})
    _, seen, changed = trained(tmp_path, small_resnet, freeze="backbone", ckpt_path=tmp_path / "last.ckpt")
    assert changed == seen.optimized == {"head.weight", "head.bias"}
    assert len(seen.losses) == 1
    assert "res2" not in seen.training


def test_a_second_run_trains_what_the_first_one_froze(tmp_path):
    task = classifier(freeze=["backbone"])
    trainer(tmp_path).fit(task, synthetic_clips(1))
    task.frozen_names, seen = [], Seen()
    trainer(tmp_path, seen).fit(task, synthetic_clips(1))
    assert seen.optimized == {name for name, _ in task.net.named_parameters()}
    assert seen.training == {name for name, _ in task.net.named_modules()}


def test_frozen_initial_weights_are_reported(tmp_path, caplog):
    line = "model.freeze without model.weights: the frozen modules keep their initial weights"
    for net, expected in ((small_resnet, 1), (small_resnet(3), 0), (OwnNet, 0)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            trainer(tmp_path, max_steps=1).fit(classifier(net, freeze=["backbone"]), synthetic_clips(1))
        assert caplog.text.count(line) == expected


# Names --------------------------------------------------------------------------------------------------------------


@each_case(
    ("net", "freeze", "line"),
    [
        (
            small_resnet,
            ["res6"],
            "freeze names 'res6', which ResNet3D does not have; expected one or more of backbone, stem, res2",
        ),
        (small_resnet, ["res3.7"], r"or perhaps res3\.1, res3\.0"),
        (
            small_resnet,
            ["stem,res2"],
            "'stem,res2'.* expected one or more of backbone, stem, res2, res3, res4, res5, head",
        ),
        (small_resnet, ["pool2"], "'pool2'"),
        (small_resnet, "", "''"),
        (SLOWFAST, ["res2.fats"], r"perhaps res2\.fast"),
        (OwnNet, ["layer1"], "which OwnNet does not have; expected one or more of backbone, body, classifier"),
    ],
)
def test_a_module_that_the_network_lacks_is_one_line(net, freeze, line):
    with pytest.raises(ValueError, match=line):
        classifier(net, freeze=freeze)


def test_nothing_to_train_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"freeze is \['backbone', 'head'\], which leaves no parameter to train"):
        trainer(tmp_path).fit(classifier(freeze=["backbone", "head"]), synthetic_clips(1))
    assert frozen_part(nn.Linear(2, 3), []).parameters == ()
    assert CLASSES


def test_null_undoes_what_an_earlier_config_freezes():
    parser = ArgumentParser()
    parser.add_class_arguments(VideoClassifier, "model", skip={"class_names", "net", "optimizer", "schedule", "mixing"})
    freeze = parser.parse_args(["--model.freeze=[stem, res2]", "--model.freeze=null"]).model.freeze
    assert freeze is None
    assert classifier(freeze=freeze).frozen_names == []
