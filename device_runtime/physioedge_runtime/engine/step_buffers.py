"""Inputs and outputs of a step graph beside the signals, and the bookkeeping between one step and the next.

Keys and values of earlier tokens lie in rings: each step's new ones are written over the oldest, in place. Attention
does not care for the order of keys, so nothing is moved; a mask says which places count for which token. Positions are
angles that only ever grow; they are worked out in float64 here, because float32 inside a graph would lose them within
a day.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioedge_runtime.bundle.specs import ROWS, StepSpec

COS, SIN, MASK = "position.cos", "position.sin", "past.mask"
PAST_TOKENS, NEW_TOKENS = "past.tokens", "new.tokens"
HIDDEN = np.float32(-1e4)
"""Added to the score of a place that does not count."""
Floats = NDArray[np.float32]


def step_inputs(spec: StepSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs between the signals and the slots, in order."""
    n, places, rows = spec.new_tokens, spec.places, spec.layout == ROWS
    turn = (places, spec.head_dim // 2) if rows else (1, n, spec.head_dim)
    shapes: dict[str, tuple[int, ...]] = {COS: turn, SIN: turn, MASK: (1, 1, n, places) if rows else (1, n, places)}
    for layer in range(spec.layers):
        values = (spec.heads, places, spec.head_dim)
        shapes[f"past.k.{layer}"] = (1, *values) if rows else (spec.heads, spec.head_dim, places)
        shapes[f"past.v.{layer}"] = (1, *values) if rows else values
    if spec.pooled_past:
        shapes[PAST_TOKENS] = (1, spec.pooled_past, spec.heads * spec.head_dim)
    return shapes


def step_outputs(spec: StepSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the outputs after the embedding, in order."""
    n, ins = spec.new_tokens, step_inputs(spec)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(spec.layers):
        in_rows = spec.layout == ROWS
        shapes[f"new.k.{layer}"] = ins[f"past.k.{layer}"] if in_rows else (spec.heads, spec.head_dim, n)
        shapes[f"new.v.{layer}"] = ins[f"past.v.{layer}"] if in_rows else (spec.heads, n, spec.head_dim)
    if spec.pooled_past:
        shapes[NEW_TOKENS] = (1, n, spec.heads * spec.head_dim)
    return shapes


class StepBuffers:
    """The arrays that a step graph reads and writes.

    Attributes
    ----------
    inputs, outputs : dict of str to float32
        Of `step_inputs` and `step_outputs`; the layers' keys and values are parts of one array each. In rows, the
        outputs are the inputs' own memory: a graph writes the new rows alone.
    """

    def __init__(self, spec: StepSpec) -> None:
        self.spec = spec
        ins, outs = step_inputs(spec), step_outputs(spec)
        self._turns = np.zeros((2, *ins[COS]), np.float32)
        self.inputs: dict[str, Floats] = {COS: self._turns[0], SIN: self._turns[1], MASK: np.full(ins[MASK], HIDDEN)}
        self.outputs: dict[str, Floats] = {}
        self._new: dict[str, Floats]
        if spec.layout == ROWS:  # one array: what is new of all layers moves at once
            self._rows = np.zeros((2, spec.layers, *ins["past.k.0"]), np.float32)
            self._remembered = self._new = dict(zip("kv", self._rows, strict=True))
            # the rows of one step as one item: copied as bytes, in a third of the time
            item = np.dtype((np.void, 4 * spec.new_tokens * spec.head_dim))
            self._items = self._rows.reshape(-1, ins["past.k.0"][2] * spec.head_dim).view(item)
        else:
            self._remembered = {kind: np.zeros((spec.layers, *ins[f"past.{kind}.0"]), np.float32) for kind in "kv"}
            self._new = {kind: np.zeros((spec.layers, *outs[f"new.{kind}.0"]), np.float32) for kind in "kv"}
        for layer in range(spec.layers):
            for kind in "kv":
                self.inputs[f"past.{kind}.{layer}"] = self._remembered[kind][layer]
                self.outputs[f"new.{kind}.{layer}"] = self._new[kind][layer]
        if spec.pooled_past:
            self.inputs[PAST_TOKENS] = np.zeros(ins[PAST_TOKENS], np.float32)
            self._remembered = {**self._remembered, "tokens": self.inputs[PAST_TOKENS]}
            self.outputs[NEW_TOKENS] = np.zeros(outs[NEW_TOKENS], np.float32)
        n, half = spec.new_tokens, spec.head_dim // 2
        if spec.layout == ROWS:  # new tokens see themselves and those before them, as far as they reach
            mask = self.inputs[MASK][0, 0]
            seen = np.tri(n, dtype=bool) & ~np.tri(n, k=-spec.reach_tokens, dtype=bool)
            mask[:, spec.past_tokens :] = np.where(seen, np.float32(0), HIDDEN)
            self._past_mask, self._turned = mask[:, : spec.past_tokens], [self._turns[:, :n]]
        else:
            self._past_mask = self.inputs[MASK][0]
            self._turned = [self._turns[:, 0, :, :half], self._turns[:, 0, :, half:]]
        self._masks: dict[int, Floats] = {}
        self._table = np.zeros((_TABLE, 2, n, half), np.float32)
        self._table_from = -1

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
        row = steps % _TABLE
        if steps - row != self._table_from:
            self._fill_table(steps - row)
        for target in self._turned:
            target[...] = self._table[row]
        self._past_mask[...] = self._mask(steps)

    def after(self, steps: int) -> None:
        """Write what the step after so many gave over the oldest of what is remembered."""
        if self.spec.layout == ROWS:
            stream = self.spec.streams[0]
            n, end = stream.new_tokens, stream.past_tokens
            self._items[:, steps % (end // n)] = self._items[:, -1]
            if stream.pooled_past:
                at = steps * n % stream.pooled_past
                self.inputs[PAST_TOKENS][:, at : at + n] = self.outputs[NEW_TOKENS]
            return
        place = pooled = new = 0
        for stream in self.spec.streams:
            n = stream.new_tokens
            at = place + steps * n % stream.past_tokens
            self._remembered["k"][..., at : at + n] = self._new["k"][..., new : new + n]
            self._remembered["v"][:, :, at : at + n] = self._new["v"][:, :, new : new + n]
            if stream.pooled_past:
                at = pooled + steps * n % stream.pooled_past
                self.inputs[PAST_TOKENS][:, at : at + n] = self.outputs[NEW_TOKENS][:, new : new + n]
            place, pooled, new = place + stream.past_tokens, pooled + stream.pooled_past, new + n

    def _fill_table(self, first: int) -> None:
        """Cosines and sines of the new tokens of `_TABLE` steps: one after the other they cost more than the rings."""
        times = self._offsets + (first + np.arange(_TABLE))[:, None] * self._step_position
        angles = times[..., None] * self._rates
        self._table[:, 0], self._table[:, 1] = np.cos(angles), np.sin(angles)
        self._table_from = first

    def _mask(self, steps: int) -> Floats:
        """(new token, past token): 0 where a token may look, `HIDDEN` elsewhere."""
        filled = self._filled_after
        key = steps if steps < filled else filled + (steps - filled) % self._period
        if key not in self._masks:
            if len(self._masks) >= _MASKS:
                self._masks.clear()
            parts = []
            for index, s in enumerate(self.spec.streams):
                place = key * s.new_tokens % s.past_tokens
                age = (place - 1 - np.arange(s.past_tokens)) % s.past_tokens + 1  # 1 for the newest
                reached = age[None] + self._ended[:, index, None] <= self.spec.reach_tokens
                there = age[None] <= min(key * s.new_tokens, s.past_tokens)
                parts.append(np.where(reached & there, np.float32(0.0), HIDDEN))
            self._masks[key] = np.concatenate(parts, axis=1, dtype=np.float32)
        return self._masks[key]

    @cached_property
    def _filled_after(self) -> int:
        """Steps until every place for past tokens is taken; a whole number of periods, so that phases agree."""
        most = max(s.past_tokens // s.new_tokens for s in self.spec.streams)
        return math.ceil(most / self._period) * self._period

    @cached_property
    def _period(self) -> int:
        """Steps until the rings of all streams are where they were."""
        return math.lcm(*(s.past_tokens // s.new_tokens for s in self.spec.streams))

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
_TABLE = 16
"""Steps whose positions are worked out at once."""
