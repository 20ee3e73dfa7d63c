"""A class that replaces another on the command line starts from its own defaults, and a line reports what it loses."""

import yaml

from tests.each_case import each_case
from tests.tiny_runs import column
from videoctx.cli.parts import with_parts
from videoctx.cli.replaced_classes import with_optimizer_defaults

CONFIG = """
model:
  optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1, momentum: 0.9, weight_decay: 0.0001}}
  net:
    class_path: videoctx.models.ResNet3D
    init_args:
      depth: 18
      context: {class_path: videoctx.layers.NonLocal, init_args: {inner_ratio: 0.25}}
trainer:
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {name: mine, flush_logs_every_n_steps: 5}}
"""
OTHER = "model: {optimizer: {class_path: torch.optim.AdamW, init_args: {weight_decay: 0.05}}}"
LOST = "model.optimizer: torch.optim.AdamW has its own defaults, without lr 0.1, momentum 0.9, weight_decay 0.0001 of"


@each_case(
    ("arguments", "line"),
    [
        (["--model.optimizer=torch.optim.AdamW"], LOST),
        (["--model.optimizer", "torch.optim.AdamW"], LOST),
        (["--model.optimizer.class_path=torch.optim.AdamW"], LOST),
        (["--model.optimizer={class_path: torch.optim.AdamW, init_args: {lr: 0.5}}"], LOST),
        (["-c", OTHER], LOST),
        (["--model.optimizer.init_args.lr=0.3", "--model.optimizer=torch.optim.AdamW"], "without lr 0.3, momentum 0.9"),
        (
            ["--model.optimizer.lr=0.3", "--model.optimizer=AdamW"],
            "AdamW has its own defaults, without lr 0.3, momentum",
        ),
        (["--model.net=torchvision.models.video.r3d_18"], "without depth 18, context of videoctx.models.ResNet3D"),
        (
            ["--model.net.init_args.context=videoctx.layers.GlobalContext"],
            "model.net.context: videoctx.layers.GlobalContext has its own defaults, without inner_ratio 0.25 of",
        ),
        (["--model.net.context=videoctx.layers.GlobalContext"], "without inner_ratio 0.25 of videoctx.layers.NonLocal"),
        (
            ["--trainer.logger=lightning.pytorch.loggers.TensorBoardLogger"],
            "trainer.logger: lightning.pytorch.loggers.TensorBoardLogger keeps name mine of lightning",
        ),
        (["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.2"], None),
        (["--model.optimizer=SGD"], None),
        (["--model.optimizer.init_args.lr=0.2", "--model.label_smoothing=0.1", "--trainer.max_epochs", "3"], None),
        (["--model.schedule=null", "--trainer.logger=false"], None),
    ],
)
def test_what_a_class_does_not_take_over_is_reported(arguments, line, capsys):
    kept = with_parts(["fit", "-c", CONFIG, *arguments])
    lines = capsys.readouterr().err.splitlines()
    assert [line in one for one in lines] == [True] * len(lines) if line else lines == []
    assert len(lines) == bool(line)
    assert (kept[2] == CONFIG) == (line is None or "keeps" in line)
    if line is None:
        assert kept == ["fit", "-c", CONFIG, *arguments]


def test_the_parts_of_one_config_replace_classes_without_a_line(tmp_path, capsys):
    (tmp_path / "base.yaml").write_text(CONFIG)
    (tmp_path / "top.yaml").write_text(f"parts: [base.yaml]\n{OTHER}\n")
    kept = with_parts(["-c", str(tmp_path / "top.yaml")])
    assert "optimizer" not in yaml.safe_load(kept[1])["model"]
    assert capsys.readouterr().err == ""
    with_parts(["-c", str(tmp_path / "base.yaml"), "-c", str(tmp_path / "top.yaml")])
    assert capsys.readouterr().err == ""  # the same class again


def test_the_default_optimizer_hands_nothing_over():
    """VideoClassifier's is SGD with a weight decay of 0.0001."""
    for arguments in (["-c", OTHER.replace("weight_decay: 0.05", "lr: 0.05")], ["--model.optimizer=AdamW"]):
        (option,) = [argument for argument in with_optimizer_defaults(["fit", *arguments]) if "0.001" in argument]
        defaults = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001, "weight_decay": 0.01}}
        assert yaml.safe_load(option.removeprefix("--model.optimizer=")) == defaults
    for arguments in ([], ["--model.optimizer=torch.optim.SGD"], ["--model.optimizer=no.such.Class"], ["-c", CONFIG]):
        assert with_optimizer_defaults(["fit", *arguments]) == ["fit", *arguments]


def test_a_run_with_another_optimizer_trains_with_its_defaults(run, capsys):
    folder = run("fit", "--model.optimizer=torch.optim.AdamW", "--trainer.max_epochs=1")
    assert "AdamW has its own defaults, without lr 0.02, momentum 0.9 of torch.optim.SGD" in capsys.readouterr().err
    config = yaml.safe_load((folder / "config.yaml").read_text())["model"]["optimizer"]
    assert (config["init_args"]["lr"], config["init_args"]["weight_decay"]) == (0.001, 0.01)
    assert set(column(folder, "lr-AdamW/weights")) == {"0.001"}
