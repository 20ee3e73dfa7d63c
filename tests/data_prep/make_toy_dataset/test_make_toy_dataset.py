"""The toy dataset: nothing in one frame, everything in the motion of both shapes, and files that hold it."""

import math
import os
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep.make_toy_dataset import moving_shapes as toy
from data_prep.make_toy_dataset.__main__ import main, make_toy_dataset
from data_prep.synthetic.clips import SPLITS, clips_of_dataset
from videoctx.data.annotations import read_classes, read_manifest

SMALL = {"num_frames": 12, "width": 48, "height": 40}
ONE_EACH = {"train_per_class": 1, "val_per_class": 1, "test_per_class": 1}
# The table of the module's docstring, spelt out again: where the left shape goes, where the right one does.
ARROWS = {
    "both_left": "←←",
    "both_right": "→→",
    "both_up": "↑↑",
    "both_down": "↓↓",
    "apart": "←→",
    "together": "→←",
    "clockwise": "↑↓",
    "anticlockwise": "↓↑",
}


def scene(seed: int, **size: int) -> toy.Scene:
    return toy.random_scene(np.random.default_rng(seed), **(SMALL | size))


def decode(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


# --- what the clips show ---


@pytest.mark.parametrize("seed", range(3))
def test_clips_of_one_scene_share_their_pivot_frame_and_no_other(seed: int) -> None:
    drawn = scene(seed)
    clips = {label: toy.render(drawn, label) for label in toy.CLASS_NAMES}
    for one, other in combinations(toy.CLASS_NAMES, 2):
        same = (clips[one] == clips[other]).all(axis=(1, 2, 3))  # (T,)
        assert same.nonzero()[0].tolist() == [drawn.pivot], (one, other)


def test_the_pivot_is_any_frame() -> None:
    assert {scene(seed).pivot for seed in range(200)} == set(range(SMALL["num_frames"]))


@pytest.mark.parametrize("label", toy.CLASS_NAMES)
def test_shapes_move_as_in_the_table(label: str) -> None:
    clips = np.stack([toy.render(scene(seed), label) for seed in range(10)])
    down, right = np.moveaxis(headings(phases(clips)), -1, 0)  # (V, 2) each
    for shape, arrow in enumerate(ARROWS[label]):
        along, across = (right, down) if arrow in "←→" else (down, right)
        assert (np.sign(along[:, shape]) == (1 if arrow in "→↓" else -1)).all()
        assert np.allclose(across[:, shape], 0, atol=0.02)


@pytest.mark.parametrize(("width", "height"), [(80, 80), (96, 72), (48, 64), (32, 32)])
def test_a_crop_of_seven_eighths_of_the_central_square_keeps_both_windows(width: int, height: int) -> None:
    side = min(width, height)
    for shape in scene(0, width=width, height=height).shapes:
        for corner, window, extent in zip(shape.corner, shape.window, (height, width), strict=True):
            before, after = corner - (extent - side) / 2, (extent + side) / 2 - corner - window
            assert min(before, after) >= side // 8


def test_the_background_shakes() -> None:
    frames = toy.render(scene(0), "apart")
    corner = frames[:, :4, :4].reshape(len(frames), -1)  # no shape comes here
    assert len(np.unique(corner, axis=0)) > len(frames) // 2


# --- what can be told from them ---
#
# A shape's place on its torus is the phase of the first harmonic of its mask, down and across its window:
# complex (V, T, 2 shapes, 2 axes). The probe is a ridge regression on one-hot classes, fitted on one half of
# the clips and evaluated on the other. It reads the class off the motion without a mistake, so its failure on
# anything else has a meaning.

NUM_CLIPS = 1600


def phases(clips: np.ndarray) -> np.ndarray:
    """Where the shapes are: (V, T, 2, 2) complex, from uint8 clips (V, T, H, W, 3)."""
    bright = (clips.min(axis=-1) > 128).astype(float)  # (V, T, H, W): the shapes, not the background
    places = []
    for shape in scene(0, height=clips.shape[2], width=clips.shape[3]).shapes:
        (top, left), (height, width) = shape.corner, shape.window
        mask = bright[:, :, top : top + height, left : left + width]
        down = mask.sum(axis=3) @ np.exp(2j * np.pi * np.arange(height) / height)
        right = mask.sum(axis=2) @ np.exp(2j * np.pi * np.arange(width) / width)
        places.append(np.stack([down, right], axis=-1))
    places = np.stack(places, axis=2)
    return places / np.abs(places)


def headings(places: np.ndarray) -> np.ndarray:
    """How far the shapes go in a frame, in parts of the torus: (V, 2 shapes, 2 axes)."""
    return np.angle((places[:, 1:] * places[:, :-1].conj()).sum(axis=1)) / (2 * np.pi)


def with_products(features: np.ndarray) -> np.ndarray:
    """(V, F) features and their products in pairs."""
    pairs = combinations_with_replacement(range(features.shape[1]), 2)
    return np.hstack([features, *(features[:, [one]] * features[:, [other]] for one, other in pairs)])


def probe_correct(features: np.ndarray, labels: np.ndarray) -> int:
    """How many clips of the second half a ridge regression fitted on the first half tells the class of."""
    half = len(features) // 2
    features = (features - features[:half].mean(axis=0)) / (features[:half].std(axis=0) + 1e-6)
    features = np.hstack([features, np.ones((len(features), 1))])
    seen, evaluated = features[:half], features[half:]
    targets = np.eye(len(toy.CLASS_NAMES))[labels[:half]]
    penalty = 10 * np.eye(seen.shape[1])
    weights = np.linalg.solve(seen.T @ seen + penalty, seen.T @ targets)
    return int(((evaluated @ weights).argmax(axis=1) == labels[half:]).sum())


def most_by_luck(probability: float, trials: int, confidence: float = 0.999) -> int:
    """The number of successes that `confidence` of all binomial draws do not exceed."""
    below = 0.0
    for successes in range(trials + 1):
        log_ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
        below += math.exp(
            log_ways + successes * math.log(probability) + (trials - successes) * math.log1p(-probability)
        )
        if below >= confidence:
            return successes
    return trials


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.arange(NUM_CLIPS) % len(toy.CLASS_NAMES)


@pytest.fixture(scope="module")
def clips(labels: np.ndarray) -> np.ndarray:
    scenes = (scene(seed, num_frames=4, height=48) for seed in range(NUM_CLIPS))
    return np.stack([toy.render(one, toy.CLASS_NAMES[label]) for one, label in zip(scenes, labels, strict=True)])


@pytest.fixture(scope="module")
def places(clips: np.ndarray) -> np.ndarray:
    return phases(clips)


@pytest.mark.parametrize("at", [0, 3])
def test_a_single_frame_does_not_tell_the_class(
    clips: np.ndarray, places: np.ndarray, labels: np.ndarray, at: int
) -> None:
    place = places[:, at].reshape(NUM_CLIPS, 4)
    pixels = clips[:, at].mean(axis=-1).reshape(NUM_CLIPS, 12, 4, 12, 4).mean(axis=(2, 4))  # (V, 12, 12)
    features = [with_products(np.hstack([place.real, place.imag])), pixels.reshape(NUM_CLIPS, 144)]
    assert probe_correct(np.hstack(features), labels) <= most_by_luck(1 / 8, NUM_CLIPS // 2)


def test_the_motion_of_both_shapes_tells_it(places: np.ndarray, labels: np.ndarray) -> None:
    assert probe_correct(headings(places).reshape(NUM_CLIPS, 4), labels) >= 0.99 * NUM_CLIPS / 2


@pytest.mark.parametrize("shape", [0, 1])
def test_the_motion_of_one_shape_tells_half_of_it(places: np.ndarray, labels: np.ndarray, shape: int) -> None:
    correct = probe_correct(headings(places)[:, shape], labels)
    assert 0.45 * NUM_CLIPS / 2 <= correct <= most_by_luck(1 / 2, NUM_CLIPS // 2)


def test_a_bag_of_motions_tells_three_quarters_of_it(places: np.ndarray, labels: np.ndarray) -> None:
    ways = np.concatenate([headings(places) > 0.005, headings(places) < -0.005], axis=-1)  # down right up left
    how_many = ways.sum(axis=1)  # (V, 4)
    correct = probe_correct(with_products(how_many), labels)
    assert 0.7 * NUM_CLIPS / 2 <= correct <= most_by_luck(3 / 4, NUM_CLIPS // 2)


# --- the splits ---


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Greatest phase correlation of two textures (H, W, 3) over all displacements: 1 for a displaced copy."""
    spectra = [np.fft.fft2(texture.mean(axis=-1) - texture.mean()) for texture in (one, other)]
    crossed = spectra[0] * spectra[1].conj()
    return float(np.fft.ifft2(crossed / (np.abs(crossed) + 1e-9)).real.max())


def test_no_two_clips_share_a_background() -> None:
    clips = list(clips_of_dataset(toy.ToyClip, **ONE_EACH | {"train_per_class": 2}))
    textures = {clip: toy.random_scene(clip.generator(0), **SMALL).texture for clip in clips}
    across_splits = [pair for pair in combinations(clips, 2) if pair[0].split != pair[1].split]
    assert len(clips) == 32
    assert len(across_splits) == 16 * 8 + 16 * 8 + 8 * 8
    assert max(likeness(textures[one], textures[other]) for one, other in across_splits) < 0.3
    assert len({texture.tobytes() for texture in textures.values()}) == len(clips)


def test_a_displaced_and_recolored_background_would_be_caught() -> None:
    texture = scene(0).texture
    assert likeness(texture, 0.5 + 0.7 * np.roll(texture, (3, 11), axis=(0, 1))) > 0.9


# --- the files ---


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_dataset(tmp_path_factory.mktemp("toy"), **ONE_EACH, **SMALL, fps=12, seed=5, num_workers=2).parent


def test_the_manifest_names_every_video(dataset: Path) -> None:
    class_names = read_classes(dataset / "classes.txt")
    assert class_names == list(toy.CLASS_NAMES)
    videos = set()
    for split in SPLITS:
        records = read_manifest(dataset / "manifest.csv", class_names, split=split)
        assert [record.label for record in records] == list(range(8))
        assert all(f"/{split}/{class_names[record.label]}/" in record.path for record in records)
        videos |= {Path(record.path) for record in records}
    assert videos == set(dataset.rglob("*.mp4"))
    assert not list(dataset.rglob(".part-*"))


@pytest.mark.parametrize("clip", [toy.ToyClip("train", "apart", 0), toy.ToyClip("test", "both_up", 0)])
def test_a_video_shows_its_clip(dataset: Path, clip: toy.ToyClip) -> None:
    with av.open(dataset / clip.path) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate) == (SMALL["num_frames"], 12)
        assert (stream.width, stream.height) == (SMALL["width"], SMALL["height"])
        keyframes = [frame.key_frame for frame in container.decode(stream)]
    assert [at for at, key in enumerate(keyframes) if key] == [0, 6]  # every half second

    frames = toy.render(toy.random_scene(clip.generator(5), **SMALL), clip.label)
    decoded = decode(dataset / clip.path)
    assert decoded.shape == frames.shape
    error = decoded[:, None].astype(float).mean(axis=-1) - frames.mean(axis=-1)  # (T, T, H, W): color is halved
    distance = np.sqrt(np.square(error).mean(axis=(2, 3)))
    assert (distance.argmin(axis=1) == np.arange(len(frames))).all()
    assert distance.diagonal().max() < 8


def test_the_same_arguments_give_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    again = make_toy_dataset(tmp_path, **ONE_EACH, **SMALL, fps=12, seed=5, num_workers=1).parent
    files = sorted(path.relative_to(dataset) for path in dataset.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for file in files:
        assert (dataset / file).read_bytes() == (again / file).read_bytes(), file


def test_another_seed_or_place_gives_another_clip() -> None:
    places = product(SPLITS, toy.CLASS_NAMES, range(2))
    streams = [toy.ToyClip(*place).generator(seed) for place in places for seed in (0, 1)]
    assert len({stream.bytes(16) for stream in streams}) == len(streams) == 96


def test_a_killed_run_leaves_whole_videos_and_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ONE_EACH | SMALL | {"num_workers": 1}
    make_toy_dataset(tmp_path, **arguments)
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*.mp4")}

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        make_toy_dataset(tmp_path, **arguments, seed=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.mp4")} == whole
    assert not (tmp_path / "manifest.csv").exists()


# --- arguments ---


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, int], str]] = [
        ({"train_per_class": 0}, "train_per_class is 0; expected at least 1"),
        ({"val_per_class": -1}, "val_per_class is -1; expected at least 1"),
        ({"test_per_class": 0}, "test_per_class is 0; expected at least 1"),
        ({"num_frames": 1}, "num_frames is 1; expected at least 2"),
        ({"width": 30}, "width is 30; expected at least 32"),
        ({"height": 31}, "height is 31; expected at least 32"),
        ({"width": 73}, "width is 73; expected an even number"),
        ({"height": 73}, "height is 73; expected an even number"),
        ({"fps": 0}, "fps is 0; expected at least 1"),
        ({"seed": -1}, "seed is -1; expected at least 0"),
        ({"num_workers": 0}, "num_workers is 0; expected at least 1"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            make_toy_dataset(tmp_path / "toy", **arguments)
    assert not (tmp_path / "toy").exists()


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "toy"), "--width", "73"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "make_toy_dataset: --width is 73; expected an even number, because yuv420p halves the color planes"
    ]


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "example: python -m data_prep.make_toy_dataset datasets/toy" in capsys.readouterr().out
