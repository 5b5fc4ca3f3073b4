"""What generators practise on: whose windows, which of them, and that they are what the network would read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from physioedge.adapters.sets.people import Worn
from physioedge.adapters.sets.practice import Keeping, kept_of, practice_of, read_kept, write_kept
from physioedge_runtime.errors import DatasetError
from tiny_person import base_of, slotted, windows_of

KEEPING = Keeping(calibration=12, of_class=5, stretch_s=(20.0, 30.0))


def worn(n=120, every_s=1.0, seed=1):
    target = np.arange(n) % 3
    target[::7] = -1
    return Worn(signals=windows_of(np.maximum(target, 0), seed), target=target, time_s=np.arange(n) * every_s)


def kept(network, person, seed):
    return kept_of(person, worn(seed=seed), network.network, KEEPING, seed=seed)


def test_calibration_and_labelled_windows_never_overlap_and_patches_are_the_networks_own():
    network, mine = slotted(), worn()
    found = kept_of("a", mine, network.network, KEEPING, seed=3)
    assert (found.target[:12] == -1).all() and sorted(np.bincount(found.target[12:])) == [5, 5, 5]
    with torch.no_grad():
        every = network.network.backbone.patches(mine.signals)[0].half()
    at = [int((every == patch).all(dim=(1, 2)).nonzero()[0, 0]) for patch in found.patches[0]]
    assert len(set(at)) == len(at)
    stretch = mine.time_s[at[:12]]
    outside = mine.time_s[at[12:]]
    assert np.ptp(stretch) <= 30.0
    assert not ((outside > stretch.min()) & (outside < stretch.max())).any()
    assert (mine.target[at[12:]] == found.target[12:]).all()


def test_of_a_short_recording_the_first_half_is_the_calibration():
    network, mine = slotted(), worn(n=40)
    found = kept_of("a", mine, network.network, KEEPING, seed=3)
    with torch.no_grad():
        every = network.network.backbone.patches(mine.signals)[0].half()
    at = [int((every == patch).all(dim=(1, 2)).nonzero()[0, 0]) for patch in found.patches[0]]
    assert max(at[:12]) < 20 <= min(at[12:])


def test_somebody_without_a_labelled_window_is_left_out():
    mine = worn()
    none = Worn(signals=mine.signals, target=np.full(len(mine.target), -1), time_s=mine.time_s)
    assert kept_of("a", none, slotted().network, KEEPING, seed=0) is None


def test_files_hold_wearers(tmp_path):
    network = slotted()
    mine = [kept(network, "a", 1), kept(network, "b", 2)]
    write_kept(tmp_path / "x.npz", mine)
    found = read_kept(tmp_path / "x.npz")
    assert [one.person for one in found] == ["a", "b"]
    for one, other in zip(found, mine, strict=True):
        assert torch.equal(one.patches[0], other.patches[0]) and (one.target == other.target).all()
    write_kept(tmp_path / "none.npz", [])
    assert read_kept(tmp_path / "none.npz") == []


def test_conditions_and_scores_are_those_of_the_windows():
    network = slotted()
    base, wearers = base_of(network), [kept(network, "a", 1), kept(network, "b", 2)]
    practice = practice_of(wearers, base)
    assert practice.counts.tolist() == [[5, 5, 5], [5, 5, 5]]
    for row, one in enumerate(wearers):
        with torch.no_grad():
            embedding = network.network.quick_pooled([one.patches[0][:12].float()])
        expected = base.features(embedding.numpy())
        np.testing.assert_allclose(practice.conditions[row].numpy(), expected, atol=2e-2)
        assert (practice.target[practice.known[row, 2, :5]] == 2).all()
    with torch.no_grad():
        scores = practice.scores(network.network, practice.known[:, :, :5])
    assert scores.shape == (2, 3, 5, 3)
    assert (scores.argmax(-1) == torch.arange(3)[None, :, None]).float().mean() > 0.8


def test_taught_people_as_a_file(tmp_path):
    from physioedge.adapters.sets.taught import UNSURE, first_taught, is_taught, load_taught, save_taught
    from physioedge.tasks.arrhythmia import BeatRecord

    rng = np.random.default_rng(0)
    records = [
        BeatRecord(name=name, subject=name, signal=rng.normal(0, 1, (1, n)).astype(np.float32),
                   anchor=np.arange(5, n, 40), label=np.arange(len(range(5, n, 40))) % (UNSURE + 1))
        for name, n in (("A1", 400), ("A2", 130))
    ]  # fmt: skip
    save_taught(tmp_path / "t.npz", records, 125.0)
    found = load_taught(tmp_path / "t.npz", 125.0)
    assert [one.name for one in found] == ["taught:A1", "taught:A2"] and is_taught(found[0].subject)
    for one, other in zip(found, records, strict=True):
        np.testing.assert_allclose(one.signal[0], other.signal[0], atol=3e-3)
        assert (one.signal[1] == 0).all() and (one.anchor == other.anchor).all() and (one.label == other.label).all()
    with pytest.raises(DatasetError, match="100 Hz"):
        load_taught(tmp_path / "t.npz", 100.0)
    (tmp_path / "t.npz").write_bytes(b"PK no")
    with pytest.raises(DatasetError, match="train teacher"):
        load_taught(tmp_path / "t.npz", 125.0)
    person = np.array(["100", "taught:b", "taught:b", "taught:a", "101", "taught:c"])
    assert first_taught(person, 2).tolist() == [True, True, True, True, True, False]
    assert first_taught(person, 0).tolist() == [True, False, False, False, True, False]


def test_a_teachers_people_are_asked_for_where_they_are_and_are_of_heart_beats():
    from physioedge.adapters.sets.taught_rows import taught_for

    class Others:
        task = "stress"

    with pytest.raises(DatasetError, match="--taught"):
        taught_for(Others(), None)
    with pytest.raises(DatasetError, match="for stress"):
        taught_for(Others(), Path("taught.npz"))
