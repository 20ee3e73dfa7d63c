"""A rich console whose text cannot control the terminal."""

from collections.abc import Iterable

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from videoctx.terminal import LINE_FEED_AND_TAB, printable


class Console(RichConsole):
    """Prints tables and progress bars. Control characters in their text are escaped."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = printable(segment.text, keep=LINE_FEED_AND_TAB)
            yield segment if segment.control or text == segment.text else Segment(text, segment.style)
