"""Every supported version of PyAV gives the same values. `make test-lowest` has the oldest, Python 3.12 the newest."""

import ast
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from tests.numbered import write_video
from videoctx.data.decoding.accepted_formats import OPEN_OPTIONS
from videoctx.data.decoding.containers import probe
from videoctx.data.decoding.pyav_versions import as_fraction, open_input

REPOSITORY = Path(__file__).parents[2]


def test_tags_that_are_not_utf8_become_surrogates(tmp_path):
    path = write_video(tmp_path / "video.mkv", num_frames=2).path
    content = Path(path).read_bytes()
    assert b"Lavf" in content
    Path(path).write_bytes(content.replace(b"Lavf", b"L\xe9vf"))  # the tag ENCODER
    with open_input(str(path), options=OPEN_OPTIONS) as container:
        assert any("L\udce9vf" in value for value in container.metadata.values())


def test_numbers_are_fractions_whatever_pyav_calls_them(tmp_path):
    path = str(write_video(tmp_path / "video.mp4", num_frames=3).path)
    with open_input(path, options=OPEN_OPTIONS) as container:
        stream = container.streams.video[0]
        numbers = [as_fraction(stream.time_base), as_fraction(stream.average_rate), as_fraction(None)]
    numbers.append(probe(path).rate)
    assert [type(number) for number in numbers] == [Fraction] * 4
    assert numbers[0] > 0
    assert numbers[1] == numbers[3] > 0
    assert numbers[2] == 0


def test_a_format_that_finds_its_streams_late_is_opened_with_options(tmp_path):
    write_video(tmp_path / "video.mpg", codec="mpeg2video", num_frames=12, options={})
    code = "import sys; from videoctx.data.decoding.containers import probe; print(probe(sys.argv[1]).num_packets)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "video.mpg"], capture_output=True, cwd=REPOSITORY)
    assert (done.returncode, done.stdout.strip()) == (0, b"12"), done.stderr


def test_every_input_is_opened_by_the_file_that_knows_the_versions():
    for path in [*REPOSITORY.glob("videoctx/**/*.py"), *REPOSITORY.glob("data_prep/**/*.py")]:
        for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) == "av.open" and path.name != "pyav_versions.py":
                mode = ast.literal_eval(call.args[1]) if len(call.args) > 1 else "r"
                assert mode == "w", f"{path}:{call.lineno} opens an input; use `open_input`"
