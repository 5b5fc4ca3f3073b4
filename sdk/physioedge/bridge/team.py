"""Several modules of one shape fitted at once, each on batches of its own: as fast as one on a large processor."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Team(nn.Module):
    """Members side by side; what is trained of them, and what else differs, has a leading axis of members.

    Their losses are added, so that no gradient of one reaches another. Frozen parameters are the first member's.

    Parameters
    ----------
    members : sequence of nn.Module
        Of one shape, in the mode they are used in.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.size = len(members)
        self._template = (members[0],)  # in a tuple: its parameters are not this module's
        trained = [dict(m.named_parameters()) for m in members]
        self._names = [name for name, p in trained[0].items() if p.requires_grad]
        self.stacked = nn.ParameterList(torch.stack([m[name].detach() for m in trained]) for name in self._names)
        buffers = [dict(m.named_buffers()) for m in members]
        self._own = {
            name: torch.stack([m[name] for m in buffers])
            for name, first in buffers[0].items()
            if not all(torch.equal(first, m[name]) for m in buffers[1:])
        }

    @property
    def parameters_each(self) -> int:
        """Trained numbers of one member."""
        return sum(p[0].numel() for p in self.stacked)

    def forward(self, *inputs: Tensor) -> Any:
        """Every member's outputs (member, batch, ...) of its own inputs (member, batch, ...)."""
        template = self._template[0]

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *x: Tensor) -> Any:
            return torch.func.functional_call(template, {**parameters, **buffers}, x)

        stacked = dict(zip(self._names, self.stacked, strict=True))
        return torch.vmap(one)(stacked, self._own, *inputs)

    def member(self, index: int) -> nn.Module:
        """A copy of one member as it is now."""
        out = copy.deepcopy(self._template[0])
        state = {name: p[index].detach() for name, p in zip(self._names, self.stacked, strict=True)}
        state |= {name: b[index] for name, b in self._own.items()}
        named: dict[str, Tensor] = {**dict(out.named_parameters()), **dict(out.named_buffers())}
        with torch.no_grad():
            for name, value in state.items():
                named[name].copy_(value)
        return out
