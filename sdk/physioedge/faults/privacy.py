"""R14: what a condition tells of a person, by attacks on real people; and what is asked of the network: nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import physioedge_runtime
from physioedge.datasets.registry import folder
from physioedge.evaluation.privacy.measuring import Asked, measured
from physioedge.evaluation.privacy.people import PARTS, RECORDS, reader
from physioedge.faults import no_socket
from physioedge.faults.row import Outcome, Row, Setting
from physioedge.generator.files import load_generator
from physioedge.models import shipped
from physioedge.results import Row as Figure
from physioedge.tasks.arrhythmia import NAME
from physioedge_runtime import Bundle
from physioedge_runtime.adaptation.condition import ConditionSpec
from physioedge_runtime.bundle.signing import make_keys
from physioedge_runtime.errors import MissingExtra

ROW = Row(
    id="R14",
    what="people recognised, their mean beat rebuilt and their membership told from conditions, without noise and with "
    "it; adapting locally and levelling under the interpreter's own watch on sockets",
    target="a beat is rebuilt no better than by everybody's mean beat; no socket is opened",
    known="a condition is there to say how a person differs from others, and how their mean beat differs is a part of "
    "it: whoever has other people's conditions and signals rebuilds some of its shape. Noise that hides it leaves "
    "nothing to adapt to, so none is offered as a protection; the default is to send nothing, and levelling, which "
    "helps more than a generated adapter, needs no host. docs/security.md has the figures",
)
KNOWN_NOISE = {"embedding": 100.0, "shapelets": 30.0, "adapter": 0.0}
"""Conditions that are known to tell, and the largest noise multiplier under which they still may."""
MOST_TOLD = 0.4
"""Error of a rebuilt beat, over that of everybody's mean, below which it would be rebuilt better than is known."""
LEAST_PEOPLE = 12
"""Fewer teach an attacker nothing, and what he fails at says nothing."""
_EXCERPT = Path(physioedge_runtime.__file__).parent / "assets" / "excerpt.npz"
_TIMES = 3
_COMMAND = "physioedge.cli.main"


def trial(setting: Setting) -> Outcome:
    """Both halves; the first needs MIT-BIH.

    Raises
    ------
    MissingExtra
        The recordings are not here.
    """
    if folder("mitbih") is None:
        raise MissingExtra("no MIT-BIH", "its recordings", "See `physioedge datasets`.")
    opened, said = _local(setting.work)
    figures = _attacked(max(LEAST_PEOPLE, setting.tries(len(RECORDS))))
    leaks = [f for f in figures if f.metric in ("rebuilt", "rebuilt_shape") and tells(f)]
    worse = [f"{f.arm}, {f.metric}: {f.value:.2f}" for f in leaks if not is_known(f)]
    return Outcome(
        tried=len(said) + sum(f.metric.startswith("rebuilt") for f in figures),
        lost=len(leaks) + len(opened),
        holds=not leaks and not opened,
        figures={f"{f.arm}_{f.metric}".replace(":", "_"): f.value for f in figures if "noise" not in f.arm},
        notes=(
            *said, *opened,
            *(f"{f.arm}, {f.metric}: error {f.value:.2f} of that of everybody's mean beat [{f.low:.2f}, {f.high:.2f}]"
              for f in leaks),
        ),
        worse=(*opened, *worse),
    )  # fmt: skip


def tells(figure: Figure) -> bool:
    """Whether a beat was rebuilt better than by everybody's mean beat, beyond what chance explains."""
    return figure.high is not None and figure.high < 1


def is_known(figure: Figure) -> bool:
    """Whether this much is known to be told: by these conditions, under so little noise, and no better."""
    source, _, noise = figure.arm.partition("_noise_")
    known = source in KNOWN_NOISE and float(noise or 0.0) <= KNOWN_NOISE[source]
    return known and figure.high is not None and figure.high >= MOST_TOLD


def _attacked(people: int) -> list[Figure]:
    bundle = Bundle.open(shipped.BUNDLE)
    read = reader(bundle, None)
    records = [RECORDS[i] for i in np.linspace(0, len(RECORDS) - 1, people).round().astype(int)]
    told = {record: {part: read(record, part) for part in PARTS} for record in records}
    specs = ConditionSpec.all_of(bundle)
    asked = Asked(told=told, specs=specs, generator=load_generator(shipped.generator_of(NAME)))
    return measured(asked, repeats=1)


def _local(work: Path) -> tuple[list[str], list[str]]:
    """Sockets that were opened, and what was run: adapting from a generator in the process, and levelling."""
    make_keys(work / "keys")
    with np.load(_EXCERPT, allow_pickle=False) as file:
        long = {name: file[name] for name in ("fs_hz", "units", "channels")}
        np.savez(work / "long.npz", samples=np.tile(file["samples"], _TIMES), **long)
    runs = {
        "adapt --local": ["--local", "shipped", "--key", str(work / "keys" / "private.pem"), "--seconds", "90"],
        "adapt --level": ["--level", "--seconds", "90"],
    }
    opened, said = [], []
    if no_socket.asked_for([no_socket.PROBE])[1] != ["socket.__new__"]:
        opened.append("the watch on sockets sees none where one is opened")
    for name, words in runs.items():
        store = str(work / name.rpartition("-")[2])
        code, events = no_socket.asked_for([
            _COMMAND, "adapt", str(work / "long.npz"), "--bundle", str(shipped.BUNDLE), "--store", store, "--resample",
            "polyphase", "--chunk-s", "2", *words,
        ])  # fmt: skip
        said.append(f"{name}: {len(events)} sockets")
        if code or events:
            opened.append(f"{name}: exit code {code}, {', '.join(events) or 'no socket'}")
    return opened, said
