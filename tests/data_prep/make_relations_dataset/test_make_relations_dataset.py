"""The relations dataset: nothing in one frame or place, a ceiling for sums over them, and all in their products."""

from itertools import combinations, product
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from scipy.stats import binom

from data_prep.make_relations_dataset import color_relations as relations
from data_prep.make_relations_dataset.__main__ import main, make_relations_dataset
from data_prep.synthetic.clips import SPLITS, clips_of_dataset
from videoctx.data.annotations import read_classes, read_manifest

SMALL = {"num_frames": 8, "side": 48}
TWO_EACH = {"train_per_class": 2, "val_per_class": 2, "test_per_class": 2}
PAIRS = list(combinations(range(4), 2))
# The table of the module's docstring, spelt out again: places of the two pairs; 0 1 above, 2 3 below.
BELONG = {"rows": [(0, 1), (2, 3)], "columns": [(0, 2), (1, 3)], "diagonals": [(0, 3), (1, 2)]}
# All that a clip can show but for its scene, as +1 for one color and -1 for the other: six times four places.
SHOWN = [(label, sign * (1 - 2 * np.array(relations.ARRANGEMENTS[label]))) for label in BELONG for sign in (1, -1)]


def scene(seed: int, split: str = "train", **size: int) -> relations.Scene:
    return relations.random_scene(np.random.default_rng(seed), relations.LOOKS[split], **(SMALL | size))


def decode(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def redness(clips: np.ndarray) -> np.ndarray:
    """Red less blue in each quarter of each frame: (V, T, 4 places), from clips (V, T, H, W, 3)."""
    red_less_blue = clips[..., 0].astype(float) - clips[..., 2]
    side = clips.shape[2]
    quarters = red_less_blue.reshape(*clips.shape[:2], 2, side // 2, 2, side // 2).mean(axis=(3, 5))
    return quarters.reshape(*clips.shape[:2], 4)


# --- what the labels say ---


@pytest.mark.parametrize("label", BELONG)
@pytest.mark.parametrize("index", [0, 1])
def test_the_colors_are_those_of_the_table(label: str, index: int) -> None:
    colors = relations.RelationClip("train", label, index).colors
    assert sorted(colors) == [0, 0, 1, 1]
    assert {pair for pair in PAIRS if colors[pair[0]] == colors[pair[1]]} == set(BELONG[label])


def test_every_place_has_each_color_equally_often_in_every_class() -> None:
    clips = list(clips_of_dataset(relations.RelationClip, train_per_class=6, val_per_class=4, test_per_class=2))
    for split, label, place in product(SPLITS, BELONG, range(4)):
        seen = [clip.colors[place] for clip in clips if (clip.split, clip.label) == (split, label)]
        assert seen.count(0) == seen.count(1) > 0


@pytest.mark.parametrize("pair", PAIRS)
def test_two_places_tell_only_whether_their_pair_is_the_class(pair: tuple[int, int]) -> None:
    told = {label: set() for label in BELONG}
    for label, colors in SHOWN:
        told[label].add(tuple(colors[list(pair)]))
    own = next(label for label in BELONG if pair in BELONG[label])
    assert told.pop(own) == {(1, 1), (-1, -1)}
    assert list(told.values()) == [{(1, -1), (-1, 1)}] * 2


def test_a_mirror_leaves_the_class() -> None:
    for label, pairs in BELONG.items():
        assert {tuple(sorted(place ^ 1 for place in pair)) for pair in pairs} == set(BELONG[label])


def test_no_sum_over_places_is_right_more_often_than_in_two_thirds() -> None:
    """Every linear classifier is such a sum, and so is a network that averages what it makes of single frames."""
    labels = np.array([list(BELONG).index(label) for label, _ in SHOWN])
    colors = np.stack([colors for _, colors in SHOWN])  # (6, 4)
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((20_000, 3, 4))  # a place's color has a score of its own in each class
    bias = generator.standard_normal((20_000, 3, 1))
    best = (weights @ colors.T + bias).argmax(axis=1)  # (20000, 6)
    assert (best == labels).sum(axis=1).max() == 4

    products = np.stack([colors[:, 0] * colors[:, place] for place in (1, 2, 3)], axis=1)  # (6, 3)
    assert (products.argmax(axis=1) == labels).all()


# --- what the clips show ---


@pytest.mark.parametrize("seed", range(3))
def test_a_frame_shows_one_shape_in_its_own_quarter(seed: int) -> None:
    drawn = scene(seed)
    background = np.rint(255 * drawn.background)
    touched = redness(np.abs(relations.render(drawn, (0, 1, 1, 0)) - background)[None])[0] != 0  # (T, 4)
    assert (touched.sum(axis=1) == 1).all()
    turns = touched.argmax(axis=1).reshape(4, -1)  # the place, in each of the four times
    assert (turns == turns[:, :1]).all()
    assert sorted(turns[:, 0]) == [0, 1, 2, 3]
    assert [drawn.shapes[place].turn for place in turns[:, 0]] == [0, 1, 2, 3]


def test_a_frame_depends_on_the_color_of_its_place_alone() -> None:
    drawn = scene(0)
    clips = {colors: relations.render(drawn, colors) for colors in product((0, 1), repeat=4)}
    for one, other in combinations(clips, 2):
        same = (clips[one] == clips[other]).all(axis=(1, 2, 3))  # (T,)
        differs_at = {drawn.shapes[place].turn for place in range(4) if one[place] != other[place]}
        assert same.tolist() == [at // 2 not in differs_at for at in range(8)]


@pytest.mark.parametrize("split", SPLITS)
def test_a_shape_is_red_or_blue_at_its_place(split: str) -> None:
    for seed, (_, colors) in enumerate(SHOWN):
        clip = relations.render(scene(seed, split), tuple((1 - colors) // 2))
        at_places = redness(clip[None])[0].sum(axis=0)  # (4,)
        assert (np.sign(at_places) == colors).all()


def test_the_shapes_and_the_times_vary() -> None:
    scenes = [scene(seed) for seed in range(40)]
    assert len({tuple(shape.turn for shape in drawn.shapes) for drawn in scenes}) > 15  # of 24
    assert {shape.corners for drawn in scenes for shape in drawn.shapes} == {3, 5}
    assert all(len(np.unique(drawn.background.reshape(8, -1), axis=0)) == 8 for drawn in scenes)  # it moves


def test_any_clip_of_the_config_has_a_frame_of_each_shape() -> None:
    clips = yaml.safe_load((Path(__file__).parents[3] / "configs" / "data" / "relations.yaml").read_text())["data"][
        "clips"
    ]
    num_frames = 16
    span = (clips["clip_len"] - 1) * clips["frame_interval"] + 1
    for start in range(num_frames - span + 1):
        frames = start + clips["frame_interval"] * np.arange(clips["clip_len"])
        assert (4 * frames // num_frames).tolist() == [0, 1, 2, 3]


# --- what can be told from them ---
#
# The probe is a ridge regression on one-hot classes, fitted on one half of the clips and evaluated on the other. It
# reads the class off the products of colors without a mistake, so its failure on anything else has a meaning.

NUM_CLIPS = 1200


def probe_correct(features: np.ndarray, labels: np.ndarray) -> int:
    half = len(features) // 2
    features = (features - features[:half].mean(axis=0)) / (features[:half].std(axis=0) + 1e-6)
    features = np.hstack([features, np.ones((len(features), 1))])
    seen, evaluated = features[:half], features[half:]
    weights = np.linalg.solve(seen.T @ seen + 10 * np.eye(seen.shape[1]), seen.T @ np.eye(3)[labels[:half]])
    return int(((evaluated @ weights).argmax(axis=1) == labels[half:]).sum())


def most_by_luck(probability: float) -> int:
    return int(binom.ppf(0.999, NUM_CLIPS // 2, probability))


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.arange(NUM_CLIPS) % 3


@pytest.fixture(scope="module")
def clips(labels: np.ndarray) -> np.ndarray:
    kinds = [relations.RelationClip("train", relations.CLASS_NAMES[label], at // 3) for at, label in enumerate(labels)]
    return np.stack([relations.render(scene(at, num_frames=4, side=32), kind.colors) for at, kind in enumerate(kinds)])


@pytest.mark.parametrize("at", range(4))
def test_a_single_frame_does_not_tell_the_class(clips: np.ndarray, labels: np.ndarray, at: int) -> None:
    pixels = clips[:, at].reshape(NUM_CLIPS, 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(NUM_CLIPS, -1)  # (V, 192)
    assert probe_correct(np.hstack([pixels, pixels**2]), labels) <= most_by_luck(1 / 3)


@pytest.mark.parametrize("place", range(4))
def test_a_single_place_does_not_tell_the_class(clips: np.ndarray, labels: np.ndarray, place: int) -> None:
    over_time = redness(clips)[:, :, place]  # (V, T): its color and when it comes
    pairs = [over_time[:, one] * over_time[:, other] for one in range(4) for other in range(one + 1)]
    assert probe_correct(np.column_stack([over_time, *pairs]), labels) <= most_by_luck(1 / 3)


def test_an_average_over_frames_does_not_tell_it(clips: np.ndarray, labels: np.ndarray) -> None:
    colors = redness(clips)  # (V, T, 4)
    of_frames = np.concatenate([colors, colors**2, np.sign(colors), colors > 20], axis=2)
    assert probe_correct(of_frames.mean(axis=1), labels) <= most_by_luck(2 / 3)


def test_products_of_two_times_tell_it(clips: np.ndarray, labels: np.ndarray) -> None:
    colors = redness(clips)
    shown = np.take_along_axis(colors, np.abs(colors).argmax(axis=1)[:, None], axis=1)[:, 0]  # (V, 4)
    pairs = np.stack([np.sign(shown[:, one] * shown[:, other]) for one, other in PAIRS], axis=1)
    assert probe_correct(pairs, labels) >= 0.99 * NUM_CLIPS / 2


# --- the splits ---


def test_the_splits_share_neither_outlines_nor_backgrounds_nor_streams() -> None:
    for one, other in combinations(relations.LOOKS.values(), 2):
        assert not set(one.corners) & set(other.corners)
        assert one.waves[1] < other.waves[0] or other.waves[1] < one.waves[0]
    places = product(SPLITS, relations.CLASS_NAMES, range(2))
    streams = [relations.RelationClip(*place).generator(seed) for place in places for seed in (0, 1)]
    assert len({stream.bytes(16) for stream in streams}) == len(streams) == 36


@pytest.mark.parametrize("split", SPLITS)
def test_a_background_has_the_waves_of_its_split(split: str) -> None:
    least, most = relations.LOOKS[split].waves
    image = scene(1, split, side=80).background[0].mean(axis=-1)
    window = np.outer(np.hanning(80), np.hanning(80))
    power = np.abs(np.fft.fft2((image - image.mean()) * window, s=(640, 640))) ** 2
    waves = 80 * np.hypot(np.fft.fftfreq(640)[:, None], np.fft.fftfreq(640))  # across the image
    assert least - 0.5 < waves.flat[power.argmax()] < most + 0.5


# --- the files ---


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relations")
    return make_relations_dataset(folder, **TWO_EACH, **SMALL, fps=12, seed=5, num_workers=2).parent


def test_the_manifest_names_every_video(dataset: Path) -> None:
    class_names = read_classes(dataset / "classes.txt")
    assert class_names == list(BELONG)
    videos = set()
    for split in SPLITS:
        records = read_manifest(dataset / "manifest.csv", class_names, split=split)
        assert [record.label for record in records] == [0, 0, 1, 1, 2, 2]
        assert all(f"/{split}/{class_names[record.label]}/" in record.path for record in records)
        videos |= {Path(record.path) for record in records}
    assert videos == set(dataset.rglob("*.mp4"))
    assert not list(dataset.rglob(".part-*"))


@pytest.mark.parametrize(
    "clip", [relations.RelationClip("train", "rows", 1), relations.RelationClip("test", "rows", 0)]
)
def test_a_video_shows_its_clip(dataset: Path, clip: relations.RelationClip) -> None:
    drawn = relations.random_scene(clip.generator(5), relations.LOOKS[clip.split], **SMALL)
    frames = relations.render(drawn, clip.colors)
    decoded = decode(dataset / clip.path)
    assert decoded.shape == frames.shape == (8, 48, 48, 3)
    assert np.sqrt(np.square(decoded.mean(axis=-1) - frames.mean(axis=-1)).mean()) < 8
    assert (np.sign(redness(decoded[None]).sum(axis=1)) == np.sign(redness(frames[None]).sum(axis=1))).all()


def test_the_same_arguments_give_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    again = make_relations_dataset(tmp_path, **TWO_EACH, **SMALL, fps=12, seed=5, num_workers=1).parent
    files = sorted(path.relative_to(dataset) for path in dataset.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert len(files) == 3 * 3 * 2 + 2
    for file in files:
        assert (dataset / file).read_bytes() == (again / file).read_bytes(), file


# --- arguments ---


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, int], str]] = [
        ({"train_per_class": 3}, "train_per_class is 3; expected at least 2 and a multiple of 2"),
        ({"val_per_class": 0}, "val_per_class is 0; expected at least 2"),
        ({"test_per_class": -2}, "test_per_class is -2; expected at least 2"),
        ({"num_frames": 6}, "num_frames is 6; expected at least 4 and a multiple of 4"),
        ({"side": 49}, "side is 49; expected at least 32 and a multiple of 2"),
        ({"side": 30}, "side is 30; expected at least 32"),
        ({"fps": 0}, "fps is 0; expected at least 1"),
        ({"seed": -1}, "seed is -1; expected at least 0"),
        ({"num_workers": 0}, "num_workers is 0; expected at least 1"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            make_relations_dataset(tmp_path / "relations", **arguments)
    assert not (tmp_path / "relations").exists()


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "relations"), "--side", "49"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "make_relations_dataset: --side is 49; expected at least 32 and a multiple of 2"
    ]
