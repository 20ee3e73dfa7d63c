"""A training run that cannot work is refused, or its risks are logged, before a video is decoded."""

import pytest

from tests.each_case import each_case

FEW_CLIPS = "BatchNorm layers get"


class FirstVideoError(Exception):
    """Ends a run when it opens its first video."""


@pytest.fixture
def decoded(monkeypatch):
    """The videos that a run opens: at most one, as the run then ends with FirstVideoError."""
    videos = []

    def opened(path, *_, **__):
        videos.append(path)
        raise FirstVideoError

    monkeypatch.setattr("videoctx.data.loading.dataset.open_video", opened)
    return videos


@pytest.fixture
def messages_of(run, decoded, caplog):  # noqa: ARG001
    """Starts a training, and returns the messages that it logs until it opens its first video."""

    def messages_of(*arguments: object) -> list[str]:
        caplog.clear()
        with pytest.raises(FirstVideoError):
            run("fit", *arguments, "--trainer.max_epochs=1", name="".join(filter(str.isalnum, str(arguments))))
        return list(caplog.messages)

    return messages_of


@pytest.fixture
def sides(copy):
    """The set with two classes that a flip exchanges, and one class without a video."""
    manifest = copy / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("blue_up", "go_left").replace("green_down", "go_right"))
    (copy / "classes.txt").write_text("go_left\ngo_right\nred_still\nwalk\n")
    return f"--data.manifest={manifest}"


GLOBAL_GATHER = """
model:
  net:
    init_args:
      context: {class_path: videoctx.layers.GatherExcite, init_args: {variant: theta, extent: global, size: [2, 1, 1]}}
      context_at: {res5: [1]}
"""


@each_case(
    ("options", "words"),
    [
        (
            ["--model.schedule=videoctx.tasks.WarmupCosine", "--model.schedule.init_args.warmup_epochs=9"],
            ["warmup_epochs is 9", "expected less than 2 epochs"],
        ),
        (
            ["--data.batch_size=1", "--data.clips.clip_len=2"],  # res5 has maps of 1 × 1 × 1
            ["a single clip, of which BatchNorm res5.0.shortcut.1 gets one value", "data.batch_size"],
        ),
        (
            ["--data.batch_size=1", "-c", "gather.yaml"],
            ["a single clip, of which BatchNorm res5.1.after_add.context.1 gets one value"],
        ),
    ],
)
def test_a_run_that_cannot_work_is_refused(refused, decoded, tmp_path, monkeypatch, options, words):
    (tmp_path / "gather.yaml").write_text(GLOBAL_GATHER)
    monkeypatch.chdir(tmp_path)
    line = refused("fit", *options)
    assert all(word in line for word in words), line
    assert decoded == []


def test_a_flip_that_changes_the_class_is_refused(refused, decoded, sides):
    line = refused("fit", sides)
    assert "a flipped clip of 'go_left' shows 'go_right', and 2 of 4 classes are like that" in line
    assert decoded == []


@each_case("way", ["--data.train.flip_labels=swap", "--data.train.flip_probability=0"])
def test_the_solutions_that_the_error_names_are_accepted(messages_of, sides, way):
    (line,) = [message for message in messages_of(sides, way) if "have no video" in message]
    assert line == "1 of 4 classes have no video in split 'train', so they are not learned: walk"


@each_case(("batch_size", "clips"), [(1, "a single clip"), (3, "only 3 clips"), (4, None)])
def test_few_clips_for_batch_norm(messages_of, batch_size, clips):
    lines = [message for message in messages_of(f"--data.batch_size={batch_size}") if FEW_CLIPS in message]
    assert [clips in line for line in lines] == ([True] if clips else [])
    assert "\n" not in "".join(lines)


def test_a_single_clip_is_enough_with_frozen_batch_norm(messages_of):
    options = ["--data.batch_size=1", "--data.clips.clip_len=2"]
    lines = messages_of(*options, "--trainer.callbacks+=videoctx.tasks.FrozenBatchNorm")
    assert not any(FEW_CLIPS in line for line in lines)
