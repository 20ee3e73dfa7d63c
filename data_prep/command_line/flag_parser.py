"""Flags of a command line that need no value: `--ffmpeg` as well as `--ffmpeg true`."""

from argparse import Action
from typing import Any

from jsonargparse import ArgumentParser


class FlagParser(ArgumentParser):
    """A parser for `jsonargparse.auto_cli`, which otherwise requires a value for every `bool`."""

    def add_argument(self, *args: Any, **options: Any) -> Action:
        action = super().add_argument(*args, **options)
        if options.get("type") is bool:
            action.nargs, action.const = "?", True
        return action
