"""Bars: what they count, and the time that they say is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from bfpc.progress import step
from bfpc.progress_bars import TimeLeft, clock, progress_bars


def task(completed: int, total: int | None, elapsed: float, begun: int = 0) -> str:
    """What a bar says beside it."""
    progress = Progress(get_time=lambda: elapsed)
    progress.add_task("work", total=total, completed=completed, begun=begun)
    [shown] = progress.tasks
    shown.start_time = 0.0
    return TimeLeft().render(shown).plain


@pytest.mark.parametrize(
    ("completed", "total", "elapsed", "said"),
    [
        (0, 8, 5.0, "0/8  0:05"),
        (1, 8, 5.0, "1/8  0:05, 0:35 left"),
        (6, 8, 30.0, "6/8  0:30, 0:10 left"),
        (8, 8, 40.0, "8/8  0:40, 0:00 left"),
        (0, None, 12.0, "0:12"),
    ],
)
def test_what_is_left_takes_as_long_as_what_is_done(
    completed: int, total: int | None, elapsed: float, said: str
) -> None:
    assert task(completed, total, elapsed) == said


def test_what_an_earlier_run_did_took_no_time() -> None:
    assert task(60, 100, 10.0, begun=50) == "60/100  0:10, 0:40 left"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36610, "10:10:10")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_items_pass_unchanged_and_lines_stay_where_there_is_no_terminal() -> None:
    file = io.StringIO()
    with progress_bars(Console(file=file), lines=True) as progress:
        for _ in progress(range(2), "outer"):
            assert list(progress(iter("abc"), "inner")) == ["a", "b", "c"]
        assert step(progress, "a step", lambda: 7) == 7
    lines = [line[12:] for line in file.getvalue().splitlines()]
    assert lines == ["  inner", "  inner", "outer (2)", "a step"]


def test_work_that_fails_leaves_no_line() -> None:
    file = io.StringIO()
    with pytest.raises(ZeroDivisionError), progress_bars(Console(file=file), lines=True) as progress:
        step(progress, "a step", lambda: 1 // 0)
    assert file.getvalue() == ""


def test_a_terminal_shows_every_loop_that_is_under_way() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system=None)
    with progress_bars(console) as progress:
        for _ in progress(range(3), "outer"):
            for _ in progress(range(5), "inner"):
                progress._display.refresh()
    for text in ("outer", "inner", "4/5", "2/3"):
        assert text in file.getvalue()


def test_training_has_one_bar() -> None:
    file = io.StringIO()
    with progress_bars(Console(file=file, force_terminal=True, width=80, color_system=None)) as progress:
        for number in range(1, 4):
            progress.watch(f"epoch {number}", number, 3)
        progress._display.refresh()
        [shown] = progress._display.tasks
    assert (shown.description, shown.completed, shown.total) == ("epoch 3", 3, 3)
