"""Processes and FIFOs in simulated time, against the recurrences of a pipeline."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bfpc.backend.dataflow import NOW, Dataflow, Events, Fifo, Memory, Process, Ready, make

trips = st.integers(1, 20)


def _produce(flow: Dataflow, process: Process, cycles: list[int], fifo: Fifo) -> Events:
    for each in cycles:
        yield from make(flow, process, each, NOW, process, fifo, 1)


def _consume(flow: Dataflow, process: Process, cycles: list[int], fifo: Fifo) -> Events:
    for each in cycles:
        ready = yield from fifo.take(1)
        yield from flow.wait_until(process, ready.last, fifo.late)
        yield flow.work(process, each)


@given(st.lists(st.tuples(trips, trips), min_size=1, max_size=30), st.integers(1, 4), st.integers(0, 5))
def test_two_processes_run_as_their_fifo_lets_them(pieces: list[tuple[int, int]], depth: int, latency: int) -> None:
    """A piece's room is taken when its making begins, and free when it leaves."""
    producer, consumer = Process("producer"), Process("consumer")
    flow = Dataflow(watched=consumer)
    fifo = Fifo(flow, (producer, consumer), depth, latency)
    flow.environment.process(_produce(flow, producer, [made for made, _ in pieces], fifo))
    flow.run(_consume(flow, consumer, [used for _, used in pieces], fifo))

    ends, taken, done = [0], [0], [0]  # of making, taking and using each piece, from the second entry on
    for index, (made, used) in enumerate(pieces):
        before = index - depth - latency  # the piece that leaves the room
        start = max(ends[-1], taken[before + 1] if before >= 0 else 0)
        ends.append(start + made)
        taken.append(max(done[-1], start))
        done.append(max(taken[-1], ends[-1] + latency) + used)
    assert flow.now == done[-1]
    assert sum(flow.marks[-1].stalls.values()) == done[-1] - sum(used for _, used in pieces)


def test_a_wait_goes_to_what_holds_up_the_process_in_between() -> None:
    """The last process waits 30 cycles: 20 for the memory that the middle one waits for, 10 for its work."""
    middle, last = Process("middle"), Process("last")
    flow = Dataflow(watched=last)
    fifo = Fifo(flow, (middle, last), 4)
    flow.environment.process(make(flow, middle, 10, Ready(20, 20), "memory", fifo, 1))
    flow.run(_consume(flow, last, [5], fifo))
    assert flow.now == 35
    assert flow.marks[-1].stalls == {"middle: memory": 20, "middle": 10}


def test_elements_are_taken_one_by_one_from_the_pieces_they_came_in() -> None:
    """Ten elements, one per cycle from cycle 11 on: the sixth is there in cycle 16."""
    producer, consumer = Process("producer"), Process("consumer")
    flow = Dataflow(watched=consumer)
    fifo = Fifo(flow, (producer, consumer), 10)
    fifo.put(10, 20)
    first, rest = _taken(fifo, 6), _taken(fifo, 4)
    assert (first, rest) == (Ready(10, 16), Ready(16, 20))


def _taken(fifo: Fifo, count: int) -> Ready:
    try:
        next(fifo.take(count))
    except StopIteration as stop:
        ready: Ready = stop.value
        return ready
    raise AssertionError("waits for elements that are there")


def test_a_memory_serves_requests_in_turn_at_its_rate() -> None:
    memory = Memory("DRAM", 1.5, latency=0)
    assert [memory.serve(0, 64), memory.serve(0, 64), memory.serve(200, 3)] == [43, 86, 202]
