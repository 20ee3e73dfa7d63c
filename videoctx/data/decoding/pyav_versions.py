"""What differs between the versions of PyAV that are supported, 17 to 19. Every input is opened here.

Before 19, a tag that is not UTF-8 is an error unless `av.open` is told otherwise, and 19 has no such argument. Rational
numbers are fractions or None before 19, and `av.AVRational` from 19 on, whose arithmetic rounds to 32 bits.
"""

from fractions import Fraction
from numbers import Rational
from typing import Any

import av

# Bytes of a tag that are not UTF-8 become surrogates.
TAG_ARGUMENTS: dict[str, Any] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "surrogateescape"}
)


def open_input(
    address: str, *, options: dict[str, str], format: str | None = None, timeout_seconds: float | None = None
) -> av.container.InputContainer:
    """Open a file, stream or device for reading.

    Tags are no part of the video, so that it does not matter in which encoding they are.

    Args:
        options: Options of the demuxer and the protocol. They are not passed on to the streams: PyAV 17.0 crashes if
            there are any and the format finds its streams late, as MPEG program streams do.
        format: FFmpeg's name. None: it is found by the content.
        timeout_seconds: The longest wait for data. None: no limit.

    Raises:
        av.FFmpegError: It cannot be opened.
    """
    return av.open(address, format=format, container_options=options, timeout=timeout_seconds, **TAG_ARGUMENTS)


def as_fraction(number: Rational | None) -> Fraction:
    """Return a rational number of PyAV, such as a time base, as a fraction. 0: it is not set.

    Example:
        >>> as_fraction(None)
        Fraction(0, 1)
    """
    return Fraction(number) if number else Fraction(0)
