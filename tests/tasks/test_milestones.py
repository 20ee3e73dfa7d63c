"""A milestone is reached at the start of its epoch, whatever makes an epoch shorter or a step longer."""

import json

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from torch.utils.data import DataLoader, IterableDataset

from tests.each_case import each_case
from tests.tasks.synthetic_runs import CLASSES, SyntheticClips, batch_of, classifier, trainer
from tests.tasks.test_task_checkpoints import OwnNet
from videoctx.data.sampling.multigrid import Multigrid
from videoctx.tasks import MultigridSteps, WarmupCosine, WarmupSteps

LR = 0.5


class Rates(Callback):
    """The learning rate of every step, by epoch."""

    def __init__(self) -> None:
        self.by_epoch: dict[int, list[float]] = {}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:  # noqa: ARG002
        self.by_epoch.setdefault(trainer.current_epoch, []).append(optimizer.param_groups[0]["lr"])


class KeptRates(Rates):
    """Writes the rates of each rank to a file."""

    def __init__(self, folder) -> None:
        super().__init__()
        self.folder = folder

    def on_train_end(self, trainer, pl_module) -> None:  # noqa: ARG002
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(list(self.by_epoch.items())))


class StopAfterEpoch(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_end(self, trainer, pl_module) -> None:  # noqa: ARG002
        trainer.should_stop = trainer.current_epoch == self.epoch


def rates_of(folder, schedule, *, num_batches=9, data=None, ckpt_path=None, **arguments) -> dict[int, list[float]]:
    rates = Rates()
    data = data or SyntheticClips([batch_of(2, seed=0, size=4)] * num_batches, validates=False)
    arguments.setdefault("callbacks", [rates])
    if rates not in arguments["callbacks"]:
        arguments["callbacks"].append(rates)
    run = trainer(folder, **({"max_epochs": 6, "enable_checkpointing": False} | arguments))
    run.fit(classifier(OwnNet, lr=LR, schedule=schedule), data, ckpt_path=ckpt_path)
    return rates.by_epoch


def expected_rates(steps_per_epoch: int, *, epochs: range = range(6)) -> dict[int, list[float]]:
    return {epoch: [LR * 0.1 ** sum(epoch >= at for at in (2, 4))] * steps_per_epoch for epoch in epochs}


@each_case(
    ("num_batches", "arguments", "steps_per_epoch"),
    [
        (9, {}, 9),
        (9, {"accumulate_grad_batches": 8}, 2),
        (9, {"accumulate_grad_batches": 4}, 3),
        (9, {"accumulate_grad_batches": 3}, 3),
        (3, {"accumulate_grad_batches": 8}, 1),
        (9, {"accumulate_grad_batches": 4, "limit_train_batches": 5}, 2),
        (9, {"accumulate_grad_batches": 2, "limit_train_batches": 0.4}, 2),
        (9, {"accumulate_grad_batches": 2, "overfit_batches": 3}, 2),
        (9, {"accumulate_grad_batches": 8, "max_epochs": None, "max_steps": 12}, 2),
        (9, {"accumulate_grad_batches": 8, "max_epochs": 9, "max_steps": 12}, 2),
        (9, {"max_epochs": None, "max_steps": 54}, 9),
    ],
)
def test_milestones(tmp_path, num_batches, arguments, steps_per_epoch):
    schedule = WarmupSteps(milestone_epochs=[2, 4])
    found = rates_of(tmp_path, schedule, num_batches=num_batches, **arguments)
    assert found == {epoch: pytest.approx(rates) for epoch, rates in expected_rates(steps_per_epoch).items()}


@pytest.mark.parametrize(
    ("arguments", "steps_per_epoch"),
    [({"accumulate_grad_batches": 4}, 2), ({"accumulate_grad_batches": 2, "limit_train_batches": 3}, 2)],
)
def test_milestones_of_two_ranks(tmp_path, arguments, steps_per_epoch):
    """Of 9 batches each rank has 5."""
    rates_of(
        tmp_path,
        WarmupSteps(milestone_epochs=[2, 4]),
        callbacks=[KeptRates(tmp_path)],
        strategy="ddp_fork",
        devices=2,
        **arguments,
    )
    expected = expected_rates(steps_per_epoch).items()
    for rank in range(2):
        found = dict(json.loads((tmp_path / f"rank{rank}.json").read_text()))
        assert found == {epoch: pytest.approx(rates) for epoch, rates in expected}


class MultigridClips(SyntheticClips):
    """Batches of the stages of multigrid training, for each rank."""

    def __init__(self) -> None:
        super().__init__([], validates=False)
        plan = Multigrid(milestone_epochs=(2, 4), num_epochs=6, long_factors=((0.5, 1.0), (1.0, 1.0)))
        self.stages = plan.stages(clip_len=8, crop_size_px=8, batch_size=2, num_videos=16, max_epochs=9)

    def train_dataloader(self):
        stage = [stage for stage in self.stages for _ in range(stage.num_epochs)][self.trainer.current_epoch]
        return DataLoader([batch_of(2, seed=0, size=4)] * len(stage.batches), batch_size=None)


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_milestones_of_multigrid_training(tmp_path, num_ranks):
    """The rate of a stage is that of its milestone, times its batch relative to one without multigrid."""
    data = MultigridClips()
    ranks = {"strategy": "ddp_fork", "devices": 2} if num_ranks == 2 else {}
    rates_of(
        tmp_path,
        MultigridSteps(gamma=0.1),
        data=data,
        max_epochs=9,
        callbacks=[KeptRates(tmp_path)],
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        **ranks,
    )
    expected = [
        [LR * stage.batch_factor * 0.1**stage.num_drops] * len(stage.batches)
        for stage in data.stages
        for _ in range(stage.num_epochs)
    ]
    assert {stage.num_drops for stage in data.stages} == {0, 1, 2}
    assert len({len(rates) for rates in expected}) > 1
    for rank in range(num_ranks):
        found = dict(json.loads((tmp_path / f"rank{rank}.json").read_text()))
        assert found == {epoch: pytest.approx(rates) for epoch, rates in enumerate(expected)}


def test_milestones_of_a_resumed_run(tmp_path):
    schedule, arguments = WarmupSteps(milestone_epochs=[2, 4]), {"accumulate_grad_batches": 8}
    save = ModelCheckpoint(tmp_path, "first", save_top_k=-1)
    rates_of(tmp_path, schedule, callbacks=[save, StopAfterEpoch(0)], enable_checkpointing=True, **arguments)
    found = rates_of(tmp_path, schedule, ckpt_path=tmp_path / "first.ckpt", **arguments)
    expected = expected_rates(2, epochs=range(1, 6))
    assert found == {epoch: pytest.approx(rates) for epoch, rates in expected.items()}


def test_a_cosine_ends_with_the_run(tmp_path):
    found = rates_of(tmp_path, WarmupCosine(warmup_epochs=1), accumulate_grad_batches=8)
    assert [len(rates) for rates in found.values()] == [2] * 6
    assert found[0][0] == pytest.approx(LR * 0.01)
    assert found[1][0] == pytest.approx(LR)
    assert found[3][1] == pytest.approx(LR / 2)


def test_a_trial_of_a_few_steps_has_no_schedule(tmp_path):
    assert rates_of(tmp_path, WarmupCosine(warmup_epochs=34), fast_dev_run=2, max_epochs=196) == {0: [LR, LR]}


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield batch_of(2, seed=0, size=4)


class EndlessClips(SyntheticClips):
    def train_dataloader(self):
        return DataLoader(Endless(), batch_size=None)


def test_epochs_of_no_known_length_are_refused(tmp_path):
    data = EndlessClips([], validates=False, class_names=CLASSES)
    with pytest.raises(
        ValueError, match=r"needs epochs of a known length.* expected an integer as trainer.limit_train"
    ):
        rates_of(tmp_path, WarmupSteps(milestone_epochs=[1]), data=data, max_epochs=None, max_steps=4)


@pytest.mark.parametrize("arguments", [{"schedule": WarmupCosine()}, {"lr_batch_size": 8}])
def test_steps_that_change_in_size_are_refused(tmp_path, arguments):
    callback = GradientAccumulationScheduler({0: 1, 2: 4})
    with pytest.raises(ValueError, match="need steps of one size, which GradientAccumulationScheduler changes"):
        trainer(tmp_path, callback).fit(classifier(OwnNet, **arguments), SyntheticClips([batch_of(2, seed=0)]))
