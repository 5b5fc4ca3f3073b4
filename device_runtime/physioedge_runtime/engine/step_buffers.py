"""Inputs and outputs of a step graph beside the signals, and the bookkeeping between one step and the next.

Keys and values of earlier tokens lie in rings: each step's new ones are written over the oldest, in place. Attention
does not care for the order of keys, so nothing is moved; a mask says which places count for which token. Positions are
angles that only ever grow; they are worked out in float64 here, because float32 inside a graph would lose them within
a day.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.specs import StepSpec

COS, SIN, MASK = "position.cos", "position.sin", "past.mask"
PAST_TOKENS, NEW_TOKENS = "past.tokens", "new.tokens"
HIDDEN = np.float32(-1e4)
"""Added to the score of a place that does not count."""
Floats = NDArray[np.float32]


def step_inputs(spec: StepSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs between the signals and the slots, in order."""
    n, past = spec.new_tokens, spec.past_tokens
    shapes: dict[str, tuple[int, ...]] = {COS: (1, n, spec.head_dim), SIN: (1, n, spec.head_dim), MASK: (1, n, past)}
    for layer in range(spec.layers):
        shapes[f"past.k.{layer}"] = (spec.heads, spec.head_dim, past)
        shapes[f"past.v.{layer}"] = (spec.heads, past, spec.head_dim)
    if spec.pooled_past:
        shapes[PAST_TOKENS] = (1, spec.pooled_past, spec.heads * spec.head_dim)
    return shapes


def step_outputs(spec: StepSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the outputs after the embedding, in order."""
    n = spec.new_tokens
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(spec.layers):
        shapes[f"new.k.{layer}"] = (spec.heads, spec.head_dim, n)
        shapes[f"new.v.{layer}"] = (spec.heads, n, spec.head_dim)
    if spec.pooled_past:
        shapes[NEW_TOKENS] = (1, n, spec.heads * spec.head_dim)
    return shapes


class StepBuffers:
    """The arrays that a step graph reads and writes.

    Attributes
    ----------
    inputs, outputs : dict of str to float32
        Of `step_inputs` and `step_outputs`; the layers' keys and values are parts of one array each.
    """

    def __init__(self, spec: StepSpec) -> None:
        self.spec = spec
        ins, outs = step_inputs(spec), step_outputs(spec)
        layers, first = spec.layers, {"k": "past.k.0", "v": "past.v.0"}
        self._past = {kind: np.zeros((layers, *ins[name]), np.float32) for kind, name in first.items()}
        self._new = {kind: np.zeros((layers, *outs[f"new.{kind}.0"]), np.float32) for kind in first}
        self.inputs = {name: np.zeros(shape, np.float32) for name, shape in ins.items() if not name.startswith("past.")}
        self.inputs[MASK] = np.full(ins[MASK], HIDDEN)
        self.outputs: dict[str, Floats] = {}
        for layer in range(layers):
            for kind in first:
                self.inputs[f"past.{kind}.{layer}"] = self._past[kind][layer]
                self.outputs[f"new.{kind}.{layer}"] = self._new[kind][layer]
        if spec.pooled_past:
            self.inputs[PAST_TOKENS] = np.zeros(ins[PAST_TOKENS], np.float32)
            self.outputs[NEW_TOKENS] = np.zeros(outs[NEW_TOKENS], np.float32)
        self._masks: dict[tuple[int, ...], Floats] = {}

    @property
    def _remembered(self) -> dict[str, Floats]:
        tokens = {"tokens": self.inputs[PAST_TOKENS]} if PAST_TOKENS in self.inputs else {}
        return self._past | tokens

    def clear(self) -> None:
        """As before the first step."""
        for array in self._remembered.values():
            array[...] = 0.0

    def save(self) -> dict[str, Floats]:
        """Copies of all that is remembered."""
        return {name: array.copy() for name, array in self._remembered.items()}

    def load(self, kept: dict[str, Any]) -> None:
        """Inverse of `save`."""
        for name, target in self._remembered.items():
            target[...] = kept[name]

    def check(self, kept: dict[str, Any]) -> None:
        """ValueError or KeyError unless it is what `save` gives, and finite."""
        for name, target in self._remembered.items():
            if kept[name].shape != target.shape or not np.isfinite(kept[name]).all():
                raise ValueError(f"{name} of shape {kept[name].shape}, or not finite")

    def before(self, steps: int) -> None:
        """Fill positions and mask for the step after so many."""
        half = self.spec.head_dim // 2
        angles = (self._offsets + steps * self._step_position)[:, None] * self._rates
        for name, function in ((COS, np.cos), (SIN, np.sin)):
            found = function(angles)
            self.inputs[name][0, :, :half] = found
            self.inputs[name][0, :, half:] = found
        self.inputs[MASK][...] = self._mask(steps)

    def after(self, steps: int) -> None:
        """Write what the step after so many gave over the oldest of what is remembered."""
        place = pooled = new = 0
        for stream in self.spec.streams:
            n = stream.new_tokens
            at = place + steps * n % stream.past_tokens
            self._past["k"][..., at : at + n] = self._new["k"][..., new : new + n]
            self._past["v"][:, :, at : at + n] = self._new["v"][:, :, new : new + n]
            if stream.pooled_past:
                at = pooled + steps * n % stream.pooled_past
                self.inputs[PAST_TOKENS][:, at : at + n] = self.outputs[NEW_TOKENS][:, new : new + n]
            place, pooled, new = place + stream.past_tokens, pooled + stream.pooled_past, new + n

    def _mask(self, steps: int) -> Floats:
        """(new token, past token): 0 where a token may look, `HIDDEN` elsewhere."""
        streams = self.spec.streams
        filled = tuple(min(steps * s.new_tokens, s.past_tokens) for s in streams)
        phase = (*(steps * s.new_tokens % s.past_tokens for s in streams), *filled)
        if phase not in self._masks:
            if len(self._masks) >= _MASKS:
                self._masks.clear()
            parts = []
            for index, s in enumerate(streams):
                place = steps * s.new_tokens % s.past_tokens
                age = (place - 1 - np.arange(s.past_tokens)) % s.past_tokens + 1  # 1 for the newest
                reached = age[None] + self._ended[:, index, None] <= self.spec.reach_tokens
                parts.append(np.where(reached & (age[None] <= filled[index]), np.float32(0.0), HIDDEN))
            self._masks[phase] = np.concatenate(parts, axis=1, dtype=np.float32)
        return self._masks[phase]

    @cached_property
    def _ends_s(self) -> NDArray[np.float64]:
        """When each new token ends, from the beginning of its step."""
        return np.concatenate([(np.arange(s.new_tokens) + 1) * s.token_s for s in self.spec.streams])

    @cached_property
    def _ended(self) -> NDArray[np.int64]:
        """(new token, stream): new tokens of the stream that have ended when the token does."""
        counts = [np.floor(self._ends_s / s.token_s + 1e-6) for s in self.spec.streams]
        return np.stack(counts, axis=1).astype(np.int64)

    @cached_property
    def _offsets(self) -> NDArray[np.float64]:
        return self._ends_s / self.spec.position_s

    @cached_property
    def _step_position(self) -> float:
        first = self.spec.streams[0]
        return first.new_tokens * first.token_s / self.spec.position_s

    @cached_property
    def _rates(self) -> NDArray[np.float64]:
        """Source: Su et al., RoFormer (arXiv 2104.09864), section 3.2.2."""
        return np.asarray(self.spec.rotary_base ** (-np.arange(0, self.spec.head_dim, 2) / self.spec.head_dim))


_MASKS = 256
"""Masks kept: they come again every few steps."""
