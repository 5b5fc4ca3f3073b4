"""R1: the power goes at every side effect of the adapter store, and again while it recovers."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from physioedge.faults.row import Outcome, Row, Setting
from physioedge.faults.store_model import Model, do, fault_of, left_of_person, opened, seen
from physioedge.faults.unreliable_disk import PowerCut, UnreliableDisk
from physioedge_runtime.adaptation.store import AdapterStore

ROW = Row(
    id="R1",
    what="power cut at every write, sync, rename and removal of the adapter store; torn, lost and reordered writes; "
    "10,000 random cuts, several in one history, also of the recovery",
    target="always the old or the new adapter, whole; the counter never goes back",
)
STORY = """
    stage trial confirm centre stage trial revert stage trial confirm pin unpin centre stage revert
    stage trial confirm rollback rollback rollback stage trial confirm centre stage forget stage trial confirm
"""
"""Every action of the store, and every state that it can be in when one is cut."""
CUTS, STEPS, REMAINS = 10_000, 30, 80

Files = dict[str, bytes]


@dataclass
class Tally:
    """What was tried, and what was lost."""

    tried: int = 0
    losses: list[str] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)
    restarts_cut: int = 0

    def note(self, fault: str, where: str) -> None:
        """One more try, and its fault, if there was one."""
        self.tried += 1
        if fault:
            self.losses.append(f"{where}: {fault}")


def trial(setting: Setting) -> Outcome:
    """Tell the story with a cut after every side effect, then random histories."""
    tally = Tally()
    tell(UnreliableDisk(), tally, random.Random(setting.seed), remains=setting.tries(REMAINS))
    every_place = tally.tried
    walks, wanted = 0, setting.tries(CUTS)
    while tally.tried < every_place + wanted:
        walk(random.Random(f"{setting.seed}/{walks}"), STEPS, tally, f"history {walks} of seed {setting.seed}")
        walks += 1
    places = ", ".join(f"{kind} {count}" for kind, count in sorted(tally.places.items()))
    notes = (
        f"Side effects cut one by one, by kind: {places}; different remains of them judged: {every_place}.",
        f"Random cuts: {tally.tried - every_place} in {walks} histories of {STEPS} actions, "
        f"{tally.restarts_cut} of them while the store recovered from the cut before.",
        *tally.losses[:5],
    )
    figures = {"remains": float(every_place), "random_cuts": float(tally.tried - every_place)}
    return Outcome(
        tried=tally.tried, lost=len(tally.losses), holds=not tally.losses, figures=figures, notes=notes
    )  # fmt: skip


def tell(disk: UnreliableDisk, tally: Tally, rng: random.Random, *, remains: int = REMAINS) -> None:
    """The story on a disk, with a cut after every side effect and all that it may leave, or `remains` of it.

    Ends with the first action after which something was lost.
    """
    model, store, left = Model(), opened(disk), list[Files]()

    def cut() -> None:
        tally.places[disk.effects[-1].split()[0]] += 1
        left.extend(disk.survivors(remains, rng))

    disk.after_each = cut
    for number, action in enumerate(STORY.split()):
        left.clear()
        do(store, model, action)
        before, model = model, model.after(action)
        for files in {tuple(sorted(files.items())): files for files in left}.values():
            tally.note(judged(files, [before, model]), f"step {number}, {action}")
        for files in disk.survivors(remains, rng):  # what has come back from a call is there to stay
            tally.note(judged(files, [model]), f"after step {number}, {action}")
        if seen(store) != model.seen:
            tally.note(f"the store shows {seen(store)}", f"step {number}, {action}")
        if tally.losses:  # what may be left of a disk that nobody syncs grows without end
            break
    disk.after_each = lambda: None


def judged(files: Files, allowed: list[Model]) -> str:
    """Why what is left is none of the allowed states after a restart; empty where it is."""
    disk = UnreliableDisk.holding(files)
    store, fault = _reopened(disk)
    if store is None:
        return fault
    after = [model.restarted() for model in allowed]
    if seen(store) not in [model.seen for model in after]:
        return f"the store shows {seen(store)}"
    if store.serving is not store.current:
        return "what was tried still serves"
    if not store.history and left_of_person(disk.files):
        return "forgotten, and something is left"
    return fault_of(disk.files, after)


def walk(rng: random.Random, steps: int, tally: Tally, name: str) -> None:
    """Random actions on one disk, cut at random, restarts cut as well; ends at the first loss."""
    disk, model = UnreliableDisk(), Model()
    store = opened(disk)
    for step in range(steps):
        action = rng.choice(list(model.actions()))
        disk.cut_in = rng.choice((0, rng.randint(1, 10)))
        try:
            do(store, model, action)
            model = model.after(action)
        except PowerCut:
            where = f"{name}, step {step}, {action}"
            disk, restarted, fault = _through_cuts(disk, rng, tally)
            after = [state.restarted() for state in (model, model.after(action))]
            fits = [] if restarted is None else [state for state in after if state.seen == seen(restarted)]
            fault = fault or ("" if fits else "neither the old nor the new state") or fault_of(disk.files, after)
            tally.note(fault, where)
            if fault or restarted is None:
                return
            store, model = restarted, fits[-1]
        if seen(store) != model.seen:
            tally.note(f"the store shows {seen(store)}", f"{name}, step {step}, {action}")
            return


def _through_cuts(
    disk: UnreliableDisk, rng: random.Random, tally: Tally
) -> tuple[UnreliableDisk, AdapterStore | None, str]:
    """Restart on what a cut left, as often as the restart is cut itself."""
    while True:
        disk = UnreliableDisk.holding(next(iter(disk.survivors(1, rng))))
        disk.cut_in = rng.choice((0, 0, rng.randint(1, 6)))
        try:
            store, fault = _reopened(disk)
        except PowerCut:
            tally.restarts_cut += 1
            tally.note("", "")  # what it left is judged after the restart that is not cut
            continue
        disk.cut_in = 0
        return disk, store, fault


def _reopened(disk: UnreliableDisk) -> tuple[AdapterStore | None, str]:
    """The store on what is left, or why there is none."""
    try:
        return opened(disk), ""
    except Exception as error:  # noqa: BLE001 - whatever it is, the device has no adapter now
        return None, f"the store did not open: {type(error).__name__}: {error}"
