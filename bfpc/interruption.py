"""Ctrl-C, put off while something has to happen as a whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruption_later() -> Iterator[None]:
    """Ctrl-C takes effect at the end of the block. Only the main thread gets it at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = threading.Event()
    former = signal.signal(signal.SIGINT, lambda *_: came.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
        if came.is_set():
            signal.raise_signal(signal.SIGINT)
