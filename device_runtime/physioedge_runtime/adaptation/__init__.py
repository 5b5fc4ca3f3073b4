"""A person's own adapter: conditions, the host's answer, the store, trial and guard, a bias from the own signal.

Names are loaded when first used: a stream without an adapter needs neither the network's modules nor the disk's.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physioedge_runtime.adaptation.adapter import AdapterFile, Target
    from physioedge_runtime.adaptation.adapting import Adaptation, TrialEnd
    from physioedge_runtime.adaptation.change_plan import ChangePlan
    from physioedge_runtime.adaptation.condition import Condition, ConditionSpec, noised
    from physioedge_runtime.adaptation.link import Link, Retry
    from physioedge_runtime.adaptation.outbox import Outbox, read_request
    from physioedge_runtime.adaptation.own_signal import Levelled
    from physioedge_runtime.adaptation.session import Outcome, adapt_once, give_up, install, request_for
    from physioedge_runtime.adaptation.store import AdapterStore

__all__ = [
    "Adaptation",
    "AdapterFile",
    "AdapterStore",
    "ChangePlan",
    "Condition",
    "ConditionSpec",
    "Levelled",
    "Link",
    "Outbox",
    "Outcome",
    "Retry",
    "Target",
    "TrialEnd",
    "adapt_once",
    "give_up",
    "install",
    "noised",
    "read_request",
    "request_for",
]

_HOMES = {
    "Adaptation": "adapting",
    "AdapterFile": "adapter",
    "AdapterStore": "store",
    "ChangePlan": "change_plan",
    "Condition": "condition",
    "ConditionSpec": "condition",
    "Levelled": "own_signal",
    "Link": "link",
    "Outbox": "outbox",
    "Outcome": "session",
    "Retry": "link",
    "Target": "adapter",
    "TrialEnd": "adapting",
    "adapt_once": "session",
    "give_up": "session",
    "install": "session",
    "noised": "condition",
    "read_request": "outbox",
    "request_for": "session",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
