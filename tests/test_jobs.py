"""Jobs: the same results, in the order of the items, from this process, several ones and a Dask cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bfpc.errors import DataError, JobError
from bfpc.jobs import Engine, open_engine, session_threads

Open = Callable[[], AbstractContextManager[Engine]]


@pytest.fixture(params=["this process", "processes", "cluster"])
def open_any(request: pytest.FixtureRequest) -> Open:
    if request.param == "cluster":
        address = request.getfixturevalue("cluster")
        return lambda: open_engine(address)
    return lambda: open_engine(None, {"this process": 1, "processes": 2}[request.param])


def scaled_by(factors: NDArray[np.float64]) -> Callable[[int], tuple[float, int]]:
    """A preparation that counts itself: the work tells how often this worker was prepared."""
    prepared[0] += 1
    return lambda item: (float((factors * np.sin(item)).sum()), prepared[0])


prepared = [0]


def failing(message: str) -> Callable[[int], int]:
    def work(item: int) -> int:
        if item == 2:
            raise DataError(message, where=f"item {item}", fix="give another")
        return item

    return work


def threads(_: None) -> Callable[[int], int]:
    opened = session_threads.get()
    return lambda _: opened * 10 + session_threads.get()


def ending(_: None) -> Callable[[int], None]:
    return lambda _: os._exit(1)


def writing_late(folder: Path) -> Callable[[int], int]:
    def work(item: int) -> int:
        if item:
            time.sleep(10)
            (folder / "written").touch()
        return item

    return work


def test_an_interruption_does_not_wait_for_what_workers_are_at(tmp_path: Path) -> None:
    def interrupted() -> None:
        with open_engine(processes=2) as engine:
            assert next(engine.map(writing_late, tmp_path, range(3))) == 0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "written").exists()


def test_results_come_in_the_order_of_the_items(open_any: Open) -> None:
    factors = np.random.default_rng(0).standard_normal(1000)
    with open_any() as engine:
        results = [result for result, _ in engine.map(scaled_by, factors, range(20))]
    assert results == [float((factors * np.sin(item)).sum()) for item in range(20)]


def test_a_worker_prepares_once_for_all_its_items() -> None:
    with open_engine(processes=2) as engine:
        counts = [count for _, count in engine.map(scaled_by, np.ones(3), range(20))]
    assert set(counts) == {1}


def test_an_engine_serves_one_map_after_another(open_any: Open) -> None:
    with open_any() as engine:
        for factor in (1.0, 2.0):
            results = [result for result, _ in engine.map(scaled_by, np.array([factor]), [1, 2])]
            assert results == [factor * np.sin(1), factor * np.sin(2)]


def test_an_error_of_a_user_comes_back_whole(open_any: Open) -> None:
    with open_any() as engine:
        results = engine.map(failing, "no such image", range(5))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(DataError, match="no such image") as error:
            next(results)
    assert (error.value.what, error.value.where, error.value.fix) == ("no such image", "item 2", "give another")
    assert str(error.value).count("no such image") == 1


def test_sessions_of_a_worker_have_one_thread(open_any: Open) -> None:
    with open_any() as engine:
        assert set(engine.map(threads, None, range(4))) == {11}
    assert session_threads.get() == 0


def test_a_worker_that_dies_is_an_error_of_a_user() -> None:
    with open_engine(processes=2) as engine, pytest.raises(JobError, match="ended from outside"):
        list(engine.map(ending, None, range(2)))


def test_workers_end_with_the_process_that_they_work_for() -> None:
    program = "from tests.test_jobs import show_workers; show_workers()"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
    assert workers
    deadline = time.monotonic() + 30
    while any(map(_lives, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_lives, workers))


def show_workers() -> None:
    """Prints the process numbers of an engine's workers, and waits to be ended."""
    with open_engine(processes=2) as engine:
        sys.stdout.write(" ".join(str(pid) for pid in set(engine.map(own_process, None, range(4)))) + "\n")
        sys.stdout.flush()
        time.sleep(60)


def own_process(_: None) -> Callable[[int], int]:
    return lambda item: os.getpid()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_that_nobody_wants_any_more_are_not_made() -> None:
    with open_engine(processes=2) as engine:
        results = engine.map(scaled_by, np.ones(3), range(1000))
        next(results)
        results.close()  # type: ignore[attr-defined]
        assert len(list(engine.map(scaled_by, np.ones(3), range(2)))) == 2


def test_an_unknown_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("bfpc.jobs.CONNECT_SECONDS", 1)
    with pytest.raises(JobError, match="no cluster at tcp://127"), open_engine("tcp://127.0.0.1:1"):
        pass
