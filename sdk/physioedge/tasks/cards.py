"""What a task's model card says: what is judged, what the answers mean, and where they must not be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from physioedge.tasks.windowed import of_plugin
from physioedge_runtime.errors import ContractError


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """Words for people.

    Attributes
    ----------
    judges : str
        One sentence: what is judged, from what.
    answers : mapping of str to str
        Label or value to its meaning.
    limits : tuple of str
        One sentence each.
    """

    judges: str
    answers: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()


CARDS: Mapping[str, TaskCard] = {
    "arrhythmia": TaskCard(
        judges="Judges every heart beat of a single-lead ECG: normal, supraventricular or ventricular.",
        answers={
            "N": "normal beats (AAMI N)",
            "S": "supraventricular ectopic beats",
            "V": "ventricular ectopic beats",
        },
        limits=("Lead MLII of adults; fusion and paced beats are not among its classes.",),
    ),
    "af": TaskCard(
        judges="Judges the rhythm of 6.4 s of a single-lead ECG.",
        answers={"N": "normal rhythm", "A": "atrial fibrillation", "O": "another rhythm", "~": "too noisy to tell"},
        limits=(
            "Fitted on recordings of half a minute or so: a record's windows were averaged into one answer, and a "
            "single window knows less.",
            "Nobody published whose recordings are whose, so figures may be of people it has seen.",
        ),
    ),
    "heart_rate": TaskCard(
        judges="Estimates the heart rate of the last 8 s from the PPG and the accelerometer of a wrist, also "
        "while running.",
        answers={"heart_rate": "heart rate, from the chest ECG in fitting"},
        limits=("Fitted on eleven people on a treadmill, whose heart rates lay between 66 and 177 bpm.",),
    ),
    "stress": TaskCard(
        judges="Tells rest from a stress task by PPG, movement, skin conductance and skin temperature of a wrist.",
        answers={"rest": "at rest", "stress": "in one of the laboratory's stress tasks"},
        limits=(
            "Everybody fitted on did the same tasks in the same order in a laboratory: what slow signals tell of time "
            "may be taken for stress.",
        ),
    ),
    "sleep_rr": TaskCard(
        judges="Tells wake, NREM and REM of the last 30 s from five minutes of intervals between heart beats.",
        answers={"wake": "awake", "NREM": "sleep of stages 1 to 4", "REM": "REM sleep"},
        limits=("Fitted on sixteen men, most of them with sleep apnoea.",),
    ),
    "ppg_rhythm": TaskCard(
        judges="Judges the rhythm of ten seconds of fingertip PPG.",
        answers={
            "SR": "sinus rhythm",
            "PVC": "premature ventricular contraction",
            "PAC": "premature atrial contraction",
            "VT": "ventricular tachycardia",
            "SVT": "supraventricular tachycardia",
            "AF": "atrial fibrillation",
        },
        limits=("Fitted on windows that had no past and were scaled one by one: a pulse's height tells it nothing.",),
    ),
    "fog": TaskCard(
        judges="Tells whether a person's gait is frozen, from accelerometers at ankle, thigh and trunk over 4 s.",
        answers={"no freeze": "walking, standing or turning", "freeze": "a freeze in at least half of the window"},
        limits=("Fitted on four people with Parkinson's disease; sensors must sit where theirs did, axes as theirs.",),
    ),
    "blood_pressure": TaskCard(
        judges="Estimates blood pressure at rest from 8 s of wrist PPG.",
        answers={"sbp": "systolic pressure", "dbp": "diastolic pressure"},
        limits=(
            "Eleven people of normal pressure, lying still: it has seen no high and no low pressure and will not find "
            "one.",
            "Compare it with the person's own mean, which is hard to beat; take the median over a session.",
        ),
    ),
    "sleep": TaskCard(
        judges="Tells the sleep stage of every 30 s from one EEG channel.",
        answers={"W": "awake", "N1": "N1", "N2": "N2", "N3": "N3, with stage 4", "REM": "REM sleep"},
        limits=("Fitted on Fpz-Cz alone; samples come in units of 100 uV.",),
    ),
}
"""By task."""


def card_of(task: str) -> TaskCard:
    """The words of a task; of another package's, its ``CARD``, or what its ``TASK`` says.

    Raises
    ------
    ContractError
        There are none.
    """
    if task not in CARDS and (plain := of_plugin(task, "TASK")) is not None:
        said = f"Judges {plain.window_s:g} s of {', '.join(plain.sensors)}: {', '.join(plain.labels) or plain.units}."
        own: TaskCard = of_plugin(task, "CARD", TaskCard(judges=said, limits=(plain.protocol,)))
        return own
    if task not in CARDS:
        raise ContractError(f"task {task!r}", f"one of {', '.join(CARDS)}", "Choose one of those.")
    return CARDS[task]
