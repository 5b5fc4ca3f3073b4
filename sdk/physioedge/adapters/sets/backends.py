"""What jobs of an adapter set run on: processes of this machine, or a Ray cluster. joblib starts both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from physioedge.training.cluster import joined
from physioedge_runtime.errors import AdapterError

LOKY, RAY = "loky", "ray"
BACKENDS = (LOKY, RAY)
LOSSES = 3
"""Workers that may be lost one after the other without a job done in between."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where jobs run.

    Attributes
    ----------
    name : str
        One of `BACKENDS`.
    workers : int
        At the same time, one core each.
    address : str, optional
        Of a Ray cluster to join; all its machines see the set's folder, the recordings and the weights under the same
        paths. None: one on this machine, for as long as the work lasts.

    Raises
    ------
    AdapterError
        There is no such backend, or an address without Ray.
    """

    name: str = LOKY
    workers: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        if self.name not in BACKENDS or self.workers < 1 or (self.address is not None and self.name != RAY):
            came = f"backend {self.name!r} with {self.workers} workers and address {self.address!r}"
            raise AdapterError(
                came, f"one of {', '.join(BACKENDS)}, at least one worker, an address for {RAY} alone", "Correct it."
            )


class Pool:
    """Workers that do jobs which may be done any number of times, and are done once.

    Parameters
    ----------
    backend : Backend
    """

    def __init__(self, backend: Backend) -> None:
        self._backend, self._parallel = backend, ExitStack()
        self._pool: Any = None

    def close(self) -> None:
        """End the workers."""
        self._pool = None
        self._parallel.close()

    def run(self, job: Callable[..., str], calls: Sequence[tuple[Any, ...]]) -> Iterator[str]:
        """What jobs give, in the order in which they end; with Ray when all have ended.

        A worker that dies takes no job with it: the jobs are given out anew, and those that were done know it.

        Raises
        ------
        Exception
            What a job raised, or what a lost worker raised when others were lost before and nothing was done since.
        """
        from joblib import Parallel, delayed

        told, losses = set[str](), 0
        while calls:
            try:
                for name in self._start(Parallel)(delayed(job)(*call) for call in calls):
                    if name not in told:
                        told.add(name)
                        losses = 0
                        yield name
            except self._lost() as error:
                self.close()
                losses += 1
                if losses > LOSSES:
                    raise
                logging.getLogger(__name__).warning("a worker was lost (%s)", type(error).__name__)
            else:
                return

    def _start(self, parallel: Any) -> Any:
        if self._pool is None:
            loky = {"return_as": "generator_unordered"}
            how: dict[str, Any] = loky if self._backend.name == LOKY else {"backend": RAY, "batch_size": 1}
            self._pool = self._parallel.enter_context(parallel(n_jobs=self._backend.workers, **how))
        return self._pool

    def _lost(self) -> tuple[type[Exception], ...]:
        """What tells that a worker died."""
        if self._backend.name == LOKY:
            return (BrokenProcessPool,)
        from ray.exceptions import RayActorError, WorkerCrashedError

        return RayActorError, WorkerCrashedError


@contextmanager
def pool(backend: Backend) -> Iterator[Pool]:
    """Workers for as long as the block lasts.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    """
    with ExitStack() as stack:
        if backend.name == RAY:
            stack.enter_context(joined(backend.address, backend.workers))
            from ray.util.joblib import register_ray

            register_ray()
        made = Pool(backend)
        stack.callback(made.close)
        yield made
