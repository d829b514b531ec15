"""Spread shards over a Dask cluster, as tasks of a Prefect flow; results come back in the shards' order.

Imported only where `preprocess.runner` is `dask`: it needs the extra `ferops[dask]`, here and on every worker. Shards
carry their images, so the workers need no shared disk. The flow and its tasks are seen in Prefect: in the server that
PREFECT_API_URL names, which the workers must reach, or else in a temporary one on this machine.
"""

from __future__ import annotations

import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from ferops import __version__
from ferops.errors import FeropsError
from ferops.faces.shard import Extracted, Shard, extract
from ferops.faces.spread import Work, one_thread

try:
    import distributed
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect_dask.task_runners import DaskTaskRunner
except ImportError as error:
    raise FeropsError(
        f"preprocess.runner is dask, and {error.name} is not installed. Install it here and on every worker: "
        "pip install 'ferops[dask]'; or set preprocess.runner: local"
    ) from error

_SHARDS_PER_TASK = 4  # a Prefect task costs a tenth of a second: that of a few hundred images, not of a few dozen
_AHEAD = 2  # tasks handed out for each worker thread: memory is bounded, and no worker waits
_CONNECT_S = 20

_of_thread = threading.local()
"""A worker's detector: made once in each of its threads, for not every detector may be shared."""


@task(name="faces", persist_result=False, cache_policy=NO_CACHE)
def faces(packed: bytes) -> list[Extracted]:
    """What runs on a worker: `packed` holds shards and Work, pickled, for Prefect walks through any collection."""
    shards, work = pickle.loads(packed)
    with one_thread():
        if getattr(_of_thread, "work", None) != work:
            _of_thread.work, _of_thread.detector = work, work.make_detector()
        return [extract(shard, work.settings, _of_thread.detector) for shard in shards]


def on_cluster(
    shards: Iterator[Shard], work: Work, *, address: str | None, workers: int, take: Callable[[Extracted], None]
) -> None:
    """Hand what each shard gives to `take`, in order.

    Args:
        address: of the Dask scheduler, such as `tcp://host:8786`; None starts a cluster on this machine that ends
            with the work.
        workers: processes of that cluster, of one thread each; without meaning where `address` is given.

    Raises:
        FeropsError: no scheduler answers at `address`, it has no worker, one has another version of ferops, or a
            worker died.
    """
    if address is None:
        threads = workers
        kwargs = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        runner: Any = DaskTaskRunner(cluster_kwargs=kwargs)
    else:
        threads = _threads(address)
        runner = DaskTaskRunner(address=address)

    @flow(name="preprocess-faces", task_runner=runner, persist_result=False)
    def preprocess_faces() -> None:
        waiting: deque[Any] = deque()
        while group := list(islice(shards, _SHARDS_PER_TASK)):
            if len(waiting) >= _AHEAD * threads:
                _pass_on(waiting.popleft(), take)
            waiting.append(faces.submit(pickle.dumps((group, work))))
        while waiting:
            _pass_on(waiting.popleft(), take)

    try:
        preprocess_faces()
    except distributed.KilledWorker as error:
        raise FeropsError(
            f"a worker of the Dask cluster died again and again ({error}). Most often it ran out of memory: give it "
            "more, or set preprocess.batch_size lower. Its own log says more"
        ) from error


def _pass_on(future: Any, take: Callable[[Extracted], None]) -> None:
    for extracted in future.result():
        take(extracted)


def _threads(address: str) -> int:
    """Return how many threads the cluster's workers have together, once it is sure that they can do the work."""
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
        raise FeropsError(f"the Dask scheduler at {address} has no worker. Start some: dask worker {address}")
    odd = {worker: version for worker, version in versions.items() if version != __version__}
    if odd:
        raise FeropsError(f"these workers have another version of ferops than {__version__}, used here: {odd}")
    return threads


def _version() -> str:
    """The worker's, for it is pickled by name."""
    return __version__
