"""What the console and the page both say of a personalised recording: one sentence for each thing that was measured."""

from __future__ import annotations

from physioedge.report.personalised import TRIAL, Asked, Compared, Personal, Tried
from physioedge_runtime.adaptation.own_signal import LEVELLED, said_of


def levelled(personal: Personal) -> str:
    """What levelling did."""
    done = personal.levelled
    if done.step != LEVELLED:
        return f"no level was taken: {done.error}"
    at_s = personal.changes[1].at_s
    return (
        f"levelled after {at_s:g} s, from {done.windows} windows without labels, and nobody asked; added to the logits "
        f"from then on: {said_of(done.bias)}. The {len(personal.rest.truth)} {personal.part.noun} until a host is "
        "asked, without it and with it:"
    )


def agreement(compared: Compared, personal: Personal) -> str:
    """How often what served said what was annotated."""
    parts = []
    for who in compared.said:
        right, judged = compared.agreement(who)
        parts.append(f"{who} {right} of {judged}")
    return f"called as annotated, of {personal.part.noun} with a label: {'; '.join(parts)}"


def sent(asked: Asked, personal: Personal) -> str:
    """What left the device."""
    condition, (text, numbers) = asked.condition, asked.parts
    return (
        f"what leaves the device after {asked.at_s:g} s: a condition of {len(asked.sent)} bytes, and beside it "
        f"the device's name, a counter, a random number and its token. {text} of the bytes are text (the task and its "
        f"labels, sensors, digests, how many windows: {condition.windows}), {numbers} are {numbers // 2} numbers in "
        f"half precision: mean and deviation of {len(condition.mean)} features of kind {condition.kind!r}. Samples, "
        f"times and what was said of any of the {personal.part.noun} stay here; the signal itself would be "
        f"{asked.signal_bytes} bytes."
    )


def answered(asked: Asked) -> str:
    """What came back."""
    return (
        f"a host on this machine ({asked.url}, token and signing key made for this run) answered with a signed adapter "
        f"of {asked.answer_bytes} bytes in {asked.host_ms:.1f} ms"
    )


def swapped(tried: Tried) -> str:
    """How it got into use."""
    return (
        f"the adapter {tried.adapter_id}, made by {tried.generator}, was verified and staged in {tried.stage_ms:.1f} "
        f"ms, and swapped in between two windows in {tried.swap_ms:.1f} ms, with a note of it on disk"
    )


def heard(personal: Personal) -> str:
    """What was played."""
    sensors = ", ".join(f"{name} at {one.fs_hz:g} Hz" for name, one in personal.recordings.items())
    return f"{personal.recording.name}: {sensors}"


def looped(personal: Personal) -> list[str]:
    """Why a recording is heard more than once, where it is."""
    if personal.passes == 1:
        return []
    return [
        f"the bundle's change plan wants {personal.plan.min_windows} judged windows before a trial and as many in it, "
        f"more than {personal.pass_s:g} s hold. The plan stays as it is: the recording is played {personal.passes} "
        "times, end to end, so the adapter is tried on "
        f"{personal.part.noun} that its condition was made of"
    ]


def judged(tried: Tried) -> str:
    """How the trial ended."""
    if tried.ended is None:
        return f"trial from {tried.swap_s:g} s on: not over when it was rolled back"
    seen = tried.ended.verdict
    return (
        f"trial from {tried.swap_s:g} s on: {tried.ended.what} after {seen.windows_during} judged windows, beside "
        f"what a stream without it says of the same: {seen.reason}"
    )


def unlevelled(personal: Personal) -> list[str]:
    """Said where the adapter is tried without a level."""
    tried = [change for change in personal.changes if change.what == TRIAL]
    if not tried or tried[0].bias or not personal.levelled.bias:
        return []
    return ["a level belongs to the adapter it was taken under, so this one serves without; what it says:"]


def kept(tried: Tried) -> str:
    """Whether a window was lost."""
    return f"windows lost by swap, trial and rollback: {tried.lost} of {tried.windows}"


def back(tried: Tried, personal: Personal) -> str:
    """What serves in the end, and whether it is what served before."""
    now = personal.changes[-1]
    how = (
        "the guard had taken it away by itself"
        if tried.rollback_ms is None
        else f"rollback, forced after {now.at_s:g} s, took {tried.rollback_ms:.1f} ms"
    )
    level = ", with its level" if now.bias else ""
    return (
        f"{how}: results name {now.adapter_id!r} again{level}; {tried.back_alike} of {tried.back} are exactly those of "
        "a stream that never had the adapter"
    )


def skipped(personal: Personal) -> str:
    """Why no host was asked, or no adapter tried."""
    what = "no host was asked" if personal.asked is None else "no adapter was tried"
    return f"{what}: {personal.skipped}"


def took(personal: Personal) -> str:
    """How long all of it took."""
    return f"{personal.signal_s:g} s of signal, made personal, in {personal.wall_s:.1f} s"
