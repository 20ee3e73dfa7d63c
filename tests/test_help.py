"""What the command line prints without running a command, and that it stays light."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from videoctx.cli import main
from videoctx.cli.bench import BENCHES
from videoctx.cli.commands import COMMANDS, GROUPS, TRAINING, is_user_error
from videoctx.cli.parts import with_parts

TOOLS = [[name] for name in COMMANDS if name not in TRAINING] + [["bench", name] for name in BENCHES]
HEAVY = ["torch", "lightning", "torchmetrics", "torchvision", "matplotlib", "pytorchvideo", "decord", "av"]
PRINT_HELP = f"""
import contextlib, io, json, sys
from videoctx.cli import main

found = {{}}
for command in [[], *{TOOLS}]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([*command, "--help"])
    found[" ".join(command)] = text.getvalue(), [name for name in {HEAVY} if name in sys.modules]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[str, list[str]]]:
    """The help text of every tool, and the heavy modules that are imported after it was printed."""
    output = subprocess.check_output([sys.executable, "-c", PRINT_HELP], text=True, cwd=Path(__file__).parents[1])
    return json.loads(output)


def test_help_imports_nothing_heavy(helps):
    assert len(helps) == len(TOOLS) + 1
    assert {name: imported for name, (_, imported) in helps.items() if imported} == {}


def test_help_fits_two_screens(helps):
    for name, (text, _) in helps.items():
        assert text.startswith(f"usage: videoctx {name}".rstrip()), name
        assert 5 < len(text.splitlines()) < 60, name


def test_help_lists_every_command_in_its_group(helps):
    text, _ = helps[""]
    for title, commands in GROUPS.items():
        section = text.partition(f"{title}:\n")[2].partition("\n\n")[0]
        assert section.splitlines() == [f"  {name:<15}  {line}" for name, line in commands.items()]


def test_the_tools_that_take_a_network_name_the_option_that_lists_its_arguments(helps):
    for name in ("classify", "attention", "export", "convert", "complexity", "bench model"):
        assert "--model.net.help" in helps[name][0], name


def test_the_arguments_of_the_network_are_listed_on_request(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["complexity", "--model.net.help"])
    assert stop.value.code == 0
    assert "--model.net.context_at" in capsys.readouterr().out


def test_the_version_is_printed(capsys):
    main(["--version"])
    assert capsys.readouterr().out.startswith("videoctx 0.")


@pytest.mark.parametrize(
    ("command", "expected"),
    [("clasify", "expected perhaps classify"), ("xyz", f"expected one of {', '.join(COMMANDS)}"), ("-c", "expected")],
)
def test_an_unknown_command_is_refused(capsys, command, expected):
    with pytest.raises(SystemExit) as stop:
        main([command])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"videoctx: {command!r} is not a command; {expected}")


def test_windows_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("videoctx: does not run on Windows; expected Linux")


@pytest.mark.parametrize(
    ("missing", "imported", "message"),
    [
        ("fcntl", "videoctx.data.storage.file_cache", "videoctx.data needs fcntl, which Windows lacks; expected Linux"),
        ("decord", "videoctx.bench.bare_decoding", "decord is not installed; `videoctx bench data` measures against"),
    ],
)
def test_a_missing_module_is_reported_in_one_line(monkeypatch, missing, imported, message):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, imported, raising=False)
    with pytest.raises(ImportError, match=message) as raised:
        importlib.import_module(imported)
    assert is_user_error(raised.value)


def test_a_missing_extra_is_named(capsys, monkeypatch):
    def without_psutil(_):
        raise ModuleNotFoundError("No module named 'psutil'", name="psutil")

    monkeypatch.setattr("videoctx.cli.bench_data.run_bench_data", without_psutil)
    with pytest.raises(SystemExit) as stop:
        main(["bench", "data"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "videoctx: psutil is not installed; expected pip install 'videoctx[bench]'\n"


# Configs by name --------------------------------------------------------------------------------------------------


def test_shipped_configs_are_listed_with_a_line_each(capsys):
    main(["configs"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("experiment/own_videos ") and "your own videos" in line for line in lines)
    assert len(lines) == len({line.split()[0] for line in lines}) > 50
    main(["configs", "slow_r50_gc*"])
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["model/slow_r50_gc5", "model/slow_r50_gc_all"]


def test_a_config_is_found_by_name_and_a_local_file_of_that_name_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("demo_r18_gc", "model/demo_r18_gc"):
        shipped = with_parts(["-c", name])
        assert any("GlobalContext" in text for text in shipped)
        assert with_parts([f"--config={name}"])[1::2] == shipped[1::2]
        main(["complexity", "-c", name, "--num_classes", "3", "--clip_len", "2", "--size", "32"])
        assert "GlobalContext" in capsys.readouterr().out
    (tmp_path / "demo_r18_gc.yaml").write_text("{trainer: {max_epochs: 1}}")
    assert with_parts(["-c", "demo_r18_gc"]) == ["-c", "trainer:\n  max_epochs: 1\n"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("slow_r50_gcc5", "expected perhaps model/slow_r50_gc5"),
        ("relations", "expected one of data/relations, experiment/relations"),
        ("nowhere/own_videos.yaml", "expected perhaps experiment/own_videos"),
    ],
)
def test_an_unknown_or_ambiguous_config_is_refused(capsys, name, expected):
    for command in (["complexity", "-c", name], ["fit", "-c", name]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert expected in line
