"""Tests of multigrid training: its plan against PySlowFast's numbers, its clips, and runs with Lightning."""

import logging
from itertools import accumulate

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from tests.data.test_transforms import still, train_transform
from tests.each_case import each_case
from videoctx.data.datamodule import VideoDataModule
from videoctx.data.loading.dataset import DecodedBatch, SampleIndex
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.sampling.multigrid import Multigrid, MultigridBatches, Stage
from videoctx.data.sampling.video_samplers import Shuffled, TrainSampler
from videoctx.data.settings import ClipSettings, LoadingSettings, TrainSettings

IN_STEPS = Multigrid(milestone_epochs=(44, 88), num_epochs=118)
ONLY_SHORT = Multigrid()
BASE = {"clip_len": 8, "crop_size_px": 224, "batch_size": 8, "num_videos": 29_331}

# videos and crops of a short cycle for each shape of a long one, from 8×8 clips of 224 px, 8 videos per batch: by hand
CYCLES = [
    (2, ((128, 112), (64, 158), (64, 158))),
    (4, ((64, 112), (32, 158), (32, 158))),
    (4, ((64, 112), (32, 158), (16, 224))),
    (8, ((32, 112), (16, 158), (8, 224))),
]


# ---------------------------------------------------------------- the plan


def test_stages_equal_those_of_pyslowfast():
    """PySlowFast's stages for steps at 44 and 88 of 118 epochs. Its last milestone is inside the final stage."""
    stages = IN_STEPS.stages(**BASE, max_epochs=177)
    assert [(stage.clip_len, stage.cycle) for stage in stages] == [*CYCLES, *CYCLES, CYCLES[-1]]
    assert list(accumulate(stage.num_epochs for stage in stages)) == [36, 54, 70, 78, 114, 132, 148, 166, 177]
    assert [stage.batch_factor for stage in stages] == [8, 4, 2, 1, 8, 4, 2, 1, 1]
    assert [stage.num_drops for stage in stages] == [0] * 4 + [1] * 4 + [2]


def test_stages_of_pyslowfasts_recipe_differ_by_one_epoch_at_most():
    """PySlowFast's run has 358.5 epochs, this one 358."""
    theirs = [73, 110, 142, 158, 205, 228, 248, 259, 291, 308, 322, 343, 358]
    stages = Multigrid(milestone_epochs=(94, 154, 196), num_epochs=239).stages(**BASE, max_epochs=358)
    ours = list(accumulate(stage.num_epochs for stage in stages))
    assert ours[-1] == 358
    assert len(ours) == len(theirs)
    assert np.abs(np.subtract(ours, theirs)).max() <= 1


def test_shapes_of_a_long_cycle_have_equal_numbers_of_steps():
    steps = [stage.num_epochs * len(stage.batches) for stage in IN_STEPS.stages(**BASE, max_epochs=17_700)]
    assert steps[:3] == pytest.approx([steps[0]] * 3, rel=0.01)
    assert steps[7] == pytest.approx(steps[3] + steps[8], rel=0.01)  # and half of the final training


def test_batches_of_an_epoch_computed_by_hand():
    stages = IN_STEPS.stages(**BASE | {"num_videos": 300}, max_epochs=177)
    assert stages[0].batches == [(128, 112), (64, 158), (64, 158), (44, 112)]
    assert stages[3].batches == [(32, 112), (16, 158), (8, 224)] * 5 + [(20, 112)]
    assert IN_STEPS.stages(**BASE | {"num_videos": 5}, max_epochs=177)[0].batches == [(5, 112)]


def test_short_cycle_alone_and_long_cycle_alone():
    (stage,) = ONLY_SHORT.stages(**BASE, max_epochs=3)
    assert (stage.num_epochs, stage.clip_len, stage.cycle) == (3, *CYCLES[3])
    long = Multigrid(milestone_epochs=(44, 88), num_epochs=118, short_factors=())
    assert [stage.cycle for stage in long.stages(**BASE, max_epochs=177)[:4]] == [
        ((64, 158),),
        ((32, 158),),
        ((16, 224),),
        ((8, 224),),
    ]


@given(num_videos=st.integers(1, 3000), batch_size=st.integers(1, 9), epochs=st.integers(30, 300), data=st.data())
def test_epochs_have_every_video_once_and_batches_equal_work(num_videos, batch_size, epochs, data):
    base = BASE | {"num_videos": num_videos, "batch_size": batch_size}
    stages = IN_STEPS.stages(**base, max_epochs=epochs)
    assert sum(stage.num_epochs for stage in stages) == epochs
    for stage in stages:
        for videos, side in stage.cycle:
            assert videos * stage.clip_len * side**2 == pytest.approx(batch_size * 8 * 224**2, rel=0.01)
    epoch = data.draw(st.integers(0, epochs - 1))
    num_ranks = data.draw(st.integers(1, 3))
    ranks = []
    for rank in range(num_ranks):
        sampler = TrainSampler(Shuffled(num_videos), num_ranks=num_ranks, rank=rank, seed=1)
        sampler.set_epoch(epoch)
        whole = list(sampler)
        plan = IN_STEPS.stages(**base | {"num_videos": len(sampler)}, max_epochs=epochs)
        batches = list(MultigridBatches(sampler, plan))
        assert len(MultigridBatches(sampler, plan)) == len(batches)
        indices = [SampleIndex(*index[:3]) for batch in batches for index in batch]
        assert indices == whole[: len(indices)]
        assert len(whole) - len(indices) < batch_size
        ranks.append([(len(batch), {index[3:] for index in batch}) for batch in batches])
    assert all(rank == ranks[0] for rank in ranks)
    assert all(len(shapes) == 1 for _, shapes in ranks[0])


@given(num_taken=st.integers(0, 20), epoch=st.integers(0, 176))
def test_resumed_epoch_is_the_rest_and_the_next_is_complete(num_taken, epoch):
    plan = IN_STEPS.stages(**BASE | {"num_videos": 300}, max_epochs=177)
    whole, resumed = (
        MultigridBatches(TrainSampler(Shuffled(300), num_ranks=1, rank=0, seed=1), plan) for _ in range(2)
    )
    resumed.resume(epoch=epoch, num_batches=num_taken)
    for number, first in ((epoch, num_taken), (epoch + 1, 0)):
        whole.sampler.set_epoch(number)
        resumed.sampler.set_epoch(number)
        assert list(resumed) == list(whole)[first:]


@each_case(
    ("arguments", "text"),
    [
        ({"short_factors": (0.5, 1.5)}, "short_factors .*1.5.*up to 1"),
        ({"long_factors": ((0.0, 1.0), (1.0, 1.0))}, "expected each above 0"),
        ({"long_factors": ((0.5, 1.0),)}, r"\[1, 1\] as the last"),
        ({"long_factors": ()}, r"\[1, 1\] as the last"),
        ({"milestone_epochs": (4, 4), "num_epochs": 9}, "expected them to rise"),
        ({"milestone_epochs": (4,)}, "num_epochs 0; expected them to rise"),
    ],
)
def test_bad_plans_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        Multigrid(**arguments)


@each_case(
    ("changed", "text"),
    [
        ({"clip_len": 6}, "clip_len is 6, of which 0.25 are 1.5 frames; expected a whole number"),
        ({"clip_len": 1}, "of which 0.25 are 0.25 frames"),
        ({"max_epochs": 8}, "max_epochs is 8, too few for 9 shapes"),
    ],
)
def test_runs_that_do_not_fit_the_plan_are_refused(changed, text):
    with pytest.raises(ValueError, match=text):
        IN_STEPS.stages(**BASE | {"max_epochs": 177} | changed)


def test_number_of_epochs_in_the_message_is_enough():
    with pytest.raises(ValueError, match=r"expected (\d+) or more") as caught:
        IN_STEPS.stages(**BASE, max_epochs=9)
    least = int(str(caught.value).partition("expected ")[2].split()[0])
    assert min(stage.num_epochs for stage in IN_STEPS.stages(**BASE, max_epochs=least)) >= 1


# ---------------------------------------------------------------- the clips


def test_shorter_clips_have_larger_frame_intervals():
    rng = np.random.default_rng(0)
    clips = RandomClips(shape=ClipShape(clip_len=8, frame_interval=4, short_videos="repeat_last"), num_clips=3)
    shapes = [clips.shortened(2, rng) for _ in range(400)]
    assert {shape.shape.frame_interval for shape in shapes} == set(range(4, 17))
    assert shapes[0].clips(100, 30.0, rng).shape == (3, 2)
    assert {(shape.num_clips, shape.shape.short_videos) for shape in shapes} == {(3, "repeat_last")}
    assert clips.shortened(8, rng) == clips


@each_case("more", [{}, {"crop_area": (0.5, 1.0)}])
def test_smaller_crops_are_taken_from_smaller_frames(more):
    """The frames are resized for the crop: some crops show the whole height, as never from frames of the usual size."""
    rows = torch.linspace(0, 255, 64).round().to(torch.uint8)[None, :, None, None].expand(1, 64, 64, 3).contiguous()
    video = still(rows, num_clips=200)
    video.crop_size_px = 16
    clips = train_transform(32, (32, 40), **more)(DecodedBatch([video])).clips
    assert clips.shape[-2:] == (16, 16)
    shown = (clips[:, 0, 0, -1, 0] - clips[:, 0, 0, 0, 0]) / 255
    assert shown.max() > 0.85
    assert shown.min() < 0.5 or more


# ---------------------------------------------------------------- under Lightning


class Seen(LightningModule):
    """A task that keeps its training batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, batch.rows, batch.clips.shape, batch.clips.mean().item()))
        return self.weight * batch.clips.mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


LONG = Multigrid(milestone_epochs=(2,), num_epochs=3, long_factors=((0.5, 1.0), (1.0, 1.0)))


def trained(manifest, folder, *, resumed=None, multigrid=LONG, max_epochs=4, batch_size=1, data=None, **options):
    """Return the batches and the data module of a run that writes a checkpoint after every step."""
    data = data or VideoDataModule(
        str(manifest),
        batch_size=batch_size,
        clips=ClipSettings(clip_len=4, frame_interval=1),
        train=TrainSettings(crop_size_px=8, short_side_px=(10, 12), multigrid=multigrid),
        loading=LoadingSettings(num_workers=0),
    )
    options = {"reload_dataloaders_every_n_epochs": 1} | options
    saves = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1, enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=max_epochs,
        logger=False,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[] if resumed else [saves],
        enable_checkpointing=not resumed,
        **options,
    )
    model = Seen()
    trainer.fit(model, datamodule=data, ckpt_path=resumed and folder / f"step={resumed}.ckpt")
    return model.seen, data


@pytest.mark.filterwarnings("ignore:You're resuming:UserWarning")
def test_run_resumed_at_any_step_equals_the_uninterrupted_run(video_folder, tmp_path):
    """The run has five videos: 2 epochs of 1 step, then 2 epochs of 2 steps."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    whole, data = trained(video_folder.manifest, tmp_path)
    assert [(stage.num_epochs, stage.clip_len, stage.cycle) for stage in data.stages] == [
        (2, 2, ((8, 4), (4, 6), (2, 8))),
        (1, 4, ((4, 4), (2, 6), (1, 8))),
        (1, 4, ((4, 4), (2, 6), (1, 8))),
    ]
    shapes = [(epoch, index, *shape) for epoch, index, _, shape, _ in whole]
    assert shapes == [
        (0, 0, 5, 3, 2, 4, 4),
        (1, 0, 5, 3, 2, 4, 4),
        *((epoch, index, *shape) for epoch in (2, 3) for index, shape in enumerate([(4, 3, 4, 4, 4), (1, 3, 4, 6, 6)])),
    ]
    for epoch in range(4):
        assert sorted(row for of, _, rows, _, _ in whole if of == epoch for row in rows) == [0, 1, 2, 3, 4]
    for step in range(1, len(whole)):
        rest, _ = trained(video_folder.manifest, tmp_path, resumed=step)
        assert rest == whole[step:], step


@pytest.mark.filterwarnings("ignore:You're resuming:UserWarning")
def test_run_after_a_resumed_run_starts_from_the_beginning(video_folder, tmp_path):
    whole, _ = trained(video_folder.manifest, tmp_path)
    _, data = trained(video_folder.manifest, tmp_path, resumed=3)
    again, _ = trained(video_folder.manifest, tmp_path / "again", data=data)
    assert again == whole


def test_resuming_with_another_plan_is_refused(video_folder, tmp_path):
    trained(video_folder.manifest, tmp_path)
    for changed in ({"multigrid": ONLY_SHORT}, {"multigrid": None}, {"max_epochs": 5}, {"batch_size": 2}):
        with pytest.raises(ValueError, match=r"train\.multigrid is .*, and was .* over 4 epochs; expected the same"):
            trained(video_folder.manifest, tmp_path, resumed=3, **changed)


@each_case(
    ("option", "value"),
    [("accumulate_grad_batches", 2), ("limit_train_batches", 1), ("reload_dataloaders_every_n_epochs", 0)],
)
def test_incompatible_trainer_options_are_refused(video_folder, tmp_path, option, value):
    with pytest.raises(ValueError, match=rf"trainer\.{option} is {value} with data\.train\.multigrid; expected 1"):
        trained(video_folder.manifest, tmp_path, **{option: value})


def test_clips_beside_training_have_the_full_shape(video_folder, tmp_path):
    _, data = trained(video_folder.manifest, tmp_path)
    assert [tuple(batch.clips.shape) for batch in data.clips_beside_training(3)] == [(1, 3, 4, 8, 8)] * 3
    assert isinstance(data.loaders["train"].batch_sampler, MultigridBatches)


def test_a_stage_is_printed_with_its_batches():
    stage = Stage(num_epochs=2, clip_len=4, cycle=((4, 8), (2, 11)), num_videos=7, batch_factor=1, num_drops=0)
    assert str(stage) == "4 frames, videos per batch and device 4 at 8 px, 2 at 11 px, 2 steps per epoch"
