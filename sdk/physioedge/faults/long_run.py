"""R10: a million windows and ten thousand swaps, as fast as they will go."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physioedge.faults.made import DEVICE, NOW_S, TRUST, Maker
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.faults.small_bundle import contract, small_bundle
from physioedge.faults.worn import ECG, Samples, shipped
from physioedge_runtime.adaptation.adapter import Target
from physioedge_runtime.adaptation.session import TRYING, give_up, install
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.engine import Engine, load_engine
from physioedge_runtime.engine.slots import BIAS
from physioedge_runtime.errors import MissingExtra
from physioedge_runtime.faults import with_nan
from physioedge_runtime.result import Result
from physioedge_runtime.signal.resample import resample
from physioedge_runtime.stream import Stream

ROW = Row(
    id="R10",
    what="a million windows and ten thousand adapter swaps, accelerated, with gaps, lost samples and a store on disk",
    target="no slope in memory, file handles or files; every result equals the batch run bit for bit",
)
_WINDOWS, _SWAPS, _STORE_EVERY = 1_000_000, 10_000, 5
"""Of five swaps one is a new adapter through the store on disk, the others go between it and the global model."""
_INPUT, _HOP, _FS_HZ = 60, 25, 125.0
_CHUNK = 125
_GAP_EVERY, _GAP_S = 200, 3.0
"""A gap after so many chunks of one second."""
_LOOK_EVERY = 1000
MOST_BYTES = 1000.0
"""Growth of resident memory a thousand windows that is no slope: 32 MB in a year of a window a second."""
NOISE_BYTES = 512 * 1024
"""Growth that is none in a short run: what an allocator takes at a time."""
_PROC = Path("/proc/self")


@dataclass
class Batch:
    """The same windows cut from the recording by counting, and run through an engine of its own.

    Attributes
    ----------
    engine : Engine
    recording : float32 (sample,)
        It goes on for ever, from its beginning again where it ends.
    stretch : int
        Sample at which the unbroken stretch began.
    """

    engine: Engine
    recording: Samples
    stretch: int = 0
    withheld: dict[int, bool] = field(default_factory=dict)

    def differs(self, result: Result, stop: int, arrays: dict[str, Samples] | None) -> str:
        """What is wrong with the result of the window that ends before sample `stop`, in words or nothing."""
        window = self.recording[np.arange(stop - _INPUT, stop) % self.recording.size]
        whole = stop - _INPUT >= self.stretch and bool(np.isfinite(window).all())
        place = stop % self.recording.size
        if not whole:
            return "a label where samples are missing" if result.judged or result.embedding is not None else ""
        if self.withheld.setdefault(place, not result.judged) == result.judged:
            return "judged at one time and withheld at another"
        if not result.judged:
            return "" if result.flags else "withheld without a reason"
        slots = None if arrays is None else {name: array for name, array in arrays.items() if name != BIAS}
        logits, embedding = self.engine.run(window[None, None], slots)
        answer = logits[0] if arrays is None else logits[0] + arrays[BIAS]
        if result.embedding is None or result.embedding.tobytes() != embedding[0].tobytes():
            return "another embedding"
        power = np.exp(answer.astype(np.float64) - answer.max())
        if np.abs(power / power.sum() - np.array(result.probabilities)).max() > 1e-12:
            return "other probabilities"
        return "" if result.label == ("N", "S", "V")[int(answer.argmax())] else "another label"


@dataclass
class Life:
    """A stream, its store, and where it is."""

    stream: Stream
    store: AdapterStore
    maker: Maker
    swaps: int = 0
    counter: int = 0
    served: int = 0
    refused: int = 0

    def swap(self) -> dict[str, Samples] | None:
        """The next adapter through the store, or what serves and the global model in turn; the arrays in use now."""
        self.swaps += 1
        if self.swaps % _STORE_EVERY == 1:
            return self._through_store()
        if self.swaps % 2:
            self.stream.set_adapter(None)
            return None
        serving = self.store.serving
        self.stream.set_adapter(None if serving is None else serving.arrays)
        return self.maker.arrays(self.served) if self.served else None

    def _through_store(self) -> dict[str, Samples] | None:
        """A new adapter, confirmed or given up."""
        self.counter += 1
        outcome = install(self.stream, self.store, self.maker.adapter(self.counter))
        self.refused += outcome.step != TRYING
        if self.counter % 4 == 0:
            give_up(self.stream, self.store, "every fourth")
        else:
            self.store.confirm()
            self.served = self.counter
        return self.maker.arrays(self.served) if self.served else None


class Seen:
    """Memory and files as the run went on; room for it is taken before the run, so that it does not grow itself.

    Attributes
    ----------
    windows, bytes, handles, files : int64 (look,)
        Windows so far, resident memory, open file handles, files of the store; those of looks to come are 0.
    """

    def __init__(self, looks: int) -> None:
        self.looks = 0
        self.windows, self.bytes, self.handles, self.files = np.ones((4, looks), np.int64)
        self._page = os.sysconf("SC_PAGE_SIZE")

    def look(self, windows: int, folder: Path) -> None:
        """Write down what is held now."""
        self.windows[self.looks] = windows
        self.bytes[self.looks] = int((_PROC / "statm").read_text().split()[1]) * self._page
        self.handles[self.looks] = sum(1 for _ in (_PROC / "fd").iterdir())
        self.files[self.looks] = sum(1 for _ in folder.iterdir())
        self.looks += 1

    @property
    def done(self) -> int:
        """Windows at the last look."""
        return int(self.windows[self.looks - 1])

    def slope_bytes(self) -> float:
        """Bytes of resident memory a thousand windows, by least squares over the second half."""
        half = slice(self.looks // 2, self.looks)
        x, y = self.windows[half].astype(float), self.bytes[half].astype(float)
        return float(1000 * np.polyfit(x, y, 1)[0]) if x.size > 2 else 0.0

    def grows(self) -> list[str]:
        """What has a slope: memory, or a count that is higher in the last quarter than it ever was before the half."""
        half, late = self.looks // 2, self.looks - max(1, self.looks // 4)
        slope = self.slope_bytes()
        grown = slope * (self.done - int(self.windows[half])) / 1000
        found = [f"memory, by {slope:.0f} bytes a 1000 windows"] if slope > MOST_BYTES and grown > NOISE_BYTES else []
        for what, values in (("file handles", self.handles), ("files of the store", self.files)):
            most, later = int(values[: half + 1].max()), int(values[late : self.looks].max())
            found += [f"{what}, from {most} to {later}"] if later > most else []
        return found


def trial(setting: Setting) -> Outcome:
    """Stream, swap, compare, and look at memory and files now and then.

    Raises
    ------
    MissingExtra
        No onnx to make the small bundle with, or a system without ``/proc`` to read memory from.
    """
    if not (_PROC / "statm").exists():
        raise MissingExtra("a system without /proc/self/statm", "Linux", "Run this row there.")
    windows = max(4 * _LOOK_EVERY, setting.tries(_WINDOWS))
    every = max(1, windows // setting.tries(_SWAPS))
    bundle = small_bundle(setting.work / "small.physio", contract(input_samples=_INPUT, hop_samples=_HOP))
    began = time.perf_counter()
    with _living(bundle, setting.work / "store") as life:
        losses, seen, judged = _run(life, Batch(_engine(bundle), _recording()), windows, every, setting.work / "store")
    took_s = time.perf_counter() - began
    grows = seen.grows()
    notes = (
        f"a bundle with a window of {_INPUT / _FS_HZ:g} s every {_HOP / _FS_HZ:g} s and one small product as its "
        "model: the runtime's own work is done in full, and a million windows take minutes",
        f"{_GAP_S:g} s lost every {_GAP_EVERY} s, samples that are no numbers once a recording of 90 s; one swap in "
        f"{_STORE_EVERY} is a new adapter through the store (a quarter of them given up, the others confirmed), the "
        "others go between it and the global model; a condition is collected all the while",
        *(f"grows: {what}" for what in grows),
        *losses[:5],
    )
    figures = {
        "windows": float(seen.done), "swaps": float(life.swaps), "judged_share": judged / seen.done,
        "memory_slope_1000_windows_kb": seen.slope_bytes() / 1000, "memory_mb": seen.bytes[seen.looks - 1] / 2**20,
        "file_handles_before": float(seen.handles[0]), "file_handles_after": float(seen.handles[seen.looks - 1]),
        "store_files": float(seen.files[seen.looks - 1]), "window_ms": 1e3 * took_s / seen.done,
    }  # fmt: skip
    lost = len(losses) + life.refused
    return Outcome(
        tried=seen.done, lost=lost, holds=not lost and not grows and judged > 0, figures=figures, notes=notes
    )


@contextmanager
def _living(bundle: Bundle, folder: Path) -> Iterator[Life]:
    target = Target.of(bundle, device=DEVICE)
    stream = Stream(bundle, fs_hz=_FS_HZ, units="mV", precision="fp32", adapters="slots", collect="embedding")
    with AdapterStore.open(folder, target=target, trust=TRUST, clock=lambda: NOW_S) as store:
        yield Life(stream, store, Maker(target))


def _engine(bundle: Bundle) -> Engine:
    return load_engine(bundle, precision="fp32", adapters="slots")


def _recording() -> Samples:
    """The shipped ECG at the small bundle's rate, a whole number of hops long, with three samples that are NaN."""
    worn = shipped(ECG)
    ((sensor, samples),) = worn.samples.items()
    whole = resample(samples, worn.fs_hz[sensor], _FS_HZ)
    whole = whole[:, : whole.shape[1] // _HOP * _HOP]
    return np.ascontiguousarray(with_nan(whole, 4000, 4003)[0])


def _run(life: Life, batch: Batch, windows: int, every: int, folder: Path) -> tuple[list[str], Seen, int]:
    losses: list[str] = []
    seen, judged, done, at, late_s = Seen(windows // _LOOK_EVERY + 1), 0, 0, 0, 0.0
    arrays: dict[str, Samples] | None = None
    while done < windows:
        if at - batch.stretch >= _GAP_EVERY * _CHUNK:
            late_s += _GAP_S
            batch.stretch = at
        chunk = batch.recording[np.arange(at, at + _CHUNK) % batch.recording.size][None]
        for result in life.stream.push(chunk, at / _FS_HZ + late_s):
            stop = round((result.t_anchor_s - late_s) * _FS_HZ) + 1
            wrong = batch.differs(result, stop, arrays)
            if wrong:
                losses.append(f"window {done}, ending before sample {stop}: {wrong}")
            judged, done = judged + result.judged, done + 1
            if done % _LOOK_EVERY == 0:
                seen.look(done, folder)
        at += _CHUNK
        while life.swaps < done // every:
            arrays = life.swap()
    return losses, seen, judged
