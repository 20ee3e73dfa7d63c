"""What jsonargparse reports of a value that it refuses, as one short line."""

import re

# What its own types accept, and those of Python that have a plain name.
ACCEPTED = {
    "PositiveInt": "a whole number of 1 or more",
    "NonNegativeInt": "a whole number of 0 or more",
    "PositiveFloat": "a number above 0",
    "Port": "a whole number from 0 to 65535",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "NoneType": "null",
}
KEY = re.compile(r'Parser key "([\w.]+)"')
ABSENT = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
NO_MODULE = re.compile(r"No module named '([\w.]+)'")
VALUES = (  # the innermost value comes first
    re.compile(r"(?:Given|Got) value: (.+)"),
    re.compile(r"Not of type \w+: (\S+) does not conform"),
    re.compile(r"Not of type \w+: .*: '(.*)'"),
)
RESTRICTED = re.compile(r"Not of type (\w+)")
WANTED = re.compile(r"Expected a (?:<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.+?)\]|(dot import path))")


def short_message(message: str) -> str:
    """Return jsonargparse's message on a value, which has lines for each accepted type, as one line.

    >>> short_message('Parser key "top": Not of type PositiveInt: 0 does not conform to restriction v>0')
    'top is 0; expected a whole number of 1 or more'
    """
    keys = [key for key in KEY.findall(message) if key != "config"]
    name = ".".join(dict.fromkeys(keys))
    if keys and (absent := ABSENT.search(message)):
        return f"{name}: no {absent[1]}.{absent[2]}: {absent[0]}"
    if keys and (no_module := NO_MODULE.search(message)):
        return f"{name}: there is no module {no_module[1]}; expected one that is installed or in the current folder"
    value = next((found for pattern in VALUES if (found := pattern.search(message))), None)
    kinds = RESTRICTED.findall(message)  # of a tool's option, which is never set to null
    if not kinds:
        kinds = [
            kind or choices or (path and "a class by its full name") for kind, choices, path in WANTED.findall(message)
        ]
    if not (keys and value and kinds):
        return message
    accepted = dict.fromkeys(ACCEPTED.get(kind, kind) for kind in kinds)
    return f"{name} is {value[1]}; expected {' or '.join(accepted)}"
