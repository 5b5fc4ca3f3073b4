"""The parts of a contract: sensors, trigger, outputs, thresholds, slots."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS, ROWS = "columns", "rows"
LAYOUTS = (COLUMNS, ROWS)


@dataclass(frozen=True, kw_only=True)
class SensorSpec:
    """One sensor as the graph takes it.

    Attributes
    ----------
    name : str
        Name used in ``Stream.push(chunk, t, sensor)``.
    modality : str
        ``ecg``, ``ppg``, ``acc``, ``eda``, ...
    fs_hz : float
        Canonical rate.
    units : str
        ``mV``, ``g``, ``uS``, ... or ``a.u.``.
    channels : tuple of str
        Channel names in order.
    low, high : float
        Plausible range in `units`; samples outside are flagged, never clipped silently.
    context_samples, window_samples : int
        Real past before the window, and the window, at `fs_hz`.
    """

    name: str
    modality: str
    fs_hz: float
    units: str
    channels: tuple[str, ...]
    low: float
    high: float
    context_samples: int
    window_samples: int

    @property
    def input_samples(self) -> int:
        """Length of this sensor's input of the graph."""
        return self.context_samples + self.window_samples


@dataclass(frozen=True, kw_only=True)
class TriggerSpec:
    """What makes a window due, in samples of the leading sensor.

    Attributes
    ----------
    kind : str
        ``beat``: each R peak; ``hop``: every `hop_samples`.
    lookahead_samples : int
        Samples after the judged instant that belong to the window.
    hop_samples : int
        From one window to the next; 0 for beats.
    """

    kind: str
    lookahead_samples: int
    hop_samples: int = 0


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """What is cut out of one sensor's signal for one judgement, in samples at its canonical rate.

    The graph's input is ``context_samples + window_samples`` long. For a beat trigger the R peak is the sample with
    ``lookahead_samples`` samples after it; for a hop trigger a window ends every ``hop_samples``.
    """

    context_samples: int
    window_samples: int
    lookahead_samples: int
    trigger: str
    hop_samples: int = 0

    @property
    def input_samples(self) -> int:
        """Length of the graph's input."""
        return self.context_samples + self.window_samples

    @property
    def anchor_index(self) -> int:
        """Index of the judged instant (the R peak, or the last sample) inside the graph's input."""
        return self.input_samples - 1 - self.lookahead_samples


@dataclass(frozen=True, kw_only=True)
class ValueSpec:
    """One number that a regression model gives.

    Attributes
    ----------
    name, units : str
        Such as ``heart_rate`` in ``bpm``.
    low, high : float
        Plausible range; a value outside is withheld.
    """

    name: str
    units: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """When a result is given rather than withheld.

    Attributes
    ----------
    min_quality : float
        Windows with a lower signal-quality index are not judged.
    min_probability : float
        Judgements with a lower probability of the best label are withheld; 0 for a model that gives values.
    """

    min_quality: float
    min_probability: float


@dataclass(frozen=True, kw_only=True)
class SlotSpec:
    """A graph input that takes one LoRA array (B, alpha folded in; A is a constant of the graph)."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class StepStream:
    """One stream of tokens in a step graph.

    Attributes
    ----------
    new_tokens : int
        Tokens of one step.
    past_tokens : int
        Places for earlier ones among the keys and values, a multiple of `new_tokens`.
    pooled_past : int
        Earlier tokens that the embedding is made of beside the new ones, a multiple of `new_tokens`; may be 0.
    token_s : float
        Seconds of one token.
    """

    new_tokens: int
    past_tokens: int
    pooled_past: int
    token_s: float


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """What a graph that goes on from step to step takes and gives beside the signals; docs/incremental.md has it all.

    Attributes
    ----------
    hops : int
        One step covers the samples of so many hops, of every sensor.
    streams : tuple of StepStream
        In the order of the sensors; a sensor may be several.
    layers, heads, head_dim : int
        Of the backbone's attention.
    reach_tokens : int
        A token attends to so many of the newest tokens of each stream.
    position_s : float
        Seconds of one step of the rotary positions.
    rotary_base : float
        Of their rates.
    layout : str
        How keys and values lie: ``columns`` (keys with tokens last, new ones apart) or, of one stream, ``rows`` (tokens
        in rows of both, new ones written behind the past ones).
    """

    hops: int
    streams: tuple[StepStream, ...]
    layers: int
    heads: int
    head_dim: int
    reach_tokens: int
    position_s: float
    rotary_base: float
    layout: str = COLUMNS

    @property
    def new_tokens(self) -> int:
        """Tokens of one step, of all streams."""
        return sum(stream.new_tokens for stream in self.streams)

    @property
    def past_tokens(self) -> int:
        """Places for earlier tokens, of all streams."""
        return sum(stream.past_tokens for stream in self.streams)

    @property
    def places(self) -> int:
        """Places of a step's keys and values in one array: past ones, and in rows the new ones after them."""
        return self.past_tokens + (self.new_tokens if self.layout == ROWS else 0)

    @property
    def pooled_past(self) -> int:
        """Earlier tokens that are pooled, of all streams."""
        return sum(stream.pooled_past for stream in self.streams)
