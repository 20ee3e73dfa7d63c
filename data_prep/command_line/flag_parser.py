"""Flags of a command line that need no value: `--ffmpeg` as well as `--ffmpeg`."""

from argparse import Action

from jsonargparse import ArgumentParser


class FlagParser(ArgumentParser):
    """For `jsonargparse.auto_cli`, which else asks for the value of every `bool`."""

    def add_argument(self, *args, **options) -> Action:
        action = super().add_argument(*args, **options)
        if options.get("type") is bool:
            action.nargs, action.const = "?", True
        return action
