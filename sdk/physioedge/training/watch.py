"""Early stopping around the loop: a value looked at now and then, and the weights it was best with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from physioedge.training.loop import History, LoopConfig, Loss, fit


class _Over(Exception):
    """Nothing has become better for long."""


@dataclass(kw_only=True)
class Watch:
    """What is looked at beside the loop's own loss.

    Attributes
    ----------
    value : callable
        The lower, the better; of windows that nothing is fitted on.
    every : int
        Steps between two looks.
    patience : int
        So many looks without a better value end the run.
    steps, values : list
        What was seen.
    """

    value: Callable[[], float]
    every: int
    patience: int
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    _best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_step(self) -> int:
        """Step after which the value was best; 0 before the first look."""
        return self.steps[self.values.index(min(self.values))] if self.values else 0

    def look(self, step: int, module: nn.Module) -> bool:
        """Look after `step` steps, if it is time to; whether the run is over.

        A value that is not finite is never the best. A look that was taken before the run was cut off counts.
        """
        if step % self.every or step == 0:
            return False
        if step not in self.steps:
            found = self.value()
            found = found if math.isfinite(found) else math.inf
            if not self.values or found < min(self.values):
                self._best = {k: p.detach().clone() for k, p in module.named_parameters() if p.requires_grad}
            self.steps.append(step)
            self.values.append(found)
        seen = self.values[: self.steps.index(step) + 1]
        return len(seen) - 1 - seen.index(min(seen)) >= self.patience

    def restore(self, module: nn.Module) -> None:
        """Give the module the weights it was best with."""
        with torch.no_grad():
            own = dict(module.named_parameters())
            for name, value in self._best.items():
                own[name].copy_(value)

    def save(self, path: Path) -> None:
        """Write what was seen beside a checkpoint."""
        part = path.with_suffix(".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"steps": self.steps, "values": self.values, "best": self._best}, part)
        part.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from what `save` wrote; nothing where there is no such file."""
        if not path.exists():
            return
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.steps, self.values, self._best = list(state["steps"]), list(state["values"]), dict(state["best"])


def fit_watched(
    module: nn.Module,
    loss_of_step: Callable[[int], Loss],
    config: LoopConfig,
    watch: Watch,
    *,
    checkpoint: Path | None = None,
    label: str = "",
    progress: bool = True,
) -> History | None:
    """`physioedge.training.loop.fit` until `watch` says that it is enough; the module keeps its best weights.

    Returns
    -------
    History or None
        None where it ended early: then `watch` has what is to be known.
    """
    seen = None if checkpoint is None else checkpoint.with_suffix(".watch")
    if seen is not None:
        watch.resume(seen)

    def looked(step: int) -> Loss:
        known = len(watch.steps)
        over = watch.look(step, module)
        if seen is not None and len(watch.steps) > known:
            watch.save(seen)
        if over:
            raise _Over
        return loss_of_step(step)

    history: History | None = None
    try:
        history = fit(module, looked, config, checkpoint=checkpoint, label=label, progress=progress)
        watch.look(config.steps, module)
    except _Over:
        pass
    watch.restore(module)
    return history
