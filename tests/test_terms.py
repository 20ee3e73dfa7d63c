"""The words that this project does not use, because the field has others for the same thing.

python -m pytest tests/test_terms.py -k evaluation
"""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

# The word or expression, without regard to case, and what to write instead. `_` separates words, as a space does.
INSTEAD = {
    r"judg(e|es|ed|ing|ements?)": "evaluate, evaluation, EvaluationResult",
    r"hollow": "meta, on the meta device",
    r"stretch(es)?": "segment, trimmed clip",
    r"(lucky|random|sample|epoch|index) draws?": "sample, SampleIndex",
    r"whole[ _]?files?|WholeCheckpoints?": "atomic write, AtomicCheckpointIO",
    r"made[ _](set|sets|videos?|scores?|runs?|clips?)": "synthetic",
    r"recompute[sd]?|recomputations?": "activation checkpointing",
    r"the way back": "backward pass",
    r"speaks?|speaking": "user-facing errors",
    r"said|says": "reported, logged, printed, stored, states",
    r"wrong|wrongly": "incorrect",
    r"(is|are|be|was|were) right": "correct",
    r"answers?|answered": "prediction, response",
    r"surest": "most confident",
    r"pictures?": "image, frame",
    r"verdicts?": "probe result, decoder choice",
    r"leases?|leased": "local copy, open",
    r"goes on|go on|went on|gone on|going on": "resumes, continues",
    r"anew": "again, re-initialized",
    r"Moving_?Average": "EMA",
    r"Factori[sz]edConv3d": "Conv2Plus1d",
    r"strangers?": "unknown name, foreign object",
    r"from afar|ends with it|speaks for": "a plain subject, verb and object",
    r"(clips|frames|videos|views|images|samples|steps|row|line|task|file|folder|decode|process|message) an? "
    r"(second|video|class|step|clip|epoch|device|rank|run|row|file|split|worker|batch)": "per",
    # American spelling
    r"\w*colou?rs?(?<=colour|olours)\w*": "color",
    r"centre[sd]?": "center",
    r"grey": "gray",
    r"\w*neighbours?\w*": "neighbor",
    r"(normal|general|initial|recogn|optim|organ|serial|summar|visual|synchron|factor)is(e|es|ed|ing|ation|er)": "-ize",
    r"analys(e|ed|es the|ing)": "analyze",
    r"behaviours?": "behavior",
    r"(un)?labell(ed|ing)": "labeled",
    r"artefacts?": "artifact",
}
# Where a word means something else: the paper's own term, or a name of another project's.
ALLOWED = ("test-answers.csv",)
NOT_READ = ("tests/test_terms.py", "LICENSE")
SUFFIXES = {".py", ".yaml", ".yml", ".md", ".j2", ".js", ".toml"}


@cache
def files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [name for name in listed if Path(name).suffix in SUFFIXES and name not in NOT_READ]


PATTERN = re.compile(rf"(?<![A-Za-z])(?=\w)(?:{'|'.join(INSTEAD)})(?![a-z])", re.IGNORECASE)


def room(name: str) -> str:
    """The folder that a file is in, at most two deep."""
    return "/".join(Path(name).parts[:-1][:2]) or "."


def found(name: str) -> list[str]:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    for other in ALLOWED:
        text = text.replace(other, "")
    lines = enumerate(f"{Path(name).name}\n{text}".splitlines())  # line 0 is the file's name
    return [f"{name}:{number}: {match[0]!r}" for number, line in lines for match in PATTERN.finditer(line)]


@pytest.mark.parametrize("folder", sorted({room(name) for name in files()}))
def test_a_folder_uses_the_field_s_words(folder):
    lines = [line for name in files() if room(name) == folder for line in found(name)]
    assert not lines, "\n".join(lines)


def test_docstrings_write_none_as_python_does():
    lines = [
        f"{name}:{number}"
        for name in files()
        if name.endswith(".py")
        for number, line in enumerate((REPOSITORY / name).read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"(?<![\w.])none: ", line)
    ]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize(
    "text", ["it is judged", "made_videos", "one row a class", "Colour", "the wrong frame", "said"]
)
def test_a_word_of_the_table_is_found(text):
    assert PATTERN.search(text)


@pytest.mark.parametrize("text", ["release", "the right border", "stretched", "aria-labelledby", "one row per class"])
def test_other_words_are_not(text):
    assert not PATTERN.search(text)
