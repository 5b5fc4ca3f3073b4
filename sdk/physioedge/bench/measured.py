"""What a run of the bench found, as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from physioedge.bench.arms import Arm
from physioedge.bench.ceilings import Ceilings
from physioedge.bench.work import Work

PER_ROUND = 20


@dataclass(frozen=True)
class LeftOut:
    """An arm that is not in the table, and why."""

    arm: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """From samples to results through `Stream`, beside the same engine alone on the same windows.

    All times are medians over passes of the recording; a stream pass and a pass of the bare engine take turns.

    Attributes
    ----------
    passes, results, judged : int
        Passes; results of one pass; those for which the engine ran.
    signal_s, chunk_s : float
        Length of the recording and of one push.
    total_ms : float
        All pushes of a pass, for each judged result.
    engine_ms : float
        The engine inside those pushes, timed in the same pass, for each judged result.
    bare_ms : float
        The engine alone, mean over the same windows, in the pass before or after.
    overhead_ms : float
        ``total_ms - engine_ms`` of the same pass: what the runtime adds to a result, all pushes counted.
    emit_ms, emit_overhead_ms : float
        The push that emits a judged result: its length, and that without the engine. This is the delay a caller sees.
    silent_ms : float
        A push that emits nothing.
    """

    passes: int
    results: int
    judged: int
    signal_s: float
    chunk_s: float
    total_ms: float
    engine_ms: float
    bare_ms: float
    overhead_ms: float
    emit_ms: float
    emit_overhead_ms: float
    silent_ms: float

    @property
    def overhead_share(self) -> float:
        """`overhead_ms` as a share of the engine's time in the same pass."""
        return self.overhead_ms / self.engine_ms

    @property
    def real_time_factor(self) -> float:
        """Seconds of signal done in one second, on one thread."""
        return 1e3 * self.signal_s / (self.total_ms * self.judged)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one arm showed.

    Attributes
    ----------
    arm : Arm
    file_bytes : int
        Graph inside the bundle, or the plain file.
    rounds : list of list of float
        Milliseconds of each inference by round.
    import_ms, load_ms, first_ms : float
        Importing the engine, loading (for our arms: open, verify, golden vectors), the first inference after that.
    verify_ms : float or None
        Opening the bundle with its signature and digests: a part of `load_ms`. None for arms without a bundle.
    peak_rss_mb : float
        After one round of inferences, 10^6 bytes.
    logits : list of list of float
        Of the first windows.
    install_bytes : mapping of str to int
        Bytes on disk of every distribution or folder that the arm needs at run time, without ``__pycache__``.
    swap_ms : float or None
        What a new adapter adds to the run it is first passed to. None without slots.
    streamed : Streamed or None
        For our merged arms whose recording fits.
    engine : str
        The engine's name and version, as it says itself.
    """

    arm: Arm
    file_bytes: int
    import_ms: float
    load_ms: float
    first_ms: float
    peak_rss_mb: float
    logits: list[list[float]]
    rounds: list[list[float]]
    verify_ms: float | None = None
    install_bytes: Mapping[str, int] = field(default_factory=dict)
    swap_ms: float | None = None
    streamed: Streamed | None = None
    engine: str = ""

    @property
    def ready_ms(self) -> float:
        """Imports, load and first inference together."""
        return self.import_ms + self.load_ms + self.first_ms


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One run over all arms on one model.

    Attributes
    ----------
    group : str
        ``tiny``, ``paper`` or the bundle's name.
    measured : dict of str to Measured
        By arm, ours first.
    left_out : list of LeftOut
    windows : str
        Where they come from.
    rounds, per_round : int
    weights : str
        What the weights are: the bundle's own, or random ones.
    work : Work or None
        Operations and bytes of one window; None where the network's shape is not known.
    ceilings : Ceilings or None
        What this machine can do on one thread, measured in the same run.
    """

    measured: dict[str, Measured]
    left_out: list[LeftOut]
    windows: str
    rounds: int
    per_round: int = PER_ROUND
    group: str = ""
    weights: str = ""
    work: Work | None = None
    ceilings: Ceilings | None = None
