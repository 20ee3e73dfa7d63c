"""The parser of `fit`, `validate`, `test` and `predict`, which reports an error in one line."""

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import ClassVar, NoReturn, get_type_hints

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser

from videoctx.data.datamodule import VideoDataModule
from videoctx.tasks import VideoClassifier


class UserErrorParser(LightningArgumentParser):
    """A parser whose errors are one line, which names the argument and what would be accepted."""

    sections: ClassVar[dict[str, type]] = {
        "data": VideoDataModule,
        "model": VideoClassifier,
        "trainer": Trainer,
        "checkpoint": ModelCheckpoint,
        "last_checkpoint": ModelCheckpoint,
        "learning_rate": LearningRateMonitor,
    }

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        nested = re.search(r'Parser key "(\w+\.\w+)":.*?(Option \'\w+\' is not accepted)', message, re.DOTALL)
        if nested:  # leave out jsonargparse's list of the types that the value has not
            message = f"{nested[1]}: {nested[2]}; --{nested[1]}.help CLASS lists what a class accepts"
        elif ".help CLASS" not in message:  # the error of a config already has its hint
            message += self._accepted(message)
        raise ValueError(message) from ex

    def _accepted(self, message: str) -> str:
        if not (unknown := re.search(r"(?:--|option ')([\w.]+)", message)):
            return ""
        section, _, name = unknown[1].partition(".")
        if section not in self.sections:
            return _expected(section, list(self.sections))
        known = _options(self.sections[section])
        group, _, member = name.partition(".")
        if member and any(option.startswith(f"{group}.") for option in known):
            members = [option for option in known if option.startswith(f"{group}.")]
            return _expected(name, members)
        return _expected(name, known)


def _options(section: Callable) -> list[str]:
    """Return the names of a section's options: those of its constructor, and `group.option` for a group of settings."""
    types = get_type_hints(section.__init__ if inspect.isclass(section) else section)
    options: list[str] = []
    for name in inspect.signature(section).parameters:
        if is_dataclass(group := types.get(name)):
            options += [f"{name}.{field.name}" for field in fields(group)]
        elif name != "class_names":
            options.append(name)
    return options


def _expected(name: str, known: Sequence[str]) -> str:
    """Name the known options that look like `name`, by their whole name or by its last part, or else all of them."""
    last = name.rpartition(".")[2]
    by_last = {option.rpartition(".")[2]: option for option in reversed(known)}
    near = difflib.get_close_matches(name, known, n=3)
    near += [by_last[part] for part in difflib.get_close_matches(last, by_last, n=3)]
    near = list(dict.fromkeys(near))[:3]
    return f"; expected {'perhaps ' if near else 'one of '}{', '.join(near or known)}"
