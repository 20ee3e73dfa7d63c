"""Tests of MixUp and CutMix against their formulas, on clips of one constant value each."""

import pytest
import torch

from tests.each_case import each_case
from videoctx.data.transforms.mixing import ClipMixing

K = 5


def mixed(num_videos=4, clips_per_video=1, *, seed=0, **arguments):
    """Return mixed clips and targets. Before mixing, clip i is i + 1 everywhere and its class is (video % K)."""
    num_clips = num_videos * clips_per_video
    clips = torch.arange(1.0, num_clips + 1).view(-1, 1, 1, 1, 1).expand(-1, 3, 4, 8, 8).contiguous()
    video = torch.arange(num_videos).repeat_interleave(clips_per_video)
    targets = torch.eye(K)[video % K]
    torch.manual_seed(seed)
    return ClipMixing(**arguments)(clips, targets, video)


def shares(clip):
    """Return the fraction of the area of each value in a clip after CutMix."""
    values, counts = clip.unique(return_counts=True)
    return {int(value): int(count) / clip.numel() for value, count in zip(values, counts, strict=True)}


@each_case("seed", range(5))
def test_mixup_is_one_convex_combination_of_clips_and_targets(seed):
    clips, targets = mixed(seed=seed, cutmix_alpha=0)
    values = clips[:, 0, 0, 0, 0]
    assert torch.equal(clips, values.view(-1, 1, 1, 1, 1).expand_as(clips))
    lam = targets[0, 0].item()  # clip 0 is mixed with the last, of class 3
    assert 0 < lam < 1
    torch.testing.assert_close(values, torch.tensor([lam * i + (1 - lam) * ((i - 2) % 4 + 1) for i in (1, 2, 3, 4)]))
    torch.testing.assert_close(targets[0], torch.tensor([lam, 0, 0, 1 - lam, 0]))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))


def test_cutmix_pastes_one_box_into_all_frames_with_targets_by_area():
    seen = set()
    for seed in range(8):
        clips, targets = mixed(seed=seed, mixup_alpha=0)
        for index, clip in enumerate(clips):
            assert torch.equal(clip, clip[:1, :1].expand_as(clip))  # all channels and frames
            area = shares(clip)
            assert set(area) <= {index + 1, (index - 1) % 4 + 1}
            torch.testing.assert_close(targets[index, index].item(), area.get(index + 1, 0.0))
        seen.add(targets[0, 0].item())
    assert len(seen) > 3


@each_case("arguments", [{"cutmix_alpha": 0}, {"mixup_alpha": 0}])
def test_clips_are_mixed_with_those_of_another_video(arguments):
    for seed in range(5):
        _, targets = mixed(3, 2, seed=seed, **arguments)
        lam = targets.max().item()
        if 0 < lam < 1:
            assert ((targets > 0).sum(dim=1) == 2).all()


def test_alpha_controls_the_amount_of_mixing():
    little, much = (
        torch.stack([mixed(seed=seed, mixup_alpha=alpha, cutmix_alpha=0)[1].amax() for seed in range(40)]).mean()
        for alpha in (0.05, 50.0)
    )
    assert little > 0.9
    assert much < 0.6
    little, much = (
        torch.stack([mixed(seed=seed, cutmix_alpha=alpha, mixup_alpha=0)[1].amax() for seed in range(40)]).mean()
        for alpha in (0.01, 50.0)
    )
    assert little > much


@each_case(
    ("arguments", "expected"),
    [
        ({"probability": 0.0}, {"plain": 1.0}),
        ({"probability": 0.5, "cutmix_probability": 0.0}, {"plain": 0.5, "mixup": 0.5}),
        ({"cutmix_probability": 0.25}, {"mixup": 0.75, "cutmix": 0.25}),
        ({"cutmix_probability": 1.0}, {"cutmix": 1.0}),
    ],
)
def test_probabilities(arguments, expected):
    found = {}
    for seed in range(100):
        clips, _ = mixed(2, seed=seed, mixup_alpha=20.0, cutmix_alpha=20.0, **arguments)
        integers = torch.equal(clips, clips.round())
        kind = "mixup" if not integers else "plain" if len(clips[0].unique()) == 1 else "cutmix"
        found[kind] = found.get(kind, 0) + 1 / 100
    assert found == {kind: pytest.approx(share, abs=0.15) for kind, share in expected.items()}


def test_mixing_depends_on_torchs_seed():
    one, same, other = (mixed(seed=seed, cutmix_alpha=0)[0] for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@each_case(
    ("arguments", "words"),
    [
        ({"mixup_alpha": -1}, "mixup_alpha is -1"),
        ({"cutmix_alpha": -1}, "cutmix_alpha is -1"),
        ({"probability": 1.5}, "probability is 1.5"),
        ({"cutmix_probability": -0.5}, "cutmix_probability is -0.5"),
        ({"mixup_alpha": 0, "cutmix_alpha": 0}, "both 0"),
    ],
)
def test_bad_mixing_values_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ClipMixing(**arguments)
