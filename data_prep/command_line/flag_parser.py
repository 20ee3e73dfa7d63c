"""The parser of all commands: flags need no value, and an error is one line."""

from argparse import Action
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from videoctx.value_message import short_message


class FlagParser(ArgumentParser):
    """A parser for `jsonargparse.auto_cli`, which otherwise requires a value for every `bool`, as in `--ffmpeg true`.

    Its errors are a `ValueError`, which `run_command` prints in one line.
    """

    def add_argument(self, *args: Any, **options: Any) -> Action:
        action = super().add_argument(*args, **options)
        if options.get("type") is bool:
            action.nargs, action.const = "?", True
        return action

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        short = short_message(message)
        hint = f"; `{self.prog.replace(' [options]', '')} --help` lists the options" if short == message else ""
        raise ValueError(f"{short.rstrip('.')}{hint}") from ex
