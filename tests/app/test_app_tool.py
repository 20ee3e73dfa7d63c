"""`videoctx app` from the command line: how it starts, what it refuses, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.each_case import each_case
from videoctx.cli import main

pytest.importorskip("starlette")


@pytest.fixture
def refused(capsys):
    def refused(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["app", *map(str, arguments)])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("videoctx: ")

    return refused


def test_bad_arguments_are_one_line(app_folder, refused, tmp_path):
    checkpoint = app_folder / "nl.ckpt"
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(checkpoint, "--port", port)
        assert line == f"port {port} of 127.0.0.1: Address already in use; expected a port that is free, or 0 for any"
    assert refused(tmp_path / "missing.ckpt", "--port=0").startswith(f"{tmp_path / 'missing.ckpt'}: ")
    assert refused(tmp_path / "text.ckpt", "--port=0").startswith(f"{tmp_path / 'text.ckpt'}: ")
    assert "no scores.parquet in there" in refused(checkpoint, "--port=0", "--run", tmp_path)
    assert "cannot read the manifest" in refused(checkpoint, "--port=0", "--manifest", tmp_path / "m.csv")
    for text, expected in {
        "path,label,split,fps\na.zip,walk,test,fast\n": "line 2: fps is 'fast'; expected a number, zero or more",
        "path,label,split\n": "no rows",
        "a text": "",
    }.items():
        (tmp_path / "m.csv").write_text(text)
        assert expected in refused(checkpoint, "--port=0", "--manifest", tmp_path / "m.csv"), text
    assert refused(checkpoint, "--port=0", "--host", "host.invalid").startswith("host is 'host.invalid': ")
    assert refused(checkpoint, "--port=0", "--host", "a" * 70).endswith(
        "no name of a host; expected a name or an address of this computer"
    )
    line = refused(checkpoint, "--port=0", "--host", "192.0.2.1")
    assert line.endswith("expected an address of this computer as --host")
    assert "port" in refused(checkpoint, "--port=65536")
    assert "ckpt_path" in refused()


def test_a_missing_library_is_named_with_its_extra(app_folder, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "videoctx.app.serving", raising=False)
    line = refused(app_folder / "nl.ckpt")
    assert line == "uvicorn is not installed; expected pip install 'videoctx[app]'"


@each_case(("host", "name"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("0.0.0.0", "localhost")])
def test_a_browser_on_this_computer_opens_the_url(host, name):
    from videoctx.app.serving import listening_socket, url_of

    with listening_socket(host, 0) as opened:
        url = url_of(host, opened)
        assert url == f"http://{name}:{opened.getsockname()[1]}"
        socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)).close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGHUP, 129, "hung up")]
)
def test_ctrl_c_and_a_closed_terminal_end_it_cleanly(app_folder, tmp_path, number, status, word):
    command = [sys.executable, "-m", "videoctx", "app", str(app_folder / "nl.ckpt"), "--port=0"]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            url = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
            assert process.stdout.readline() == "Ctrl-C ends it\n"
            with urlopen(url) as response:
                assert b"<title>videoctx</title>" in response.read()
            assert len(list(tmp_path.glob("videoctx-app-*"))) == 1
            process.send_signal(number)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # where it does not end
    assert (process.returncode, rest, errors) == (status, "", f"videoctx: {word}\n")
    assert not list(tmp_path.glob("videoctx-app-*"))
