"""A diffusion transformer on disk: it comes back as it was, and what does not fit is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from physioedge.generator.adapter_set import AdapterSet, Origin
from physioedge.generator.dit.config import DitConfig, Sampling
from physioedge.generator.dit.fitting import fit_dit
from physioedge.generator.files import Generator, load_generator, save_generator
from physioedge.generator.regression import fit_krr
from physioedge_runtime.adaptation.condition import Condition
from physioedge_runtime.bundle.contract import SlotSpec
from physioedge_runtime.errors import ConditionError, PhysioEdgeError

SLOTS = (SlotSpec(name="a.B", shape=(2, 3)), SlotSpec(name="b.B", shape=(2, 4)))
ORIGIN = Origin(task="arrhythmia", backbone_digest="0" * 64, kind="embedding", source="0" * 64, slots=SLOTS)
CONFIG = DitConfig(width=8, blocks=1, heads=2, steps=5, batch=4, learning_rate=1e-2)


def rows():
    rng = np.random.default_rng(0)
    return AdapterSet(origin=ORIGIN, conditions=rng.normal(size=(6, 8)), adapters=rng.normal(size=(6, ORIGIN.width)),
                      person=np.array(list("aabbcc")), details={})  # fmt: skip


@pytest.fixture(scope="module")
def dit():
    fitted = fit_dit(rows(), CONFIG, seed=0, progress=False)
    return replace(fitted, sampling=Sampling(steps=3, samples=2, guidance=1.5))


@pytest.fixture
def path(dit, tmp_path):
    save_generator(tmp_path / "g.safetensors", Generator(origin=ORIGIN, weights=dit))
    return tmp_path / "g.safetensors"


def condition(features):
    return Condition(
        kind="embedding", source="0" * 64, task={"name": "arrhythmia"}, backbone="0" * 64, adapter="global",
        windows=100, mean=features[:4].astype(np.float32), deviation=np.abs(features[4:]).astype(np.float32),
    )  # fmt: skip


def test_it_comes_back_as_it_was_and_answers_conditions(dit, path):
    again = load_generator(path)
    assert (again.kind, again.task, again.origin) == ("dit", "arrhythmia", ORIGIN)
    assert again.weights.sampling == dit.sampling and replace(again.weights.config, sampling=CONFIG.sampling) == CONFIG
    asked = rows().conditions
    assert np.array_equal(again.weights(asked), dit(asked)) and np.array_equal(
        again.weights(asked, seed=3), dit(asked, seed=3)
    )
    arrays = again.generate([condition(row) for row in asked[:3]])
    assert [{n: a.shape for n, a in one.items()} for one in arrays] == [{"a.B": (2, 3), "b.B": (2, 4)}] * 3
    alone = again.generate([condition(asked[1])])[0]
    for name, array in alone.items():
        np.testing.assert_allclose(array, arrays[1][name], rtol=0, atol=1e-6)
    with pytest.raises(ConditionError, match="3 features"):
        again.generate([replace(condition(asked[0]), mean=asked[0, :3].astype(np.float32))])
    assert all(parameter.requires_grad for parameter in again.weights.network.parameters())
    again.weights.one_step(torch.zeros(1, 8), torch.ones(1, ORIGIN.width)).sum().backward()
    save_generator(path, again)
    assert np.array_equal(load_generator(path).weights(asked), dit(asked))


def rewritten(path, change):
    with safe_open(path, framework="numpy") as file:
        head = json.loads(file.metadata()["physioedge"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    change(head, arrays)
    save_file(arrays, path, metadata={"physioedge": json.dumps(head)})


def _set(name, value):
    return lambda head, arrays: arrays.update({name: value(arrays[name])})


@pytest.mark.parametrize(
    "change",
    [
        lambda head, arrays: arrays.pop("network.null"),
        lambda head, arrays: arrays.pop("spread"),
        lambda head, arrays: arrays.update(more=np.zeros(1, np.float32)),
        lambda head, arrays: head["config"].update(width=16),
        lambda head, arrays: head["config"].update(width=1 << 40),
        lambda head, arrays: head["config"].update(width="8"),
        lambda head, arrays: head["config"].update(blocks=2),
        lambda head, arrays: head["config"].update(surprise=1),
        lambda head, arrays: head["config"]["sampling"].update(steps=10**9),
        lambda head, arrays: head.pop("config"),
        lambda head, arrays: head.update(kind="krr"),
        lambda head, arrays: head["origin"]["slots"].pop(),
        _set("middle", lambda a: a[:-1]),
        _set("level", lambda a: a[None]),
        _set("network.tokens.into.2x3.weight", lambda a: np.ascontiguousarray(a.T)),
        _set("network.null", lambda a: a * np.nan),
        _set("network.null", lambda a: a.astype(np.float64)),
    ],
)
def test_what_does_not_fit_is_refused(change, path):
    rewritten(path, lambda head, arrays: None)
    load_generator(path)
    rewritten(path, change)
    with pytest.raises(PhysioEdgeError, match="a generator of this version"):
        load_generator(path)


def test_a_damaged_file_is_refused(path):
    whole = path.read_bytes()
    for data in (whole[:-4], whole[: len(whole) // 2], b"", b"no", b"\x00" + whole[1:]):
        path.write_bytes(data)
        with pytest.raises(PhysioEdgeError, match="a generator of this version"):
            load_generator(path)
    path.unlink()
    with pytest.raises(PhysioEdgeError, match="a generator of this version"):
        load_generator(path)


def test_closed_forms_of_the_wrong_shape_are_refused(path):
    save_generator(path, Generator(origin=ORIGIN, weights=fit_krr(rows())))
    load_generator(path)
    rewritten(path, _set("mix", lambda a: np.ascontiguousarray(a[:, :-1])))
    with pytest.raises(PhysioEdgeError, match="mix of"):
        load_generator(path)


def test_closed_forms_need_no_torch(path):
    save_generator(path, Generator(origin=ORIGIN, weights=fit_krr(rows())))
    code = "import sys; from pathlib import Path; from physioedge.generator.files import load_generator; " \
           "print(load_generator(Path(sys.argv[1])).kind, 'torch' in sys.modules)"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["krr", "False"]
