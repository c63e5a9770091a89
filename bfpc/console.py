"""What a command says, and where: its result on stdout, all else on stderr, as loud as the user asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from shutil import get_terminal_size

from rich import console as rich
from rich.console import RenderableType

from bfpc.progress_bars import Bars, progress_bars

FILE_WIDTH = 160  # of tables where no terminal narrows them


class Console:
    """A command's voice.

    as_json: the result as one JSON object. quiet: no warnings, no bars, no hints. verbose: a line for each step.
    """

    def __init__(self) -> None:
        self.as_json = self.quiet = self.verbose = False
        width = get_terminal_size((FILE_WIDTH, 0)).columns
        plain = partial(rich.Console, soft_wrap=True, markup=False, highlight=False, emoji=False)
        self._out, self._notes = plain(width=width), plain(stderr=True)

    def show(self, to_json: Callable[[], str], table: Callable[[], RenderableType]) -> None:
        """The result, in the form that was asked for; text stays as it is."""
        shown = to_json() if self.as_json else table()
        if isinstance(shown, str):
            self._out.file.write(shown.rstrip("\n") + "\n")
        else:
            self._out.print(shown)

    def hint(self, text: str) -> None:
        """What the user may do next."""
        if not (self.as_json or self.quiet):
            self._out.print(f"\n{text}")

    def note(self, text: str) -> None:
        """A line that stays, of work under way."""
        if not self.quiet:
            self._notes.print(text)

    def warn(self, warnings: Iterable[str]) -> None:
        if not self.quiet:
            for warning in warnings:
                self._notes.print(f"warning: {warning}", style="yellow")

    def progress(self) -> AbstractContextManager[Bars]:
        """A `Progress` that shows bars where somebody sees them, and lines where they were asked for."""
        return progress_bars(self._notes, bars=not self.quiet, lines=self.verbose)
