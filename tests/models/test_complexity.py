"""Counts of parameters and multiply-adds: against counting by hand, and as the command line gives them."""

import json
import re
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.each_case import each_case
from videoctx.cli import main
from videoctx.layers import GlobalContext, NonLocal, SqueezeExcitation
from videoctx.models import ResNet3D
from videoctx.models.complexity import complexity

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
C2D, NL5 = CONFIGS / "c2d_r50.yaml", CONFIGS / "c2d_r50_nl5.yaml"
STAGES = ["stem", "res2", "res3", "res4", "res5", "head"]


@cache
def counted(*arguments):
    """What the tool prints as JSON."""
    with redirect_stdout(StringIO()) as printed, redirect_stderr(StringIO()) as errors:
        main(["complexity", *map(str, arguments), "--json"])
    assert errors.getvalue() == ""
    return json.loads(printed.getvalue())


# By hand ----------------------------------------------------------------------------------------------------------


def macs_by_hand(net, *size):
    """Multiply-adds of convolutions and linear layers: one for each weight and each place that it acts on."""
    total = 0

    def count(module, _, output):
        nonlocal total
        places = output[0, 0].numel() if isinstance(module, nn.Conv3d) else 1
        total += places * module.weight.numel()

    for module in net.modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        net.eval()(torch.zeros(1, 3, *size))
    return total


@each_case(
    "arguments",
    [
        {"depth": 18},
        {"depth": 18, "temporal_kernels": "i3d333"},
        {"depth": 50, "temporal_kernels": "slow"},
        {"depth": 50, "groups": 2, "width_per_group": 32, "stride_at": "1x1"},
    ],
)
def test_counts_are_those_by_hand(arguments):
    def make_net():
        return ResNet3D(7, width=8, **arguments)

    net, result = make_net(), complexity(make_net, clip_len=4, size=33)
    assert result.params == sum(parameter.numel() for parameter in net.parameters())
    assert result.macs == macs_by_hand(net, 4, 33, 33)
    assert result.context_blocks == []


C, D, N, M = 16, 8, 4 * 4 * 4, 4 * 2 * 2  # channels, their half, positions of res3 at 4 × 32 × 32, and those pooled
PROJECTIONS = N * C * D + 2 * M * C * D + N * D * C  # θ; φ and g; W_z


@each_case(
    ("context", "params", "macs"),
    [
        pytest.param(NonLocal, 3 * (C * D + D) + D * C + C + 2 * C, PROJECTIONS + 2 * N * M * D, id="non-local"),
        pytest.param(
            lambda channels: NonLocal(channels, affinity="gaussian", subsample="none", inner_ratio=1),
            2 * (C * C + C) + 2 * C,
            2 * N * C * C + 2 * N * N * C,
            id="gaussian",
        ),
        pytest.param(
            lambda channels: GlobalContext(channels, ratio=0.5),
            C + C * D + D + 2 * D + D * C + C,
            N * C + N * C + 2 * C * D,
            id="global context",
        ),
        pytest.param(
            lambda channels: SqueezeExcitation(channels, ratio=0.5),
            C * D + D + D * C + C,
            2 * C * D,
            id="squeeze-excitation",
        ),
    ],
)
def test_context_blocks_are_counted_by_hand(context, params, macs):
    def make_net(**arguments):
        return ResNet3D(7, depth=18, width=8, pool2_t=(1, 1), **arguments)

    plain = complexity(make_net, clip_len=4, size=32)
    result = complexity(lambda: make_net(context=context, context_at={"res3": [0, 1]}), clip_len=4, size=32)
    assert [(part.name, part.params, part.macs) for part in result.context_blocks] == [
        ("res3.0.after_add", params, macs),
        ("res3.1.after_add", params, macs),
    ]
    assert (result.params - plain.params, result.macs - plain.macs) == (2 * params, 2 * macs)
    differing = [
        (after.name, after.params - before.params, after.macs - before.macs)
        for before, after in zip(plain.stages, result.stages, strict=True)
        if after != before
    ]
    assert differing == [("res3", 2 * params, 2 * macs)]


def test_clip_len_and_size_are_those_of_the_clip():
    def macs(**clip):
        return complexity(lambda: ResNet3D(7, depth=18, width=8, pool2_t=(1, 1)), **clip).stages[0].macs

    assert macs(clip_len=8, size=32) == 2 * macs(clip_len=4, size=32)
    assert macs(clip_len=4, size=64) == 4 * macs(clip_len=4, size=32)


def test_nothing_is_allocated():
    made = []

    def make_net():
        made.append(ResNet3D(7, depth=18))
        return made[0]

    complexity(make_net, clip_len=8, size=224)
    assert {parameter.device.type for parameter in made[0].parameters()} == {"meta"}


# Every config: tests/test_configs.py --------------------------------------------------------------------------------


def block_names(position, **at):
    return [f"{stage}.{index}.{position}" for stage, indices in at.items() for index in indices]


FIVE = {"res3": [1, 3], "res4": [1, 3, 5]}
THIRTEEN = {"res3": range(4), "res4": range(6), "res5": range(3)}


@each_case(
    ("config", "kind", "names"),
    [
        *((f"{net}_r50", None, []) for net in ("c2d", "i3d", "i3d333", "slow")),
        *((f"{net}_r50_nl5", "NonLocal", block_names("after_add", **FIVE)) for net in ("c2d", "i3d", "slow")),
        ("i3d_r50_snl5", "SimplifiedNonLocal", block_names("after_add", **FIVE)),
        ("slow_r50_gc5", "GlobalContext", block_names("after_1x1", **FIVE)),
        ("slow_r50_gc_all", "GlobalContext", block_names("after_1x1", **THIRTEEN)),
        ("c2d_r50_se", "SqueezeExcitation", block_names("after_1x1", res2=range(3), **THIRTEEN)),
        ("i3d_r50_nl10", "NonLocal", block_names("after_add", res3=range(4), res4=range(6))),
    ],
)
def test_context_blocks_are_listed(config, kind, names):
    blocks = counted("-c", CONFIGS / f"{config}.yaml")["context_blocks"]
    assert [block["name"] for block in blocks] == names
    assert {block["kind"] for block in blocks} == ({kind} if kind else set())


def test_non_local_blocks_have_the_published_parameters():
    """0.527M at 512 channels, 2.102M at 1024."""
    blocks = counted("-c", NL5)["context_blocks"]
    assert all(set(block) == {"name", "kind", "params", "macs"} for block in blocks)
    assert [round(block["params"] / 1e6, 3) for block in blocks] == [0.527] * 2 + [2.102] * 3
    assert [round(block["macs"] / 1e9, 3) for block in blocks] == [2.286] * 2 + [1.185] * 3


# The command line -------------------------------------------------------------------------------------------------


def test_the_totals_are_plain_counts():
    result = counted("-c", C2D)
    assert list(result) == ["params", "macs", "stages", "context_blocks"]
    assert all(set(part) == {"name", "kind", "params", "macs"} for part in result["stages"])
    assert (result["params"], result["macs"]) == (24_327_632, 19_493_191_680)


@each_case(
    ("arguments", "params", "macs"),
    [
        (["--clip_len=4"], 0, "fewer"),
        (["--size=256"], 0, "more"),
        (["--num_classes=401"], 2049, "more"),
        (["--model.net.init_args.depth=101"], 43_319_760 - 24_327_632, "more"),
    ],
)
def test_every_argument_changes_the_counts(arguments, params, macs):
    plain, changed = counted("-c", C2D), counted("-c", C2D, *arguments)
    assert changed["params"] - plain["params"] == params
    assert changed["macs"] < plain["macs"] if macs == "fewer" else changed["macs"] > plain["macs"]


def test_the_defaults_are_those_of_kinetics():
    explicit = counted("-c", C2D, "--clip_len=8", "--size=224", "--num_classes=400")
    assert explicit == counted("-c", C2D)


def test_a_config_that_fit_takes_will_do(tmp_path):
    config = tmp_path / "experiment.yaml"
    config.write_text(f"parts: [{C2D}]\ntrainer: {{max_epochs: 3}}\nmodel: {{optimizer: nothing.to.see.Here}}\n")
    assert counted("-c", config) == counted("-c", C2D)


def test_the_network_of_a_checkpoint_is_counted_on_its_clips(tmp_path):
    """Of any project; the clips are those of its test."""
    net = ResNet3D(
        7, depth=18, width=8, temporal_kernels="r3d", stage_stride_t=(1, 2, 2, 2), pool1_t=None, pool2_t=(1, 1)
    )
    theirs = {}
    for name, tensor in net.state_dict().items():
        name = re.sub(r"^stem\.conv", "stem.0", re.sub(r"^stem\.norm", "stem.1", name)).replace("head.", "fc.")
        name = re.sub(r"^res(\d)", lambda stage: f"layer{int(stage[1]) - 1}", name).replace("shortcut", "downsample")
        theirs[re.sub(r"norm(\d)", r"conv\1.1", re.sub(r"conv(\d)\.", r"conv\1.0.", name))] = tensor
    torch.save(theirs, tmp_path / "r3d_18.pth")
    found = counted("--ckpt_path", tmp_path / "r3d_18.pth")
    assert found == complexity(lambda: net.to("meta"), clip_len=16, size=112).as_dict()
    assert found != counted("--ckpt_path", tmp_path / "r3d_18.pth", "--clip_len=8")


def test_a_network_or_a_checkpoint_is_needed(capsys):
    for arguments in ([], ["-c", str(C2D), "--ckpt_path", "some.pt"]):
        with pytest.raises(SystemExit):
            main(["complexity", *arguments])
        assert "expected a network, as -c CONFIG, or --ckpt_path, and not both" in capsys.readouterr().err


def test_the_table_has_every_part(capsys):
    main(["complexity", "-c", str(NL5)])
    table = capsys.readouterr().out
    for name in [
        *STAGES,
        "res3.1.after_add",
        "res4.5.after_add",
        "NonLocal",
        "31,686,096",
        "27,620,900,864",
        "8 frames",
    ]:
        assert name in table, name
    assert "224 × 224" in table


@each_case(
    ("config", "arguments", "message"),
    [
        pytest.param(None, [], "missing.yaml: no such file, and no config of that name", id="no such file"),
        pytest.param("a: [", [], "config.yaml: not a YAML file", id="not YAML"),
        pytest.param("[1, 2]", [], "config.yaml: expected a config of keys and values, got list", id="a list"),
        pytest.param("parts: [part.yaml]", [], "named under parts in", id="no such part"),
        pytest.param("parts: [config.yaml]", [], "the config is a part of itself", id="a part of itself"),
        pytest.param(
            f"parts: [{NL5}]",
            ["--model.net.init_args.context_at={res9: [1]}"],
            "context_at names stage 'res9'; expected one of res2, res3, res4, res5",
            id="no such stage",
        ),
        pytest.param(
            f"parts: [{NL5}]",
            ["--model.net.init_args.context_at={res3: [4]}"],
            "context_at asks for block 4 of res3, which has 4: expected 0 to 3",
            id="no such block",
        ),
        pytest.param(
            f"parts: [{NL5}]",
            ["--model.net.init_args.context.init_args.inner_ratio=2"],
            "inner_ratio is 2.0; expected more than 0 and at most 1",
            id="ratio out of range",
        ),
    ],
)
def test_an_error_is_one_line(config, arguments, message, tmp_path, capsys):
    path = tmp_path / ("missing.yaml" if config is None else "config.yaml")
    if config is not None:
        path.write_text(config)
    with pytest.raises(SystemExit) as stopped:
        main(["complexity", "-c", str(path), *arguments])
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
