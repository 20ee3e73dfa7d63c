"""Lightning's own options of the Trainer work, or an error in one line names what to use instead."""

import pytest

from tests.tiny_runs import column
from videoctx.cli import main

WORKS = {
    "fast_dev_run=2": None,  # without files
    "limit_train_batches=1": "val/loss",
    "limit_val_batches=0": "train/loss",
    "limit_val_batches=1": "val/loss",
    "num_sanity_val_steps=-1": "val/loss",
    "detect_anomaly=true": "val/loss",
    "profiler=simple": "val/loss",
    "check_val_every_n_epoch=2": "val/loss",
    "check_val_every_n_epoch=null": "train/loss",
    "val_check_interval=0.5": "val/loss",
    "max_time=00:00:10:00": "val/loss",
    "deterministic=true": "val/loss",
    "accumulate_grad_batches=2": "val/loss",
    "gradient_clip_val=1.0": "val/loss",
    "inference_mode=false": "val/loss",
    "use_distributed_sampler=false": "val/loss",
    "reload_dataloaders_every_n_epochs=1": "val/loss",
    "max_steps=1": "train/loss",
}
REFUSED = {
    "overfit_batches=1": "expected trainer.limit_train_batches, with data.val_split train",
    "limit_train_batches=0": "expected 1 or more",
    "max_epochs=0": "expected 1 or more",
    "max_steps=0": "expected 1 or more",
    "check_val_every_n_epoch=0": "expected 1 or more",
    "precision=64-true": "trainer.precision is 64-true; expected 32-true or bf16-mixed or 16-mixed",
    "precision=bf16-true": "trainer.precision is bf16-true; expected 32-true or bf16-mixed or 16-mixed",
    "val_check_interval=3": "must be less than or equal to the number of the training batches",
}
WITHOUT_FOLDER = {"logger=false": ["checkpoints"], "enable_checkpointing=false": [], "barebones=true": []}


@pytest.mark.slow
@pytest.mark.parametrize("option", WORKS)
def test_an_option_works(run, option):
    folder = run("fit", f"--trainer.{option}", name=f"-{option.replace(':', '-')}")
    metric = WORKS[option]
    assert folder.exists() == (metric is not None)
    if metric:
        assert column(folder, metric)


@pytest.mark.slow
@pytest.mark.parametrize("option", REFUSED)
def test_an_option_is_refused_in_one_line(refused, option):
    assert REFUSED[option] in refused("fit", f"--trainer.{option}")


@pytest.mark.parametrize("option", WITHOUT_FOLDER)
def test_a_run_without_a_part_of_it(place, tmp_path, monkeypatch, option):
    """Without a logger there is no folder of the run; without checkpoints there are none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["videoctx"])
    name = f"trainer_flags-{option}"
    arguments = [] if option != "enable_checkpointing=false" else [f"--trainer.logger.init_args.name={name}"]
    main(["fit", "-c", str(place.config), f"--trainer.{option}", "--trainer.max_epochs=1", *arguments])
    assert sorted(path.name for path in tmp_path.iterdir()) == WITHOUT_FOLDER[option]
    assert not (place.runs / name / "checkpoints").exists()
    assert (place.runs / name).exists() == (option == "enable_checkpointing=false")
