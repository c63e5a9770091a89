"""Ctrl-C, and the signals that end a process as it does: put off while something has to happen as a whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def ends_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt in the block, with their number, unless they are ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in ENDS}
    taken = {number: handler for number, handler in former.items() if handler is signal.SIG_DFL}
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


@contextmanager
def interruption_later() -> Iterator[None]:
    """Ctrl-C, or another end, takes effect at the end of the block. Only the main thread gets it at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDS)}
    caught = {number: handler for number, handler in former.items() if handler not in (signal.SIG_IGN, None)}
    for number in caught:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(number)
