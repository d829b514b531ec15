"""Extract the faces of shards on a Dask cluster, as tasks of a Prefect flow; results come in the shards' order.

Imported only where `preprocess.runner` is `dask`: it needs the extra `ferops[dask]`, here and on every worker. Shards
carry their images, so the workers need no shared disk. Prefect shows the flow and its tasks: in the server that
PREFECT_API_URL or prefect.toml names, which the workers must reach, or else in a temporary one on this machine.
"""

from __future__ import annotations

import os
import pickle
import threading
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from ferops import __version__
from ferops.errors import FeropsError
from ferops.faces.process_pool import Work
from ferops.faces.shard import Extracted, Shard, extract
from ferops.pool import one_thread

try:
    import distributed
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.events.worker import EventsWorker
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
    from prefect_dask.task_runners import DaskTaskRunner
except ImportError as error:
    raise FeropsError(
        f"preprocess.runner is dask, but {error.name} is not installed. Install it here and on every worker: "
        "pip install 'ferops[dask]'; or set preprocess.runner: local"
    ) from error

_SHARDS_PER_TASK = 4  # a Prefect task costs a tenth of a second, so it should do a few hundred images, not a few dozen
_AHEAD = 2  # tasks handed out for each worker thread: memory is bounded, and no worker waits
_CONNECT_S = 20

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_of_thread = threading.local()
"""A worker's detector, one per thread: not every detector can be shared between threads."""


def extract_on_worker(packed: bytes) -> list[Extracted]:
    """Run on a worker. `packed` holds shards and Work, pickled, because Prefect walks through any collection."""
    shards, work = pickle.loads(packed)
    with one_thread():
        # Compare the settings: each task unpickles a new `make_detector`, which equals no other
        if getattr(_of_thread, "settings", None) != work.settings:
            _of_thread.settings, _of_thread.detector = work.settings, work.make_detector()
        return [extract(shard, work.settings, _of_thread.detector) for shard in shards]


@dataclass(frozen=True)
class _Job:
    shards: Iterator[Shard]
    work: Work
    at_most: int
    take: Callable[[Extracted], None]


_job: ContextVar[_Job] = ContextVar("job")
"""The flow's input. Not a parameter: Prefect sends the flow's parameters to the workers with every task."""


def submit_shards() -> None:
    """The body of the flow: submits a bounded number of tasks and collects results in the order of the shards."""
    job = _job.get()
    waiting: deque[Any] = deque()
    while group := list(islice(job.shards, _SHARDS_PER_TASK)):
        if len(waiting) >= job.at_most:
            _collect(waiting.popleft(), job.take)
        waiting.append(_task.submit(pickle.dumps((group, job.work))))
    while waiting:
        _collect(waiting.popleft(), job.take)


# Named differently, so that the functions are pickled by name and not by value
_task = task(name="faces", persist_result=False, cache_policy=NO_CACHE)(extract_on_worker)
_flow = flow(name="preprocess-faces", persist_result=False)(submit_shards)


def extract_on_dask(
    shards: Iterator[Shard], work: Work, *, address: str | None, workers: int, take: Callable[[Extracted], None]
) -> None:
    """Pass the faces of each shard to `take`, in order.

    Args:
        address: the Dask scheduler's, such as `tcp://host:8786`; None starts a cluster on this machine and stops
            it at the end.
        workers: processes of that cluster, with one thread each; ignored if `address` is given.

    Raises:
        FeropsError: no scheduler answers at `address`, it has no workers, a worker has another version of ferops, the
            scheduler is on another machine and no Prefect server is set, or a worker died.
    """
    if address is None:
        threads = workers
        kwargs = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        runner: Any = DaskTaskRunner(cluster_kwargs=kwargs)
    else:
        threads = _threads(address)
        runner = DaskTaskRunner(address=address)

    token = _job.set(_Job(shards, work, _AHEAD * threads, take))
    try:
        with _one_server(address):
            _flow.with_options(task_runner=runner)()
    except distributed.KilledWorker as error:
        raise FeropsError(
            f"a worker of the Dask cluster died repeatedly ({error}). Most often it ran out of memory: give it more "
            "memory, or lower preprocess.batch_size. See the worker's log"
        ) from error
    finally:
        _job.reset(token)


@contextmanager
def _one_server(address: str | None) -> Iterator[None]:
    """Start a Prefect server for the flow if none runs; otherwise every worker would start its own."""
    url = PREFECT_API_URL.value()  # of the environment, or of prefect.toml: where `ferops up` puts the server
    far = address is not None and urlsplit(address).hostname not in _LOOPBACK
    if far and (url is None or urlsplit(url).hostname in _LOOPBACK):
        raise FeropsError(
            f"the Dask scheduler {address} is on another machine, and its workers can reach no Prefect server here. "
            "Start one (prefect server start --host 0.0.0.0) and set PREFECT_API_URL=http://THIS_MACHINE:4200/api"
        )
    if url is not None and _answers(url):
        yield
        return
    if far or "PREFECT_API_URL" in os.environ:
        raise FeropsError(f"no Prefect server answers at PREFECT_API_URL, {url}. Start it, or set the right address")
    server = SubprocessASGIServer()
    server.start(timeout=120)  # seconds: a busy machine needs more than the default
    try:
        # Otherwise this process would go on delivering logs to a server that has stopped
        with temporary_settings({PREFECT_API_URL: server.api_url, PREFECT_LOGGING_TO_API_ENABLED: False}):
            yield
            EventsWorker.drain_all(timeout=_CONNECT_S)
    finally:
        server.stop()


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=5) as reply:
            return bool(reply.status == HTTPStatus.OK)
    except OSError:
        return False


def _collect(future: Any, take: Callable[[Extracted], None]) -> None:
    for extracted in future.result():
        take(extracted)


def _threads(address: str) -> int:
    """Return how many threads the workers have in total, after checking that each can do the work."""
    try:
        with distributed.Client(address, timeout=_CONNECT_S, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            threads = int(sum(client.nthreads().values()))
            versions = client.run(_version) if threads else {}
    except (OSError, ValueError) as error:
        raise FeropsError(
            f"no Dask scheduler answers at preprocess.dask_address, {address} ({error}). Start one: dask scheduler; "
            "and workers: dask worker ADDRESS --nthreads 1"
        ) from error
    except ImportError as error:
        raise FeropsError(
            f"a worker of the Dask cluster at {address} cannot import {error.name}. Install it there: "
            "pip install 'ferops[dask]'"
        ) from error
    if not threads:
        raise FeropsError(f"the Dask scheduler at {address} has no workers. Start some: dask worker {address}")
    odd = {worker: version for worker, version in versions.items() if version != __version__}
    if odd:
        raise FeropsError(
            f"these workers have another version of ferops than the {__version__} used here: {odd}. "
            f"Install it on every worker: pip install 'ferops[dask]=={__version__}'"
        )
    return threads


def _version() -> str:
    """The worker's version: this function is pickled by name."""
    return __version__
