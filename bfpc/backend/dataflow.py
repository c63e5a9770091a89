"""Processes joined by FIFOs, as a tool makes them of a DATAFLOW region, in simulated time.

Elements move in pieces: a piece is in a FIFO as soon as its producer begins to make it, with the cycle in which its
last element will be there, so that producer and consumer work on it at the same time. One process is watched: every
cycle in which it waits goes to what it waits for, and to what that waits for in the end.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from simpy import Environment
from simpy.events import Event


class Ready(NamedTuple):
    """The cycles from which on the first and the last element are there of those that a process takes."""

    first: int
    last: int


NOW = Ready(0, 0)
Events = Generator[Event, object, None]
Taking = Generator[Event, object, Ready]


@dataclass(eq=False)
class Process:
    """waits_for: another process, or what else; None while it works.

    intervals: of its spatial tiles, from the first trip to the last.
    """

    name: str
    waits_for: Process | str | None = None
    intervals: list[tuple[int, int]] = field(default_factory=list)
    began: int | None = None


@dataclass
class Memory:
    """A memory that serves requests in their order, so many bytes per cycle; data come `latency` cycles later."""

    name: str
    bytes_per_cycle: float
    latency: int
    _free: float = 0

    def serve(self, now: int, size: int) -> int:
        """The cycle in which a request of `size` bytes, made now, has been served."""
        self._free = max(self._free, now) + size / self.bytes_per_cycle
        return math.ceil(self._free)


class Mark(NamedTuple):
    """A cycle, and those in which the watched process has waited until then, by cause."""

    cycle: int
    stalls: Counter[str]


class Dataflow:
    """Processes that run at the same time.

    marks: the beginning, whenever `mark` was called, and the end.
    """

    def __init__(self, watched: Process) -> None:
        self.environment = Environment()
        self.watched = watched
        self.marks = [Mark(0, Counter())]
        self._stalls: Counter[str] = Counter()
        self._since = 0

    def run(self, events: Events) -> None:
        """Until a process has no more events."""
        self.environment.run(self.environment.process(events))
        self.mark()

    def mark(self) -> None:
        self._settle()
        self.marks.append(Mark(self.now, self._stalls.copy()))

    @property
    def now(self) -> int:
        return int(self.environment.now)  # which is whole, as all delays are

    def wait(self, process: Process, cause: Process | str | None, event: Event) -> Events:
        self._turn(process, cause)
        yield event
        self._turn(process, None)

    def wait_until(self, process: Process, cycle: int, cause: Process | str | None) -> Events:
        if cycle > self.now:
            yield from self.wait(process, cause, self.environment.timeout(cycle - self.now))

    def work(self, process: Process, trips: int) -> Event:
        """The end of so many trips of the process's loop."""
        if process.began is None:
            process.began = self.now
        return self.environment.timeout(trips)

    def end_tile(self, process: Process, refill: int) -> Events:
        """The loop's pipeline runs empty; the next tile fills it anew."""
        if process.began is not None:
            process.intervals.append((process.began, self.now))
            process.began = None
        yield from self.refill(process, refill)

    def refill(self, process: Process, cycles: int) -> Events:
        """Until a loop's pipeline is full."""
        if cycles:
            cause = "refill" if process is self.watched else None
            yield from self.wait(process, cause, self.environment.timeout(cycles))

    def finish(self, process: Process, successor: Process | str) -> None:
        """What is left is up to the process that comes behind this one."""
        self._turn(process, successor)

    def _turn(self, process: Process, cause: Process | str | None) -> None:
        self._settle()
        process.waits_for = cause

    def _settle(self) -> None:
        """Books the cycles that the watched process has waited until now."""
        if self.watched.waits_for is not None and self.now > self._since:
            self._stalls[_cause(self.watched)] += self.now - self._since
        self._since = self.now


def _cause(process: Process) -> str:
    """What a waiting process waits for, and behind a colon what that waits for in the end."""
    chain = [process]
    while isinstance(process.waits_for, Process) and process.waits_for not in chain:
        process = process.waits_for
        chain.append(process)
    names = [each.name for each in chain[1:]]
    names += [process.waits_for] if isinstance(process.waits_for, str) else []
    return ": ".join(dict.fromkeys((names[0], names[-1])))


class Fifo:
    """Elements on their way, `capacity` at most, unless a single piece is larger.

    They leave the producer's pipeline `latency` cycles after they entered it. late: what a consumer waits for when a
    piece is under way, the producer if None.
    """

    def __init__(
        self,
        flow: Dataflow,
        ends: tuple[Process, Process],
        capacity: int,
        latency: int = 0,
        late: str | None = None,
    ) -> None:
        self._flow, (self._producer, self.consumer) = flow, ends
        self._capacity, self._latency = capacity + latency, latency
        self.late: Process | str = late or self._producer
        self._pieces: deque[list[int]] = deque()
        self._level = 0
        self._room: Event | None = None
        self._arrival: Event | None = None

    def has_room(self, count: int) -> bool:
        return not self._level or self._level + count <= self._capacity

    def room(self, count: int) -> Events:
        """Waits until so many elements find room."""
        while not self.has_room(count):
            self._room = self._flow.environment.event()
            yield from self._flow.wait(self._producer, self.consumer, self._room)

    def put(self, count: int, ready: int) -> None:
        """A piece of which the last element will have been made in cycle `ready`."""
        self._level += count
        self._pieces.append([count, ready + self._latency])
        if self._arrival is not None:
            self._arrival.succeed()
            self._arrival = None

    def take(self, count: int) -> Taking:
        """Waits until so many elements are under way."""
        first, last = 0, 0
        while count:
            if not self._pieces:
                self._arrival = self._flow.environment.event()
                yield from self._flow.wait(self.consumer, self._producer, self._arrival)
            piece = self._pieces[0]
            first = first or piece[1] - piece[0]
            taken = min(count, piece[0])
            piece[0] -= taken
            count -= taken
            last = max(last, piece[1] - piece[0])
            if not piece[0]:
                self._pieces.popleft()
            self._level -= taken
            if self._room is not None:
                self._room.succeed()
                self._room = None
        return Ready(first, last)


def make(
    flow: Dataflow, process: Process, trips: int, ready: Ready, late: Process | str, out: Fifo, count: int
) -> Events:
    """A piece of `count` elements in so many trips, of what is `ready`, or `late`."""
    if not out.has_room(count):
        yield from out.room(count)
    start = max(ready.first, ready.last - trips)
    if start > flow.environment.now:
        yield from flow.wait_until(process, start, late)
    if count:
        out.put(count, flow.now + trips)
    if trips:
        yield flow.work(process, trips)
