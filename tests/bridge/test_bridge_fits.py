"""Fits of the table belong to one labelled model: with another one they are forgotten, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from bridge_made_up import DIRECTION, write_all

from physioedge.bridge import directions
from physioedge.bridge.files import adapter_digest
from physioedge.bridge.labelled import folder_of
from physioedge.evaluation.bridge.fits import Place
from physioedge.evaluation.bridge.run import Finished, changed_models


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fits")
    write_all(folder)
    return folder


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(directions.DIRECTIONS, DIRECTION.name, DIRECTION)


def test_fits_to_a_model_that_has_changed_are_forgotten(work, tmp_path):
    place = Place(work=work, backbone=work / "backbone.safetensors", device="cpu", thin=1, scratch=tmp_path)
    own = adapter_digest(folder_of(DIRECTION, 0, work))
    done = Finished(tmp_path)
    done.add({"key": "other/frozen/0"}, {"x": np.zeros(2)})
    done.add({"key": f"{DIRECTION.name}/frozen/0", "labelled": own}, {})
    done.add({"key": f"{DIRECTION.name}/bridge/0/0"}, {"x": np.ones(2)})
    done.flush()
    assert changed_models(Finished(tmp_path), place, (DIRECTION.name,)) == []
    done.add({"key": f"{DIRECTION.name}/frozen/0", "labelled": "0" * 64}, {})
    again = Finished(tmp_path)
    assert changed_models(again, place, (DIRECTION.name,)) == [DIRECTION.name]
    assert changed_models(again, place, ()) == []
    again.without([DIRECTION.name])
    left = Finished(tmp_path)
    assert list(left.records) == ["other/frozen/0"] and list(left.arrays) == ["other/frozen/0:x"]


def test_activations_of_another_model_are_another_file(work, tmp_path):
    place = Place(work=work, backbone=work / "backbone.safetensors", device="cpu", thin=1, scratch=tmp_path)
    assert adapter_digest(folder_of(DIRECTION, 0, work))[:8] in place.activations(DIRECTION.name, 0).name
