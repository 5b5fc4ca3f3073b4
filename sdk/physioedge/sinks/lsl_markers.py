"""Results as a stream of markers in the Lab Streaming Layer: ``lsl:NAME``."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from physioedge.signals.foreign import needed
from physioedge.sinks.rows import as_dict
from physioedge_runtime import Result
from physioedge_runtime.bundle.contract import Contract

TYPE = "Markers"


class LslMarkers:
    """One text a result: its JSON, as `physioedge.sinks.rows.as_dict` has it.

    A marker bears the time of the judged instant where results come from an LSL stream, whose clock theirs then is, and
    else the time of writing.

    Parameters
    ----------
    name : str
        Of the stream.
    contract : Contract
    on_lsl_clock : bool
        Whether results count time by LSL's clock.

    Raises
    ------
    MissingExtra
        pylsl or liblsl is not here.
    """

    def __init__(self, name: str, contract: Contract, *, on_lsl_clock: bool) -> None:
        self._lsl: Any = needed("pylsl", "lsl", "Lab Streaming Layer")
        self._name, self._contract, self._on_lsl_clock = name, contract, on_lsl_clock
        self._values = [value.name for value in contract.values]

    def __enter__(self) -> Self:
        lsl = self._lsl
        info = lsl.StreamInfo(
            self._name, TYPE, 1, lsl.IRREGULAR_RATE, lsl.cf_string, f"physioedge-{self._contract.task}-{self._name}"
        )
        info.desc().append_child_value("task", self._contract.task)
        info.desc().append_child_value("answers", ",".join(self._contract.labels or self._values))
        self._outlet = lsl.StreamOutlet(info)
        return self

    def write(self, result: Result) -> None:
        """Push one marker; without a listener it is gone, as LSL has it."""
        text = json.dumps(as_dict(result, self._contract.labels, self._values), allow_nan=False)
        self._outlet.push_sample([text], result.t_anchor_s if self._on_lsl_clock else self._lsl.local_clock())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._outlet
