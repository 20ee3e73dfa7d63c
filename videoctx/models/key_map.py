"""Maps from the parameter names of other projects to those of this package, as pairs of names with placeholders."""

import re
from collections.abc import Mapping, Sequence

STAGES = ("res2", "res3", "res4", "res5")

# What a placeholder stands for; {s}, a stage, is each map's own.
PLACEHOLDERS = {
    "b": r"\d+",  # block of a stage, from 0
    "i": r"\d+",  # convolution or norm of a Res2Net block, from 0
    "n": r"[1-3a-c]",  # convolution of a block, or its norm
    "p": r"theta|phi|g",  # projection of a Non-local block
    "t": r"weight|bias|running_mean|running_var|num_batches_tracked|w|b|s|rm|riv",  # tensor of a layer
    "x": r"[\w.]+",  # anything
}
OUR_WORD = {
    "n": {"a": "1", "b": "2", "c": "3"},
    "t": {"w": "weight", "s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"},
}


class KeyMap:
    """A map from another project's parameter names to this package's.

    Args:
        names: Theirs → this package's; an empty name is for a parameter that is known and not needed.
        stages: Their names of res2, res3, res4 and res5.

    >>> names = KeyMap({"layer{s}.{b}.bn{n}.{t}": "{s}.{b}.norm{n}.{t}"}, stages="1234")
    >>> names("layer2.0.bn1.bias")
    'res3.0.norm1.bias'
    """

    def __init__(self, names: Mapping[str, str], *, stages: Sequence[str]) -> None:
        self.our_stage = dict(zip(stages, STAGES, strict=True))
        placeholders = PLACEHOLDERS | {"s": "|".join(map(re.escape, stages))}
        self.patterns = [(re.compile(_pattern(theirs, placeholders)), ours) for theirs, ours in names.items()]

    def __call__(self, name: str) -> str | None:
        """Return this package's name: empty for a parameter that is not needed, None for an unknown one."""
        for pattern, ours in self.patterns:
            if match := pattern.fullmatch(name):
                our_word = OUR_WORD | {"s": self.our_stage}
                words = {key: our_word.get(key, {}).get(word, word) for key, word in match.groupdict().items()}
                return ours.format(**words)
        return None


def _pattern(name: str, placeholders: Mapping[str, str]) -> str:
    """`conv{n}.{t}` → the regular expression with a group for each placeholder."""
    parts = re.split(r"\{(\w)\}", name)  # text and placeholders in turn
    return "".join(
        f"(?P<{part}>{placeholders[part]})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
