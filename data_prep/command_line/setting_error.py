"""The error about an option of a command."""


class SettingError(ValueError):
    """An option that cannot be used; the message states its value and what is accepted."""


def check_at_least(least: float, **options: float) -> None:
    """Raise a SettingError about the first option that is less than `least`.

    >>> check_at_least(1, workers=0)
    Traceback (most recent call last):
    ...
    data_prep.command_line.setting_error.SettingError: --workers is 0; expected at least 1
    """
    for name, value in options.items():
        if value < least:
            raise SettingError(f"--{name} is {value:g}; expected at least {least:g}")
