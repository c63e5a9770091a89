"""Work on many items, such as batches of a data set, over the cores of this machine or a Dask cluster.

    with open_engine() as engine:
        for result in engine.map(prepare, shared, items): ...

`prepare(shared)` runs once in each worker and makes the function that works on the items. An onnxruntime session that
is opened meanwhile has one thread, and so have NumPy's products, so that workers don't compete for the cores.
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from threadpoolctl import threadpool_limits

from bfpc.errors import JobError

if TYPE_CHECKING:
    from distributed import Client

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_SECONDS = 10

session_threads: ContextVar[int] = ContextVar("session_threads", default=0)  # 0: as many as there are cores


class Engine(Protocol):
    """What works on items."""

    def map(
        self, prepare: Callable[[Shared], Callable[[Item], Result]], shared: Shared, items: Sequence[Item]
    ) -> Iterator[Result]:
        """The results, in the order of the items, as soon as they are there.

        All that is handed over is pickled; `prepare` is a function of a module. What a worker raises is raised here.
        """


@contextmanager
def open_engine(scheduler: str | None = None, processes: int | None = None) -> Iterator[Engine]:
    """The Dask cluster whose scheduler has this address; else processes of this machine, by default one for each core.

    Raises JobError where the cluster cannot be reached.
    """
    count = processes or _cores()
    if scheduler is not None:
        with _connect(scheduler) as client:
            yield ClusterEngine(client)
    elif count == 1:
        yield ThisProcess()
    else:
        with tempfile.TemporaryDirectory(prefix="bfpc-jobs-") as folder, _pool(count) as pool:
            yield LocalEngine(pool, Path(folder))


class ThisProcess:
    """Works on one item after another, here."""

    def map(
        self, prepare: Callable[[Shared], Callable[[Item], Result]], shared: Shared, items: Sequence[Item]
    ) -> Iterator[Result]:
        with _one_thread():
            work = prepare(shared)
        for item in items:
            with _one_thread():
                result = work(item)
            yield result


class LocalEngine:
    """Processes of this machine. What they share lies in a file, which each reads once."""

    def __init__(self, pool: ProcessPoolExecutor, folder: Path) -> None:
        self._pool, self._folder = pool, folder

    def map(
        self, prepare: Callable[[Shared], Callable[[Item], Result]], shared: Shared, items: Sequence[Item]
    ) -> Iterator[Result]:
        path = self._folder / f"{uuid.uuid4().hex}.pickle"
        try:
            path.write_bytes(pickle.dumps((prepare, shared)))
        except OSError as error:
            fix = "check the free space there, name another folder with TMPDIR, or give --processes 1"
            what = f"cannot write what the processes work on: {error}"
            raise JobError(what, where=str(path.parent), fix=fix) from error
        futures: list[Future[Result]] = [self._pool.submit(_work_from_file, path, item) for item in items]
        try:
            while futures:
                yield futures[0].result()
                del futures[0]  # and its result
        except BrokenProcessPool:
            what, fix = "a worker process was ended from outside", "it may lack memory: give fewer --processes"
            raise JobError(what, where="--processes", fix=fix) from None
        finally:
            for future in futures:
                future.cancel()
            path.unlink()


class ClusterEngine:
    """The workers of a Dask cluster. What they share is sent to each of them once."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def map(
        self, prepare: Callable[[Shared], Callable[[Item], Result]], shared: Shared, items: Sequence[Item]
    ) -> Iterator[Result]:
        key = uuid.uuid4().hex
        [sent] = self._client.scatter([(prepare, shared)], broadcast=True, hash=False)
        futures = [self._client.submit(_work_on, item, key, sent, pure=False) for item in items]
        try:
            while futures:
                yield futures[0].result()
                del futures[0]
        finally:
            self._client.cancel(futures)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Prepared(threading.local):
    """What this worker has prepared last."""

    key: object = None
    work: Callable[[Any], Any]


_prepared = _Prepared()


def _work_from_file(path: Path, item: Any) -> Any:
    return _work(path, item, lambda: pickle.loads(path.read_bytes()))


def _work_on(item: Any, key: str, sent: tuple[Callable[[Any], Any], Any]) -> Any:
    return _work(key, item, lambda: sent)


def _work(key: object, item: Any, read: Callable[[], tuple[Callable[[Any], Any], Any]]) -> Any:
    """Works on an item in a worker; prepares for it, unless that was done for an item before."""
    with _one_thread():
        if _prepared.key != key:
            prepare, shared = read()
            _prepared.work, _prepared.key = prepare(shared), key
        return _prepared.work(item)


@contextmanager
def _one_thread() -> Iterator[None]:
    token = session_threads.set(1)
    limits = threadpool_limits(1, "blas")
    try:
        yield
    finally:
        limits.restore_original_limits()
        session_threads.reset(token)


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that start afresh: a fork would copy threads of onnxruntime in an unknown state."""
    others = set(active_children())
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin_worker)
    try:
        yield pool
    except KeyboardInterrupt:  # nobody waits for what they are at
        for worker in set(active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Ctrl-C reaches all processes of a terminal; this one is ended by the process that it works for, or with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _connect(scheduler: str) -> Client:
    try:
        from distributed import Client
    except ImportError:
        fix = "install it: pip install 'bfpc[cluster]'"
        raise JobError("a cluster needs Dask, which is not installed", where="--scheduler", fix=fix) from None
    try:
        return Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        fix = "start 'dask scheduler' and 'dask worker', and give the address that the first prints"
        raise JobError(f"no cluster at {scheduler}: {error}", where="--scheduler", fix=fix) from None
