"""From conditions to signed adapter files: the part of the host that computes. Runs in the batcher's thread."""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from physioedge.host.protocol import Arrays, Generator, Sampler
from physioedge_export.adapters import build_adapter
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.adaptation.manifest import AdapterManifest, Binding
from physioedge_runtime.adaptation.request import Request
from physioedge_runtime.errors import ConditionError, HostError

LOG = logging.getLogger("physioedge.host")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request that was let in, and its condition."""

    request: Request
    condition: Condition


class AdapterMaker:
    """One generator and the key that signs what it makes.

    Parameters
    ----------
    generator : Generator
    signing_key : bytes
        32 raw bytes.
    valid_s : int
        How long an adapter may be accepted.
    clock : callable
        Unix seconds.
    """

    def __init__(self, generator: Generator, signing_key: bytes, valid_s: int, clock: Callable[[], float]) -> None:
        self._generator, self._key, self._valid_s, self._clock = generator, signing_key, valid_s, clock

    def sign_with(self, signing_key: bytes) -> None:
        """Sign what is made from now on with another key."""
        self._key = signing_key

    def make(self, jobs: Sequence[Job]) -> list[bytes | Exception]:
        """A signed adapter file for each job, or the error that stands for it. One that fails does not hurt the others.

        Everything random comes from the request's digest, so that the same request has the same arrays on every host.
        """
        try:
            made = self._generate(jobs)
        except Exception as error:  # noqa: BLE001 - a generator is another's code
            if len(jobs) > 1:
                return [result for job in jobs for result in self.make([job])]
            return [_told(error)]
        return [self._signed(job, arrays) for job, arrays in zip(jobs, made, strict=True)]

    def _generate(self, jobs: Sequence[Job]) -> Sequence[Arrays]:
        conditions = [job.condition for job in jobs]
        if isinstance(self._generator, Sampler):
            made = self._generator.sample(conditions, [int(job.request.digest[:16], 16) for job in jobs])
        else:
            made = self._generator.generate(conditions)
        if len(made) != len(jobs):
            raise ValueError(f"{len(made)} adapters for {len(jobs)} conditions")
        return made

    def _signed(self, job: Job, arrays: Arrays) -> bytes | Exception:
        request, now_s = job.request, int(self._clock())
        said = AdapterManifest(
            id=f"{self._generator.kind}-{request.digest[:16]}",
            task=self._generator.task,
            backbone_digest=self._generator.backbone_digest,
            binding=Binding(kind="device", id=request.device),
            counter=request.counter + 1,
            issued_s=now_s,
            expires_s=now_s + self._valid_s,
            provenance={
                "generator": self._generator.kind,
                "source": self._generator.source,
                "condition_sha256": hashlib.sha256(request.condition).hexdigest(),
                "request_sha256": request.digest,
            },
        )
        try:
            return build_adapter(said, arrays, signing_key=self._key)
        except Exception as error:  # noqa: BLE001 - arrays that no adapter can have
            return _told(error)


def _told(error: Exception) -> Exception:
    """What a device is told. A log gets the place of a fault and never its message: conditions may be in that."""
    if isinstance(error, ConditionError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].name}, line {frames[-1].lineno}" if frames else "nowhere"
    LOG.error("no adapter: %s in %s", type(error).__name__, place)
    return HostError("a generator that failed", "an adapter", "Tell the host's operator; what serves now goes on.")
