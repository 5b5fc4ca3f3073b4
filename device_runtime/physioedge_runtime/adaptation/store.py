"""The adapters of a person on disk: which one serves, which one is tried, which came before.

Adapter files are named by their digest. One small state file says what they are; each change writes a whole new state
beside the last one and switches to it by its number, so that a power cut leaves the old state or the new one. What is
read is verified again, every time. ``docs/adapter.md`` lists the states and what each cut leads to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.adaptation.adapter import AdapterFile, Target, read_adapter
from physioedge_runtime.adaptation.disk import Disk, FolderDisk
from physioedge_runtime.adaptation.files import StoreFiles, first
from physioedge_runtime.adaptation.freshness import Freshness
from physioedge_runtime.adaptation.state import GLOBAL, Event, Forgotten, StoreState
from physioedge_runtime.bundle.signing import load_trust
from physioedge_runtime.engine.slots import BIAS, split_adapter
from physioedge_runtime.errors import StoreError, StoreRefused


class AdapterStore:
    """The one store of a device for one bundle; not thread-safe. Make it with `open`.

    Attributes
    ----------
    target : Target
        What adapters must have been made for.
    current : AdapterFile or None
        The confirmed adapter, verified; None is the global model.
    candidate : AdapterFile or None
        The one staged or tried.

    Examples
    --------
    >>> with AdapterStore.open("adapters", target=Target.of(bundle, device="7")) as store:  # doctest: +SKIP
    ...     store.stage(answer)
    ...     stream.set_adapter(store.start_trial().arrays)
    ...     store.confirm() if better else store.revert("margins fell")
    """

    def __init__(
        self,
        files: StoreFiles,
        *,
        target: Target,
        trust: Path | str | bytes | None,
        clock: Callable[[], float],
        release: Callable[[], None],
    ) -> None:
        self._files, self.target, self._trust, self._clock, self._release = files, target, trust, clock, release
        self._recover()
        find = partial(files.find, target=target, trust=trust)
        self.current: AdapterFile | None = first(map(find, (self._state.confirmed, *self._state.previous)))
        self.candidate: AdapterFile | None = find(self._state.candidate)

    @classmethod
    def open(
        cls,
        place: Path | str | Disk,
        *,
        target: Target,
        trust: Path | str | bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """The store in a folder of its own, locked until `close`. A trial that a restart cut short is reverted.

        An adapter that is damaged, unreadable, no longer trusted or not made for `target` does not serve; the one
        before it does, and `problems` says so. Nothing is deleted for it.

        Parameters
        ----------
        place : path or Disk
            A folder that holds nothing else; made where there is none.
        target : Target
            Bundle and device.
        trust : path, 32 raw bytes or None
            Who may sign adapters, as `AdapterFile.open`.
        clock : callable
            Unix seconds, as wrong as they may be.

        Raises
        ------
        StoreLocked
            The store is open already.
        StoreError
            Its state cannot be read, or was written by a newer runtime. Use the global model.
        BundleError
            A key cannot be read.
        """
        load_trust(trust)
        disk = FolderDisk(place) if isinstance(place, (str, Path)) else place
        release = disk.lock()
        try:
            return cls(StoreFiles(disk), target=target, trust=trust, clock=clock, release=release)
        except BaseException:
            release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others open the store. Nothing is pending; what is read here stays as it is, changes are refused."""
        self._files.closed = True
        release, self._release = self._release, lambda: None
        release()

    @property
    def problems(self) -> tuple[str, ...]:
        """What was found wrong with the files, in words."""
        return tuple(self._files.problems)

    @property
    def serving(self) -> AdapterFile | None:
        """What results are to be made with: the candidate while it is tried, else `current`."""
        return self.candidate if self._state.trying else self.current

    @property
    def phase(self) -> str:
        """Of the candidate: ``staged``, ``trying``, or empty where there is none."""
        return ("trying" if self._state.trying else "staged") if self._state.candidate else ""

    @property
    def pinned(self) -> bool:
        """Whether the adapter in use has to stay."""
        return self._state.pinned

    @property
    def history(self) -> tuple[Event, ...]:
        """What happened, latest last."""
        return self._state.history

    @property
    def freshness(self) -> Freshness:
        """What keeps old adapters out; its `last_counter` is what the host is told."""
        return self._state.freshness

    @property
    def reverted_at_start(self) -> int:
        """How many trials were cut short by a restart."""
        return self._state.reverted_at_start

    def stage(self, source: bytes | Path | str) -> AdapterFile:
        """A new adapter, verified in full, kept as the candidate. Staging the candidate once more changes nothing.

        Raises
        ------
        StoreRefused
            The adapter in use is pinned, or another one is being tried.
        BundleError, AdapterError
            As `AdapterFile.open` and `AdapterFile.check_fits`.
        StoreError
            The disk failed; all is as before.
        """
        self._state.check_may_stage()
        data = read_adapter(source)
        adapter = AdapterFile.open(data, trust=self._trust)
        if adapter.digest == self._state.candidate:
            if self.candidate is None:  # its file was damaged
                adapter.check_made_for(self.target)
                self._files.put(adapter.digest, data)
                self.candidate = adapter
            return self.candidate
        adapter.check_fits(self.target, freshness=self.freshness, clock_s=self._now_s())
        state = self._state.staged(adapter.digest, adapter.manifest, self._now_s())
        self._files.put(adapter.digest, data)
        self._files.commit(state)
        self.candidate = adapter
        return adapter

    def start_trial(self) -> AdapterFile:
        """The candidate, to be used from now on until it is confirmed or reverted. A restart reverts it.

        Raises
        ------
        StoreRefused
            Nothing usable is staged, a trial has begun, or the adapter in use is pinned.
        AdapterExpired
            Its time ran out since it was staged.
        StoreError
            The disk failed; all is as before.
        """
        state = self._state.tried(self._now_s())
        if self.candidate is None:
            raise StoreRefused("a staged adapter that cannot be used", "one that is whole", "; ".join(self.problems))
        self.freshness.check_expiry(self.candidate.manifest, self._now_s())
        self._files.commit(state)
        return self.candidate

    def confirm(self) -> None:
        """Keep the adapter that is tried: it is `current` from now on. StoreRefused, StoreError as `start_trial`."""
        self._files.commit(self._state.settled(self._now_s()))
        self.current, self.candidate = self.candidate, None

    def revert(self, reason: str) -> None:
        """Drop the candidate, staged or tried; `current` serves again, at once and even where the disk fails.

        Raises
        ------
        StoreRefused
            There is none.
        StoreError
            The disk failed. A trial is reverted all the same, now and after a restart.
        """
        state = self._state.reverted(reason, self._now_s())
        self.candidate = None
        self._files.commit(state, even_unwritten=True)

    def rollback(self, reason: str) -> AdapterFile | None:
        """Go back to what served before: during a trial as `revert`, else to the adapter confirmed before `current`.

        Gives what serves now, None for the global model.

        Raises
        ------
        StoreRefused
            The global model serves already, the adapter is pinned, or no confirmed one can be used.
        StoreError
            The disk failed; all is as before, or, in a trial, as `revert`.
        """
        if self._state.trying:
            self.revert(reason)
            return self.current
        if self.current is None:
            self._files.refuse_unusable("rollback")
            raise StoreRefused("a rollback of the global model", "an adapter to roll back", "Nothing is to be done.")
        chain = (self._state.confirmed, *self._state.previous)
        rest = chain[chain.index(self.current.digest) + 1 :]
        adapter = first(map(partial(self._files.load, target=self.target, trust=self._trust), rest))
        digest = GLOBAL if adapter is None else adapter.digest
        left = () if adapter is None else rest[rest.index(digest) + 1 :]
        self._files.commit(self._state.rolled_back(digest, left, reason, self._now_s()))
        self.current = adapter
        return adapter

    def pin(self) -> None:
        """Keep the adapter in use until `unpin`. StoreRefused in a trial, or where no confirmed one can be used."""
        if self.current is None:
            self._files.refuse_unusable("pin")
        self._files.commit(self._state.held(True, self._now_s()))

    def unpin(self) -> None:
        """Let the adapter in use change again. StoreError where the disk failed."""
        self._files.commit(self._state.held(False, self._now_s()))

    @property
    def centring(self) -> NDArray[np.float32] | None:
        """Bias (n_outputs,) taken from this person's signal under what serves now, centred or levelled, or None."""
        bias = self._state.bias(self._serving_digest)
        fits = bias is not None and bias.shape == (self.target.contract.n_outputs,)  # else of another bundle
        return bias if fits else None

    def keep_centring(self, bias: NDArray[np.float32] | None) -> None:
        """Remember a bias (n_outputs,) float32 for what serves now, or none.

        Raises
        ------
        SlotMismatch, NonFiniteAdapter
            It is no such bias.
        StoreError
            The disk failed; all is as before.
        """
        if bias is not None:
            split_adapter({BIAS: bias}, (), self.target.contract.n_outputs)
        self._files.commit(self._state.with_bias(self._serving_digest, bias))

    def forget(self) -> Forgotten:
        """Erase all that is of the person: adapters, centring, history, and the pin. The global model serves.

        Raises
        ------
        StoreError
            The disk failed and not all is erased. Call it again; a restart goes on with it too, if it had begun.
        """
        before = self._state
        self._files.commit(before.forgotten())
        self.current = self.candidate = None
        return Forgotten(adapters=self._files.erase(), centring=len(before.centring), events=len(before.history))

    @property
    def _state(self) -> StoreState:
        return self._files.state

    @property
    def _serving_digest(self) -> str:
        return GLOBAL if self.serving is None else self.serving.digest

    def _now_s(self) -> float:
        now_s = float(self._clock())
        return now_s if math.isfinite(now_s) else 0.0

    def _recover(self) -> None:
        """Finish what a power cut left half done; also a disk that cannot be written serves."""
        state = self._files.state
        try:
            if state.forgetting:
                self._files.erase()
            elif state.trying:
                reverted = state.reverted("cut short by a restart", self._now_s())
                count = state.reverted_at_start + 1
                self._files.commit(replace(reverted, reverted_at_start=count), even_unwritten=True)
        except StoreError as error:
            self._files.problems.append(f"the disk cannot be written: {error}")
        self._files.sweep()
