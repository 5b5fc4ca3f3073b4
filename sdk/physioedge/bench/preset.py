"""What is measured: a bundle with the weights it was made from, or a preset with random weights.

Speed does not depend on what the weights are, so `paper`, of which no trained weights are shipped, is timed with random
ones. They pass through the same exporter; its gates on labels are left aside, because random labels mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physioedge.bench.arms import BARE, OURS, RIVALS, STEPPED, TITLES, Arm, bundle_arms, group_of
from physioedge.bench.measured import LeftOut
from physioedge.bench.own_weights import own_network
from physioedge.bench.rivals import absent_reason, rival_arms
from physioedge.bench.windows import real_windows
from physioedge.bench.work import Work
from physioedge_runtime.__main__ import SHIPPED_BUNDLE
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.errors import ExportError, MissingExtra

if TYPE_CHECKING:
    from physioedge.models.network import Network
    from physioedge_runtime.bundle.contract import Contract

PAPER, HOPS = "paper", "hops"
_CHEAP = ("ours_fp32", "ours_et_fp32")
"""Arms whose graphs are made for the comparison where a bundle lacks them; the others take minutes."""
Array = NDArray[np.float32]
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model with everything to compare it with.

    Attributes
    ----------
    bundle : Bundle
    group : str
        ``tiny``, ``paper`` or the bundle's name.
    weights : str
        What the weights are.
    arms : list of Arm
        Ours first.
    left_out : list of LeftOut
    windows : float32 (window, channel, sample)
    source : str
        Where the windows come from.
    work : Work or None
        What a window costs; None where the weights are not known.
    """

    bundle: Bundle
    group: str
    weights: str
    arms: list[Arm]
    left_out: list[LeftOut] = field(default_factory=list)
    windows: Array
    source: str
    work: Work | None = None


def subject_of(
    bundle: Bundle, record: Path, *, trust: str | None, weights: Path | None, work: Path, progress: Progress
) -> Subject:
    """A bundle, its own graphs, and rivals made from its own weights.

    Parameters
    ----------
    bundle : Bundle
    record : Path
        Recording whose beats are the windows.
    trust : str or None
        Public key file the bundle was opened with.
    weights : Path or None
        Folder of backbones and adapters, among which the bundle's own are found; None for the shipped ones.
    work : Path
        Folder for what is made on the way; a later run uses it again.
    progress : callable
        Takes a line of text for people.
    """
    windows, source = real_windows(bundle, record)
    arms, left_out = bundle_arms(bundle, trust), []
    cost = None
    progress("looking for the weights")
    found, reason = None, absent_reason()
    if reason is None:
        try:
            from physioedge.models import shipped  # not in the pack for boards, which times bundles alone

            found = own_network(bundle, weights or shipped.folder())
        except MissingExtra as error:
            reason = str(error)
    if found is None:
        where = weights or "the package"
        reason = reason or f"no weights of this bundle in {where}: name their folder with --weights"
        left_out += [LeftOut(name, reason) for name in RIVALS]
    else:
        from physioedge.bench.making import folder_for, write_network

        folder = folder_for(work, group_of(bundle), bundle.digest)
        network, cost = write_network(found, bundle.contract, folder)
        lacking = [name for name in _CHEAP if name not in {arm.name for arm in arms}]
        _, made, gone = _made_arms(found, bundle.contract, windows, lacking, folder, progress)
        arms, left_out = arms + made, left_out + gone
        rivals, gone = rival_arms(network, windows, folder, progress)
        arms, left_out = [*arms, *rivals], [*left_out, *gone]
    arms += _bare(bundle, work)
    return Subject(bundle=bundle, group=group_of(bundle), weights="the bundle's own", arms=_in_order(arms),
                   left_out=left_out, windows=windows, source=source, work=cost)  # fmt: skip


def paper_subject(record: Path, *, work: Path, progress: Progress) -> Subject:
    """The `paper` preset with random weights, exported here; minutes the first time.

    Parameters
    ----------
    record : Path
        Recording whose beats are the windows.
    work : Path
        Folder for what is made; a later run uses it again.
    progress : callable
        Takes a line of text for people.

    Raises
    ------
    MissingExtra
        The exporter is not installed.
    ExportError
        No graph could be made.
    """
    reason = absent_reason()
    if reason is not None:
        raise MissingExtra(reason.partition(":")[0], "the exporter, for presets", "pip install 'physioedge[export]'")
    from physioedge.bench.making import folder_for, write_network
    from physioedge.bench.network import SEED, random_network
    from physioedge.models.checkpoint import state_digest
    from physioedge.models.config import PRESETS
    from physioedge.tasks.arrhythmia import LABELS, LAYOUT, contract_for

    config = PRESETS[PAPER]
    made = random_network(config, LAYOUT, len(LABELS))
    digest = state_digest(config, dict(made.state_dict()))
    folder = folder_for(work, PAPER, digest)
    contract = contract_for(digest, config)
    # the presets share one window, so the shipped bundle can cut it
    windows, source = real_windows(Bundle.open(SHIPPED_BUNDLE), record)
    network, cost = write_network(made, contract, folder)
    bundles, arms, left_out = _made_arms(made, contract, windows, list(OURS), folder, progress)
    if not bundles:
        raise ExportError("no graph of the preset", "at least one", "; ".join(gone.reason for gone in left_out)[:300])
    rivals, gone = rival_arms(network, windows, folder, progress)
    arms = [*arms, *_bare(bundles[0], folder), *rivals]
    return Subject(bundle=bundles[0], group=PAPER, weights=f"random, as training begins, seed {SEED}",
                   arms=_in_order(arms), left_out=[*left_out, *gone], windows=windows, source=source,
                   work=cost)  # fmt: skip


def hops_subject(record: Path, *, work: Path, progress: Progress) -> Subject:
    """The `tiny` preset with random weights on windows of 10 s, one each second; minutes the first time.

    Parameters, errors : as `paper_subject`.
    """
    reason = absent_reason()
    if reason is not None:
        raise MissingExtra(reason.partition(":")[0], "the exporter, for presets", "pip install 'physioedge[export]'")
    from physioedge.bench.hops import hop_network, hop_windows
    from physioedge.bench.making import folder_for, write_network
    from physioedge.bench.network import SEED
    from physioedge.models.checkpoint import state_digest

    made, contract = hop_network()
    folder = folder_for(work, HOPS, state_digest(made.backbone.config, dict(made.state_dict())))
    windows, source = hop_windows(contract, record)
    network, cost = write_network(made, contract, folder)
    wanted = [*(name for name in OURS if "fp32" not in name and "static" not in name), *STEPPED]
    bundles, arms, left_out = _made_arms(made, contract, windows, wanted, folder, progress)
    if not bundles:
        raise ExportError("no graph of the preset", "at least one", "; ".join(gone.reason for gone in left_out)[:300])
    rivals, gone = rival_arms(network, windows, folder, progress)
    return Subject(bundle=bundles[0], group=HOPS, weights=f"random, as training begins, seed {SEED}",
                   arms=_in_order([*arms, *rivals]), left_out=[*left_out, *gone], windows=windows, source=source,
                   work=cost)  # fmt: skip


def _made_arms(
    network: Network, contract: Contract, windows: Array, names: list[str], folder: Path, progress: Progress
) -> tuple[list[Bundle], list[Arm], list[LeftOut]]:
    """A bundle for each arm, as a device would get it: what else a bundle holds shows in memory and load time."""
    from physioedge.bench.making import comparison_bundle

    bundles, arms, left_out = [], [], []
    for name in names:
        bundle, key, gone = comparison_bundle(network, contract, windows, [name], folder / name, progress)
        left_out += gone
        if bundle is not None:
            bundles.append(bundle)
            arms += bundle_arms(bundle, key, made=True)
    return bundles, arms, left_out


def _bare(bundle: Bundle, folder: Path) -> list[Arm]:
    """Plain onnxruntime on the very graph of `ours_int8`."""
    form = OURS["ours_int8"]
    entry = next((g for g in bundle.manifest.graphs if g.variant == form), None)
    if entry is None:
        return []
    target = folder / f"{BARE}.onnx"
    target.write_bytes(bundle.read(entry.file))
    return [Arm(name=BARE, kind="onnx", path=str(target))]


def _in_order(arms: list[Arm]) -> list[Arm]:
    order = list(TITLES)
    return sorted(arms, key=lambda arm: order.index(arm.name))
