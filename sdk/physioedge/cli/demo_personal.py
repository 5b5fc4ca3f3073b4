"""The personal part of ``physioedge demo``: levelled with nobody asked, a host's adapter on trial, and back again."""

from __future__ import annotations

import secrets
import textwrap
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from physioedge.cli.console import table
from physioedge.cli.progress import Progress
from physioedge_runtime.errors import MissingExtra, PhysioEdgeError

if TYPE_CHECKING:
    from physioedge.cli.demo_course import Course
    from physioedge.cli.demo_life import Life, Twin
    from physioedge.report.personalised import Asked, Compared, Personal, Tried
    from physioedge_runtime.adaptation.link import Link
    from physioedge_runtime.adaptation.own_signal import Levelled

DEVICE = "demo"
_WIDTH = 100


def personalise(course: Course) -> Personal:
    """Play a course through its bundle, and make the bundle the person's.

    The store lies in a temporary folder, the host on this machine; keys and token are made for this run, and nothing is
    left of them.
    """
    from physioedge.cli.demo_life import Life
    from physioedge_runtime.adaptation.adapter import Target
    from physioedge_runtime.adaptation.store import AdapterStore
    from physioedge_runtime.bundle.signing import public_key
    from physioedge_runtime.engine import load_engine

    began, bundle = time.perf_counter(), course.bundle
    engine = load_engine(bundle, engine="auto", adapters="slots", fallback=True)
    generator, skipped = _generator(bundle.contract.task)
    key, target = secrets.token_bytes(32), Target.of(bundle, device=DEVICE)
    with (
        TemporaryDirectory(prefix="physioedge-demo-") as folder,
        AdapterStore.open(Path(folder) / "adapters", target=target, trust=public_key(key)) as store,
        Progress("making it personal", course.ask_after_s if generator is None else course.whole_s) as progress,
    ):
        life = Life(course, engine, store, progress.at)
        levelled, plain = _level(life)
        asked, tried = None, None
        if generator is not None:
            try:
                asked, answer, link = _ask(life, generator, key)
                tried = _try(life, answer, link, plain)
            except PhysioEdgeError as error:  # such as a machine that forbids to listen: the demo goes on
                skipped = f"[{error.code}] {error}"
        life.ends()
        return _told(life, levelled, plain, asked, tried, skipped, time.perf_counter() - began)


def _generator(task: str) -> tuple[Path | None, str]:
    from physioedge.cli.demo_host import generator_here

    try:
        return generator_here(task), ""
    except MissingExtra as error:
        return None, f"{error.came}. {error.do}"


def _level(life: Life) -> tuple[Levelled, Twin]:
    """A level, taken on the way to the moment to ask; and a twin that goes on without it."""
    from physioedge.report.personalised import LEVELLED
    from physioedge_runtime.adaptation.own_signal import LEVELLED as DONE

    life.lives(life.course.level_after_s)
    plain = life.twin()
    levelled = life.adaptation.level()
    if levelled.step == DONE:
        life.changed(LEVELLED)
    life.lives(life.course.ask_after_s)
    return levelled, plain


def _ask(life: Life, generator: Path, key: bytes) -> tuple[Asked, bytes, Link]:
    """Send the condition to a host that lives no longer than that."""
    from physioedge.cli.demo_host import PATIENCE_S, hosting
    from physioedge.report.personalised import Asked
    from physioedge_runtime.adaptation.condition import Condition
    from physioedge_runtime.adaptation.link import Link, Retry
    from physioedge_runtime.adaptation.session import request_for

    token = secrets.token_hex(32)
    request = request_for(life.stream, life.adaptation.store, DEVICE)
    with hosting(generator, device=DEVICE, token=token, key=key) as url:
        link = Link(url, DEVICE, token, timeout_s=PATIENCE_S, retry=Retry(tries=2, first_s=0.1))
        began = time.perf_counter()
        answer = link.send(request)
        host_ms = 1e3 * (time.perf_counter() - began)
    asked = Asked(
        condition=Condition.from_bytes(request.condition), sent=request.condition, url=url, answer_bytes=len(answer),
        host_ms=host_ms, at_s=life.at_s, signal_bytes=life.course.heard_bytes(life.at_s),
    )  # fmt: skip
    return asked, answer, link


def _try(life: Life, answer: bytes, link: Link, plain: Twin) -> Tried:
    """Stage, swap, trial beside a twin, and a rollback that nobody needed; then the rest of the signal.

    Raises
    ------
    PhysioEdgeError
        The adapter was refused, or there was too little signal.
    """
    from physioedge.report.personalised import TRIAL, Tried
    from physioedge_runtime.adaptation.session import TRYING

    adaptation, course = life.adaptation, life.course
    began = time.perf_counter()
    candidate = adaptation.store.stage(answer)
    stage_ms = 1e3 * (time.perf_counter() - began)
    while not adaptation.guard.ready and life.lives_on():
        pass
    same = life.beside = life.twin()
    began = time.perf_counter()
    outcome = adaptation.adapt(link)  # of a staged adapter: it is tried, and nobody asked again
    swap_ms, swap_s = 1e3 * (time.perf_counter() - began), life.at_s
    if outcome.step != TRYING:
        raise outcome.error or PhysioEdgeError(str(outcome), "a trial", "Tell the makers.")
    life.changed(TRIAL)
    ended = life.lives(course.rollback_after_s)
    if ended is not None:
        life.changed(ended.what)
        life.lives(course.rollback_after_s)
    rollback_ms = _roll_back(life)
    away = next(c.index for c in life.changes if c.index >= same.index and c.adapter_id != candidate.manifest.id)
    life.lives(course.whole_s)
    life.ends()
    under = life.results[same.index : away]
    return Tried(
        adapter_id=candidate.manifest.id,
        generator=str(candidate.manifest.provenance.get("generator", "")),
        stage_ms=stage_ms,
        swap_ms=swap_ms,
        swap_s=swap_s,
        ended=ended,
        rollback_ms=rollback_ms,
        compared=life.compared(candidate.manifest.id, under, {"global": plain, "global, levelled": same}),
        lost=life.apart_from(same),
        windows=len(same.results),
        back_alike=life.alike(same, away),
        back=len(life.results) - away,
    )


def _roll_back(life: Life) -> float | None:
    """Force it, on trial or confirmed; how long it took, None where the guard had reverted the adapter by itself."""
    from physioedge.report.personalised import ROLLED_BACK

    store = life.adaptation.store
    if store.serving is None:
        return None
    began = time.perf_counter()
    store.rollback("forced by the demo")
    life.adaptation.step([])  # the stream follows its store, before the next window
    taken_ms = 1e3 * (time.perf_counter() - began)
    life.changed(ROLLED_BACK)
    return taken_ms


def _told(
    life: Life, levelled: Levelled, plain: Twin, asked: Asked | None, tried: Tried | None, skipped: str, wall_s: float
) -> Personal:
    from physioedge.report.personalised import Personal

    course = life.course
    asked_s = next(iter(course.recordings.values())).t0_s + course.ask_after_s
    rest = [r for r in life.results[plain.index :] if r.t_anchor_s < asked_s]
    return Personal(
        part=course.part,
        recordings=course.recordings,
        passes=course.passes,
        plan=life.adaptation.guard.plan,
        results=tuple(life.results),
        truth=course.truth(life.results),
        changes=tuple(life.changes),
        levelled=levelled,
        rest=life.compared("levelled", rest, {"global": plain}),
        asked=asked,
        tried=tried,
        skipped=skipped,
        signal_s=life.at_s,
        wall_s=wall_s,
    )


def lines(personal: Personal) -> list[str]:
    """What is printed for people."""
    from physioedge.report import personal_words as words

    asked, tried = personal.asked, personal.tried
    out = ["", personal.part.opening, words.levelled(personal), *_table(personal.rest, personal)]
    if asked is not None:
        out += ["", words.sent(asked, personal), words.answered(asked)]
    if tried is not None:
        out += [words.swapped(tried), *words.looped(personal), words.judged(tried), *words.unlevelled(personal)]
        out += _table(tried.compared, personal)
        out += ["", words.kept(tried), words.back(tried, personal), personal.part.worth]
    if personal.skipped:
        out += ["", words.skipped(personal)]
    out = [*out, words.took(personal)]
    return [line if "\n" in line else _filled(line) for line in out]


def _filled(line: str) -> str:
    return textwrap.fill(line[:1].upper() + line[1:], _WIDTH, break_on_hyphens=False)


def _table(compared: Compared, personal: Personal) -> list[str]:
    from physioedge.report import personal_words as words

    rows = [(truth, who, *counts) for truth, who, counts in compared.rows()]
    return [table(("annotated", "served by", *compared.columns()), rows), words.agreement(compared, personal)]


def summary(personal: Personal) -> dict[str, Any]:
    """Plain values of the run."""
    levelled = personal.levelled
    return {
        "record": personal.recording.name,
        "passes": personal.passes,
        "windows": len(personal.results),
        "timeline": [vars(stretch) for stretch in personal.stretches()],
        "levelling": {
            "step": levelled.step,
            "how": levelled.how,
            "windows": levelled.windows,
            "bias": dict(levelled.bias),
            "rest": _compared(personal.rest),
        },
        "condition": None if personal.asked is None else _asked(personal.asked),
        "adapter": None if personal.tried is None else _tried(personal.tried),
        "skipped": personal.skipped or None,
        "wall_s": personal.wall_s,
    }


def _compared(compared: Compared) -> dict[str, Any]:
    rows: dict[str, dict[str, dict[str, int]]] = {}
    for truth, who, counts in compared.rows():
        rows.setdefault(truth, {})[who] = dict(zip(compared.columns(), counts, strict=True))
    agreement = {
        who: dict(zip(("called_as_annotated", "judged_of_known_class"), compared.agreement(who), strict=True))
        for who in compared.said
    }
    by_label = {who: compared.counts(who) for who in compared.said}
    return {"windows": len(compared.truth), "counts": by_label, "by_annotation": rows, "agreement": agreement}


def _asked(asked: Asked) -> dict[str, Any]:
    text_bytes, number_bytes = asked.parts
    return {
        "bytes": len(asked.sent),
        "text_bytes": text_bytes,
        "number_bytes": number_bytes,
        "kind": asked.condition.kind,
        "numbers": len(asked.condition.mean) + len(asked.condition.deviation),
        "windows": asked.condition.windows,
        "after_s": asked.at_s,
        "signal_bytes": asked.signal_bytes,
        "answer_bytes": asked.answer_bytes,
        "host_ms": asked.host_ms,
    }


def _tried(tried: Tried) -> dict[str, Any]:
    ended = tried.ended
    return {
        "id": tried.adapter_id,
        "generator": tried.generator,
        "stage_ms": tried.stage_ms,
        "swap_ms": tried.swap_ms,
        "swap_s": tried.swap_s,
        "trial": None if ended is None else {"ended": ended.what, "reason": ended.verdict.reason},
        "rollback_ms": tried.rollback_ms,
        "under_it": _compared(tried.compared),
        "windows_lost": tried.lost,
        "windows_since_swap": tried.windows,
        "after_rollback": tried.back,
        "after_rollback_as_without_it": tried.back_alike,
    }
