"""What makes a training run worthless is said in one line, before anything is decoded."""

import pytest

from videoctx.data.decoding.video_reader import open_video

FEW_CLIPS = "BatchNorm layers get"


@pytest.fixture
def decoded(monkeypatch, caplog):
    """What was said by the time that the first video is opened, of validation too: empty if none is."""
    said = []

    def opened(*arguments):
        said.append(list(caplog.messages))
        return open_video(*arguments)

    monkeypatch.setattr("videoctx.data.loading.dataset.open_video", opened)
    return said


@pytest.fixture
def sides(copy):
    """The set with two classes that a flip exchanges, and one that no video shows."""
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


@pytest.mark.parametrize(
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
    ids=["warm-up", "small maps", "pooled maps"],
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


@pytest.mark.parametrize("way", ["--data.train.flip_labels=swap", "--data.train.flip_probability=0"])
def test_the_ways_out_that_it_names(run, decoded, sides, way):
    folder = run("fit", sides, way, "--trainer.max_epochs=1")
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    (said,) = [message for message in decoded[0] if "have no video" in message]
    assert said == "1 of 4 classes have no video in split 'train', so they are not learned: walk"


@pytest.mark.parametrize(("batch_size", "clips"), [(1, "a single clip"), (3, "only 3 clips"), (4, None)])
def test_few_clips_for_batch_norm(run, decoded, batch_size, clips):
    run("fit", f"--data.batch_size={batch_size}", "--trainer.max_epochs=1")
    said = [message for message in decoded[0] if FEW_CLIPS in message]
    assert [clips in message for message in said] == ([True] if clips else [])
    assert "\n" not in "".join(said)


def test_a_single_clip_is_enough_where_batch_norm_is_frozen(run, decoded):
    options = ["--data.batch_size=1", "--data.clips.clip_len=2", "--trainer.callbacks+=videoctx.tasks.FrozenBatchNorm"]
    run("fit", *options, "--trainer.max_epochs=1")
    assert not any(FEW_CLIPS in message for message in decoded[0])
