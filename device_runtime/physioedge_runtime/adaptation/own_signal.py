"""What a bundle offers for a bias from the person's own signal, and what became of taking one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from physioedge_runtime.adaptation import centring, levelling
from physioedge_runtime.adaptation.centring import Centre, Centring
from physioedge_runtime.adaptation.levelling import Levelling, Levels
from physioedge_runtime.adaptation.store import AdapterStore
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.contract import Contract
from physioedge_runtime.errors import AdapterError, PhysioEdgeError

OwnSignal = Levelling | Centring
LEVELLED, UNLEVELLED = "levelled", "unlevelled"


@dataclass(frozen=True, kw_only=True)
class Levelled:
    """What became of taking a bias from the person's own signal, or of taking it away.

    Attributes
    ----------
    step : str
        ``levelled``: a new bias serves and is kept. ``unlevelled``: none does. ``waiting``: too few windows so far.
        ``refused``: not here, or not now. After the last two all is as before.
    how : str
        ``levelling`` or ``centring``; empty where the bundle offers neither.
    windows : int
        Windows under what serves that a bias was, or would be, taken from.
    bias : mapping of str to float
        What is added to each label's logit or each value from now on, beside the adapter's own; empty for none.
    adapter_id : str
        What results name: a bias changes no name.
    error : PhysioEdgeError, optional
        Why it was not done.
    """

    step: str
    how: str = ""
    windows: int = 0
    bias: Mapping[str, float] = field(default_factory=dict)
    adapter_id: str
    error: PhysioEdgeError | None = None

    def __str__(self) -> str:
        why = f" [{self.error.code}] {self.error}" if self.error else ""
        return f"{self.step}, {self.windows} windows: {said_of(self.bias)}" + why


def own_signal(bundle: Bundle) -> OwnSignal | None:
    """Levelling where a bundle of labels has its file, else centring where it has that one, else None.

    Raises
    ------
    FormatError
        The file is malformed.
    """
    held = bundle.manifest.files
    if bundle.contract.labels and levelling.FILE in held:
        return Levelling(Levels.of(bundle))
    return Centring(Centre.of(bundle)) if centring.FILE in held else None


def named_bias(store: AdapterStore) -> dict[str, float]:
    """The bias kept for what serves, by label or value; empty for none."""
    contract, bias = store.target.contract, store.centring
    names = contract.labels or tuple(value.name for value in contract.values)
    return {} if bias is None else dict(zip(names, bias.tolist(), strict=True))


def said_of(bias: Mapping[str, float]) -> str:
    """A bias by label or value, in words."""
    return ", ".join(f"{name} {number:+.3f}" for name, number in bias.items()) or "no bias"


def nothing_to_level(contract: Contract) -> AdapterError:
    """Why a bundle that offers neither cannot be levelled."""
    expected = f"a bundle with {levelling.FILE} or {centring.FILE}, handed to Adaptation.of"
    if contract.values:
        came, do = f"a bias for {len(contract.values)} values of a bundle that offers none", "Leave it out."
    else:
        came, do = "a bias for a bundle that offers none", "Export the bundle again, or leave it out."
    return AdapterError(came, expected, do)
