"""The training loop: steps, schedule, resumable checkpoints, progress. It knows nothing about what is learned."""

from __future__ import annotations

import math
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from physioedge.training.team import Team
from physioedge_runtime.errors import PhysioEdgeError


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how fast.

    Attributes
    ----------
    steps : int
        Optimiser steps.
    learning_rate : float
        Peak; linear warm-up over ``warmup_share`` of the steps, then half a cosine to zero.
    weight_decay : float
        AdamW's, on matrices only.
    clip_norm : float
        Largest gradient norm.
    save_every_s : float
        Seconds between checkpoints.
    """

    steps: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup_share: float = 0.05
    clip_norm: float = 1.0
    save_every_s: float = 60.0


@dataclass
class History:
    """Loss by step, as it went."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)


Loss = Tensor | tuple[Tensor, dict[str, float]]
"""What a step gives: the loss, and beside it what its parts came to, by name."""


_WHOLE = ""


def learning_rate_at(step: int, config: LoopConfig) -> float:
    """Rate of step `step`: warm-up, then half a cosine."""
    warmup = max(1, round(config.steps * config.warmup_share))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def fit(
    module: nn.Module,
    loss_of_step: Callable[[int], Loss],
    config: LoopConfig,
    *,
    checkpoint: Path | None = None,
    label: str = "",
    progress: bool = True,
    team: Team | None = None,
) -> History:
    """Fit the trainable parameters of `module` in place.

    Parameters
    ----------
    module : nn.Module
        Its parameters with ``requires_grad`` are trained.
    loss_of_step : callable
        Step number to scalar loss, with or without the values of its parts. Everything random in it must follow from
        the step number alone, so that a resumed run equals an unbroken one.
    config : LoopConfig
    checkpoint : Path, optional
        File to resume from and to save to.
    label : str
        Name shown in the progress line; a checkpoint belongs to the run of this label and `config`.
    progress : bool
        Show one line a second on stderr, with the time left.
    team : Team, optional
        Processes that fit together: `loss_of_step` gives the loss of this one's share, through a module that the team
        has prepared. Its first one alone writes the checkpoint, and all go on from it. None: this process alone.

    Returns
    -------
    History
        Mean loss over every hundredth of the run.

    Raises
    ------
    PhysioEdgeError
        The checkpoint is another run's, or damaged.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate)
    history, first = History(), 0
    recent: list[dict[str, float]] = []
    run = {"label": label, **asdict(config)}
    if checkpoint is not None and checkpoint.exists():
        first, recent = _resume(checkpoint, run, module, optimiser, history)
    leads = team is None or team.leads
    meter = _Meter(label, first, config.steps, enabled=progress and leads)
    saved = time.monotonic()
    for step in range(first, config.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(step, config)
        made = loss_of_step(step)
        loss, parts = made if isinstance(made, tuple) else (made, {})
        optimiser.zero_grad(set_to_none=True)
        value = _descend(loss, parameters, config.clip_norm, team)
        optimiser.step()
        recent.append({_WHOLE: value, **parts})
        if (step + 1) % max(1, config.steps // 100) == 0:
            _note(history, step + 1, recent)
            recent = []
        meter.show(step + 1, value)
        if checkpoint is not None and leads and time.monotonic() - saved > config.save_every_s:
            _save(checkpoint, run, step + 1, module, optimiser, history, recent)
            saved = time.monotonic()
    if checkpoint is not None and leads:
        _save(checkpoint, run, config.steps, module, optimiser, history, recent)
    if team is not None:
        team.wait()
    meter.close()
    return history


def _descend(loss: Tensor, parameters: list[nn.Parameter], clip_norm: float, team: Team | None) -> float:
    """Gradients of a loss, bounded; gives the loss, over all of a team."""
    if team is None:
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        return loss.item()
    team.backward(loss)
    team.clip(parameters, clip_norm)
    return team.mean(loss)


def _note(history: History, step: int, recent: list[dict[str, float]]) -> None:
    """Means since the last note."""
    history.step.append(step)
    history.loss.append(sum(one[_WHOLE] for one in recent) / len(recent))
    for name in recent[0].keys() - {_WHOLE}:
        history.parts.setdefault(name, []).append(sum(one[name] for one in recent) / len(recent))


def _save(
    path: Path,
    run: dict[str, Any],
    step: int,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    history: History,
    recent: list[dict[str, float]],
) -> None:
    state: dict[str, Any] = {
        "run": run,
        "step": step,
        "trained": {k: p for k, p in module.named_parameters() if p.requires_grad},
        "buffers": dict(module.named_buffers()),  # a batch norm's running mean and variance
        "optimiser": optimiser.state_dict(),
        "history": asdict(history),
        "recent": recent,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    temporary.replace(path)


def _resume(
    path: Path, run: dict[str, Any], module: nn.Module, optimiser: torch.optim.Optimizer, history: History
) -> tuple[int, list[dict[str, float]]]:
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("cut off")
        state = torch.load(path, weights_only=True, map_location="cpu")
        found = state["run"]
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise PhysioEdgeError(
            f"checkpoint {path.name} ({type(error).__name__})", "one that this loop wrote", "Remove it to start anew."
        ) from error
    if found != run:
        different = sorted(key for key in run if found.get(key) != run[key])
        raise PhysioEdgeError(
            f"checkpoint {path.name} of a run with another {', '.join(different)}",
            "the same run's",
            "Name another folder, or remove it to start anew.",
        )
    trained = dict(module.named_parameters())
    with torch.no_grad():
        for name, value in state["trained"].items():
            trained[name].copy_(value)
        buffers = dict(module.named_buffers())
        for name, value in state.get("buffers", {}).items():
            buffers[name].copy_(value)
    optimiser.load_state_dict(state["optimiser"])
    history.step, history.loss = list(state["history"]["step"]), list(state["history"]["loss"])
    history.parts = dict(state["history"]["parts"])
    return int(state["step"]), list(state["recent"])


class _Meter:
    """One progress line on stderr with the time left."""

    def __init__(self, label: str, first: int, steps: int, *, enabled: bool) -> None:
        self.label, self.first, self.steps, self.enabled = label, first, steps, enabled
        self.started = self.shown = time.monotonic()
        self.interactive = sys.stderr.isatty()

    def show(self, step: int, loss: float) -> None:
        now = time.monotonic()
        if not self.enabled or now - self.shown < (1.0 if self.interactive else 30.0):
            return
        self.shown = now
        left_s = (now - self.started) / (step - self.first) * (self.steps - step)
        line = f"{self.label} step {step}/{self.steps} loss {loss:.4f} {left_s / 60:.1f} min left"
        sys.stderr.write(f"\r{line}   " if self.interactive else line + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self.enabled and self.interactive:
            sys.stderr.write("\n")
