"""Doors that take foreign bytes: the kept corpus, the known attacks, and that the fuzzing itself can find something."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra host")
pytest.importorskip("uvicorn", reason="needs the extra host")

from physioedge.faults import fuzz_child, fuzz_targets, fuzzing
from physioedge.faults.fuzz_attacks import attacks
from physioedge.faults.fuzz_child import Watch
from physioedge.faults.fuzz_mutation import Mutator
from physioedge.faults.fuzz_seeds import seeds
from physioedge.faults.fuzz_targets import ACCEPTED, DOORS, Door, door
from physioedge.faults.row import Setting
from physioedge_runtime.errors import FormatError

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", DOORS)
def test_the_kept_corpus_and_every_known_attack_are_judged_and_nothing_falls(name: str, tmp_path: Path) -> None:
    kept = {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}
    made = {f"bad-{key}": data for key, data in attacks(name).items()}
    fresh = {f"good-{key}": data for key, data in seeds(name).items()}
    with door(name) as found:
        _all_judged(found, kept, made, fresh, tmp_path)


def _all_judged(found: Door, kept: Any, made: Any, fresh: Any, folder: Path) -> None:
    for key, data in {**kept, **made, **fresh}.items():
        began_s = time.process_time()
        assert (found.read(data) == ACCEPTED) == key.startswith("good-"), key
        assert time.process_time() - began_s < fuzz_child.HANG_S, key
    watch = Watch(found, folder)
    for data in made.values():
        watch.weigh(data)
    assert watch.losses == 0, [path.read_text() for path in folder.glob("*.txt")]
    assert len(kept) > 5 and 0 < watch.most_bytes < found.memory_bytes


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < 300_000


def _falls(data: bytes) -> str:
    if data == b"crash":
        raise KeyError("a key")
    if data == b"hang":
        until_s = time.process_time() + 1.1
        while time.process_time() < until_s:
            pass
    if data == b"memory":
        bytearray(8 * 1024 * 1024)
    if data == b"refused":
        return fuzz_targets._judged(lambda: (_ for _ in ()).throw(FormatError("a", "b", "c")))
    return ACCEPTED


def test_what_falls_is_seen_and_kept(tmp_path: Path) -> None:
    watch = Watch(Door(name="condition", form="line", read=_falls), tmp_path)
    for data in (b"good", b"refused", b"crash", b"crash", b"hang"):
        watch(data)
    assert (watch.done, watch.losses, watch.accepted) == (5, 3, 2)
    assert watch.codes == {ACCEPTED, "bundle-format", "crash"} and watch.longest_us > 1e6
    watch.weigh(b"memory")
    kept = {path.read_bytes() for path in tmp_path.iterdir() if "-" in path.name and not path.suffix}
    assert kept == {b"crash", b"hang", b"memory"}
    found = fuzzing._read("condition", tmp_path)
    assert found.losses == {"crash": 1, "hang": 1, "memory": 1, "again": 1}
    assert any("KeyError in test_fuzzing.py, _falls" in note for note in found.notes)


_CHILD = """
import os, sys, time
from pathlib import Path
from physioedge.faults.fuzz_child import Watch
from physioedge.faults.fuzz_targets import Door
name, folder, inputs, seed, seconds, engine = sys.argv[1:]
def read(data):
    if data == b"stop" and HOW == "abort" and seed == "0": os.abort()
    if data == b"stop" and HOW == "sleep" and seed == "0": time.sleep(60)
    return "accepted"
watch = Watch(Door(name=name, form="line", read=read), Path(folder))
for data in (b"go", b"stop", b"go"): watch(data)
"""


@pytest.mark.parametrize(("how", "kind"), [("abort", "native"), ("sleep", "hang")])
def test_a_process_that_dies_or_stands_still_is_a_loss_and_the_rest_is_done(
    how: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "child.py"
    script.write_text(_CHILD.replace("HOW", repr(how)))
    monkeypatch.setattr(fuzzing, "CHILD", (str(script),))
    monkeypatch.setattr(fuzzing, "SILENT_S", 0.5)
    found = fuzzing.fuzz("condition", tmp_path / "work", 4, 0, 60.0, "own")
    assert found.losses == {kind: 1} and found.inputs == 1 + 3
    assert (tmp_path / "work" / "0" / kind).read_bytes() == b"stop"
    said = fuzzing.outcome({"condition": found}, "own")
    assert (said.holds, said.lost, said.tried) == (False, 1, 4) and any("c3RvcA==" in note for note in said.notes)


@pytest.mark.parametrize("name", DOORS)
def test_changed_inputs_reach_what_lies_behind_the_first_check(name: str) -> None:
    rng, known = random.Random(0), list(seeds(name).values())
    with door(name) as found:
        mutator = Mutator(found.form, known)
        codes = [found.read(mutator.fresh(rng)) for _ in range(150)]
    assert len(set(codes)) >= (2 if name == "condition" else 3), set(codes)
    assert sum(code != ACCEPTED for code in codes) / len(codes) > 0.4
    assert mutator.fresh(random.Random(1)) == mutator.fresh(random.Random(1)) != mutator.fresh(random.Random(2))


def test_a_short_run_of_the_row_holds(tmp_path: Path) -> None:
    found = fuzzing.trial(Setting(work=tmp_path, share=0.003))
    assert found.holds, found.notes
    assert found.tried >= 900 and all(found.figures[f"{name}_inputs"] >= 90 for name in DOORS)
    assert 0 < found.figures["longest_s"] < 1.0
    assert sys.modules.get("atheris") is None  # only ever in the child
