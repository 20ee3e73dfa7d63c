"""Every config in configs/ works as its file describes: networks build, experiments train a step and are evaluated."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn

from tests.each_case import each_case
from tests.tiny_set import make_set
from videoctx.cli import main
from videoctx.cli.parts import with_parts
from videoctx.cli.tool_parser import net_from_config
from videoctx.models import SlowFast
from videoctx.models.checkpoint_formats import EIGHTH
from videoctx.models.complexity import complexity
from videoctx.models.network_config import build_network, network_config

CONFIGS = Path(__file__).parents[1] / "configs"
EXPERIMENTS = sorted((CONFIGS / "experiment").glob("*.yaml"))
MODELS = sorted((CONFIGS / "model").glob("*.yaml"))
CLIPS_32X2 = CONFIGS / "data" / "clips_32x2.yaml"
RECIPES_32X2 = [CONFIGS / "experiment" / f"kinetics400_{recipe}.yaml" for recipe in ("mmaction2", "gluoncv")]

# What makes a step of any experiment a matter of a second on any machine.
SMALL = {
    "trainer": {
        "accelerator": "cpu",
        "devices": 1,
        "strategy": "auto",
        "precision": "32-true",
        "max_time": "00:00:00:00",  # and not max_steps, to which the schedule would have to fit
        "min_steps": 1,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
    "data": {
        "batch_size": 4,  # the whole set, and not limit_train_batches 1: that may be read as 1.0, which is all
        "train": {"crop_size_px": 32, "short_side_px": [32, 40]},
        "test": {"views": [1, 3], "crop_size_px": 32, "short_side_px": 32},
        "loading": {"num_workers": 0},
    },
    "model": {"weights": None, "compiled_blocks": False, "net": {"init_args": {"width": 8}}},
}


def name_of(path: Path) -> str:
    return path.relative_to(CONFIGS).with_suffix("").as_posix()


def configs(*paths: Path) -> list[str]:
    return [argument for path in paths for argument in ("-c", str(path))]


def merged(arguments: list[str]) -> dict:
    """The configs among expanded arguments as one, the later over the earlier."""

    def update(target, source):
        for key, value in source.items():
            if isinstance(value, dict) and isinstance(target.get(key), dict):
                update(target[key], value)
            else:
                target[key] = value

    config = {}
    for text in arguments[1::2]:
        update(config, yaml.safe_load(text))
    return config


@pytest.fixture(autouse=True)
def own_argv(monkeypatch):
    """`main` hands its arguments to Lightning by way of `sys.argv`."""
    monkeypatch.setattr("sys.argv", ["videoctx"])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("set"), num_videos={"train": 4, "val": 1, "test": 1})


# Networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@each_case("path", [*MODELS, *EXPERIMENTS])
def test_the_network_is_the_one_that_the_file_describes(path):
    described, _ = net_from_config(ArgumentParser(), ["--config", str(path)])
    with torch.device("meta"):
        net = described.make(400)
    options = merged(with_parts(["-c", str(path)]))["model"]["net"].get("init_args", {})
    slots = {name: module for name, module in net.named_modules() if name.endswith((".after_add", ".after_1x1"))}
    position = options.get("context_position", "after_add")
    filled = {name for name, module in slots.items() if not isinstance(module, nn.Identity)}
    slow = ".slow" if isinstance(net, SlowFast) else ""
    assert filled == {
        f"{stage}{slow}.{index}.{position}"
        for stage, indices in options.get("context_at", {}).items()
        for index in indices
    }
    if named := re.search(r"_[a-z]+(\d+)$", path.stem.partition("_r")[2]):  # r50_nl5: five blocks
        assert len(filled) == int(named[1])
    if counted := re.search(r"([\d.]+)M parameters", path.read_text()):
        assert f"{sum(parameter.numel() for parameter in net.parameters()) / 1e6:.2f}" == counted[1]
    if path in MODELS:
        assert_counts_add_up(complexity(lambda: net, clip_len=8, size=224).as_dict())
        assert_rebuilt_from_its_config(net, described.config)


def assert_rebuilt_from_its_config(net: nn.Module, written: dict) -> None:
    """The config that a network records builds it again, as does the one in a run's config.yaml, with all defaults."""
    recorded = network_config(net)
    assert yaml.safe_load(yaml.safe_dump(recorded)) == recorded is not None
    for config in (recorded, written):
        with torch.device("meta"):
            other = build_network(config, 400)
        assert network_config(other) == recorded
        assert str(other) == str(net)  # kernels, strides, padding, probabilities
        assert {name: p.shape for name, p in other.state_dict().items()} == {
            name: p.shape for name, p in net.state_dict().items()
        }


def assert_counts_add_up(counts: dict) -> None:
    """A network is the sum of its stages, and its context blocks are part of them."""
    names = [stage["name"] for stage in counts["stages"]]
    extra = ("neck", "conv5", "fc1")
    assert [name for name in names if name not in extra] == ["stem", "res2", "res3", "res4", "res5", "head"]
    blocks = counts["context_blocks"]
    assert all(set(part) == {"name", "kind", "params", "macs"} for part in counts["stages"] + blocks)
    for count in ("params", "macs"):
        assert sum(stage[count] for stage in counts["stages"]) == counts[count] > 0
        for stage in counts["stages"]:
            assert sum(block[count] for block in blocks if block["name"].startswith(stage["name"])) < stage[count]


def test_all_networks_differ():
    """No two files of a network are the same network by mistake."""
    kinds = {}
    for path in MODELS:
        options = merged(with_parts(["-c", str(path)]))["model"]["net"]
        kinds.setdefault(yaml.safe_dump(options), []).append(path.name)
    # X3D-XS and X3D-S are one network for clips of different length.
    assert [names for names in kinds.values() if len(names) > 1] == [["x3d_s.yaml", "x3d_xs.yaml"]]


@each_case("recipe", RECIPES_32X2)
@each_case("name", ["i3d_r50", "i3d_r50_nl5", "c2d_r50_gc5"])
def test_32_frames_make_the_published_strides_of_any_network(recipe, name):
    network = CONFIGS / "model" / f"{name}.yaml"
    described, _ = net_from_config(ArgumentParser(), configs(recipe, network, CLIPS_32X2))
    alone, _ = net_from_config(ArgumentParser(), configs(network))
    changed = {
        key: value for key, value in described.config["init_args"].items() if alone.config["init_args"][key] != value
    }
    assert changed | {"pool2_t": described.config["init_args"]["pool2_t"]} == EIGHTH
    if name == "i3d_r50":  # 43.5 in mmaction2's README, which counts at 256
        assert complexity(lambda: described.make(400), clip_len=32, size=256).macs / 1e9 == pytest.approx(
            43.5, rel=0.01
        )


def test_the_tool_counts_what_was_built(capsys):
    main(["complexity", "-c", str(CONFIGS / "model" / "demo_r18_gc.yaml"), "--clip_len=8", "--size=64", "--json"])
    printed = yaml.safe_load(capsys.readouterr().out)
    described, _ = net_from_config(ArgumentParser(), ["-c", str(CONFIGS / "model" / "demo_r18_gc.yaml")])
    assert printed == complexity(lambda: described.make(400), clip_len=8, size=64).as_dict()


# Experiments ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "paths",
    [*((path,) for path in EXPERIMENTS), *((recipe, CLIPS_32X2) for recipe in RECIPES_32X2)],
    ids=lambda paths: "+".join(map(name_of, paths)),
)
def test_an_experiment_trains_a_step_and_is_evaluated(paths, manifest, tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text(yaml.safe_dump(SMALL))
    arguments = [*configs(*paths, small), f"--data.manifest={manifest}"]
    logger = "--trainer.logger.init_args"
    arguments += [f"{logger}.save_dir={tmp_path}", f"{logger}.version="]
    main(["fit", *arguments, f"{logger}.name=fit"])
    last = tmp_path / "fit" / "checkpoints" / "last.ckpt"
    assert torch.load(last)["global_step"] == 1
    assert (tmp_path / "fit" / "checkpoints" / "best.ckpt").is_file()
    main(["test", *arguments, f"{logger}.name=test", f"--ckpt_path={last}"])
    assert (tmp_path / "test" / "results.json").is_file()


def common(some: dict, all_of_them: dict) -> dict:
    """Those keys of `some` that the other has, at every depth, with the values of the other."""
    return {
        key: common(value, all_of_them[key]) if isinstance(value, dict) else all_of_them[key]
        for key, value in some.items()
        if key in all_of_them
    }


@pytest.mark.slow
@each_case("path", sorted(CONFIGS.glob("[dt]*/*.yaml")))
def test_every_key_of_a_part_is_known(path, capsys):
    """Also of parts that no experiment names, or that need machines that are not there."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", "-c", str(CONFIGS / "experiment" / "demo_plain.yaml"), "-c", str(path), "--print_config"])
    assert stop.value.code == 0
    written, known = yaml.safe_load(path.read_text()), yaml.safe_load(capsys.readouterr().out)
    assert common(written, known) == written


@each_case("path", [*MODELS, *EXPERIMENTS])
def test_parts_are_configs_of_this_folder(path):
    for part in yaml.safe_load(path.read_text()).get("parts", []):
        assert (path.parent / part).resolve().is_relative_to(CONFIGS)
        assert (path.parent / part).is_file()


# How parts are put together ---------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


@each_case("option", [["--config"], ["-c"], None])
def test_parts_come_first_in_order_and_relative_to_their_config(write, option):
    write("parts/deep.yaml", "{a: 0, b: 0, c: 0, d: 0}")
    write("parts/one.yaml", "{parts: [deep.yaml], b: 1, c: 1, d: 1}")
    write("two.yaml", "{c: 2, d: 2}")
    top = write("top.yaml", "{parts: [parts/one.yaml, two.yaml], d: 3}")
    arguments = with_parts(["fit", *([*option, top] if option else [f"--config={top}"]), "--x=1"])
    assert arguments[0], arguments[-1] == ("fit", "--x=1")
    texts = [argument for argument in arguments[1:-1] if argument not in ("-c", "--config")]
    assert list(map(yaml.safe_load, texts)) == [
        {"a": 0, "b": 0, "c": 0, "d": 0},
        {"b": 1, "c": 1, "d": 1},
        {"c": 2, "d": 2},
        {"d": 3},
    ]


def test_a_part_may_come_twice(write):
    """By two ways; it is a part of itself only where it comes below itself."""
    write("base.yaml", "{a: 1}")
    write("one.yaml", "{parts: [base.yaml], b: 1}")
    top = write("top.yaml", "{parts: [base.yaml, one.yaml]}")
    assert merged(with_parts(["-c", top])) == {"a": 1, "b": 1}


@each_case("argument", ["{a: 1}", "a: 1", "config.json", "config"])
def test_texts_and_files_of_any_name_are_configs(argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "config").write_text("a: 1")
    expanded = with_parts(["fit", "-c", argument, f"--config={argument}"])
    assert [*expanded[1::2], *map(yaml.safe_load, expanded[2::2])] == ["-c", "--config", {"a": 1}, {"a": 1}]


@each_case(
    ("text", "line"),
    [
        ("", "-c: expected a config of keys and values, got nothing"),
        ("{a: [", "-c: not a YAML file: while parsing"),
        ("[a, b]", "-c: expected a config of keys and values, got list"),
    ],
)
def test_a_text_that_is_no_config_gives_one_line(text, line):
    for command in (["fit"], []):
        with pytest.raises(ValueError, match=re.escape(line)):
            with_parts([*command, "-c", text])


@each_case(
    ("text", "parts"),
    [
        ("{parts: [nowhere.yaml]}", ["nowhere.yaml", "No such file", "named under parts in", "top.yaml"]),
        ("{parts: [top.yaml]}", ["top.yaml: the config is a part of itself"]),
        ("{parts: [other.yaml]}", ["top.yaml: the config is a part of itself"]),
        ("{parts: other.yaml}", ["top.yaml", "parts", "list"]),
        ("{parts: [3]}", ["top.yaml", "parts"]),
        ("- a", ["top.yaml: expected a config of keys and values, got list"]),
        ("{a: [", ["top.yaml: not a YAML file", "line 1"]),
    ],
)
def test_a_config_that_cannot_be_read_gives_one_line(write, capsys, text, parts):
    write("other.yaml", "{parts: [top.yaml]}")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "-c", write("top.yaml", text)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("videoctx: ")
    assert all(part in line for part in parts), line


@each_case("earlier", [["own_videos"], ["slow_r50_gc_all"], ["demo_nl", "clips_32x2"], ["slow_r50_gc5", "own_videos"]])
def test_a_network_replaces_the_one_before_it(earlier):
    set_by_clips = {"conv1_stride_t": 2, "pool1_t": [1, 2]}
    given = [text for name in [*earlier, "i3d_r50_nl5"] for text in ("-c", name)]
    assert net_of(given) | set_by_clips == net_of(["-c", "i3d_r50_nl5"]) | set_by_clips


def test_what_an_experiment_sets_of_a_network_stays():
    assert net_of(["-c", "ut_interaction_r50", "-c", "c2d_r50_gc5"])["stride_at"] == "1x1"


def net_of(arguments):
    """Return the arguments of the network that the configs of a command line give together."""
    merged = {}
    for text in with_parts(arguments)[1::2]:
        merged |= ((yaml.safe_load(text) or {}).get("model", {}).get("net") or {}).get("init_args", {})
    return merged
