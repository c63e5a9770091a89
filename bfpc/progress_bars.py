"""Progress as bars in a terminal, each with the time that is left, and as lines.

with progress_bars() as progress:
    compile_model(model, config, output, progress=progress)
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Display
from rich.text import Text

from bfpc.progress import Item


@contextmanager
def progress_bars(console: Console | None = None, *, bars: bool = True, lines: bool = False) -> Iterator[Bars]:
    """A `Progress` that shows a bar for each loop while it runs, where `console` is a terminal or a notebook.

    console: standard error if None. lines: for each loop that is done, a line with its time stays.
    """
    console = console or Console(stderr=True)
    seen = bars and (console.is_terminal or console.is_jupyter)
    columns = TextColumn("{task.description}"), BarColumn(), TimeLeft()
    with Display(*columns, console=console, transient=True, disable=not seen) as display:
        yield Bars(display, lines=lines)


class Bars:
    """A `Progress`, and a bar for work that tells by itself how far it is."""

    def __init__(self, display: Display, *, lines: bool) -> None:
        self._display, self._lines, self._depth = display, lines, 0

    def __call__(self, items: Iterable[Item], description: str) -> Iterable[Item]:
        count = len(items) if isinstance(items, Sized) else None
        task = self._display.add_task(description, total=None if count == 1 else count)
        began, done = time.monotonic(), False
        self._depth += 1
        try:
            for item in items:
                yield item
                self._display.advance(task)
            done = True
        finally:
            self._depth -= 1
            self._display.remove_task(task)
            if done and self._lines:
                self._print(time.monotonic() - began, description, count)

    def watch(self, description: str, completed: int, total: int) -> None:
        """Shows work of which `completed` of `total` parts are done, in the one bar that there is for such work."""
        for task in self._display.tasks:
            if "begun" in task.fields:
                self._display.update(task.id, description=description, completed=completed)
                return
        begun = completed - 1  # parts that an earlier run did
        self._display.add_task(description, total=total, completed=completed, begun=begun)

    def _print(self, seconds: float, description: str, count: int | None) -> None:
        number = "" if count in (None, 1) else f" ({count})"
        self._display.console.print(f"{seconds:8.2f} s  {'  ' * self._depth}{description}{number}")


class TimeLeft(ProgressColumn):
    """`12/53  0:09, 0:31 left`: parts done, the time they took, and what the rest takes if it goes on like that."""

    def render(self, task: Task) -> Text:
        elapsed = task.elapsed or 0.0
        if task.total is None:
            return Text(clock(elapsed))
        done = task.completed - task.fields.get("begun", 0)
        left = f", {clock(elapsed / done * (task.total - task.completed))} left" if done > 0 else ""
        return Text(f"{task.completed:.0f}/{task.total:.0f}  {clock(elapsed)}{left}")


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are some."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
