"""CinC 2017: packed and original files give the same recordings; what is damaged, absent or unlabelled is named."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dataset_here import root_of
from physioedge.datasets import cinc2017
from physioedge_runtime.errors import DatasetError

RECORDS = {"A00001": "N", "A00002": "A", "A00007": "~"}


def signals():
    rng = np.random.default_rng(5)
    return {name: rng.integers(-900, 900, 2700 + 300 * i).astype(np.int16) for i, name in enumerate(RECORDS)}


def write_packed(root, **changes):
    (root / "cinc2017").mkdir(exist_ok=True)
    parts = list(signals().values())
    values = {
        "sig": np.concatenate(parts),
        "offsets": np.cumsum([0, *map(len, parts)]),
        "record_ids": np.array(list(RECORDS)),
        "labels": np.array(list(RECORDS.values())),
        "fs": np.array(300.0),
        "gain": np.array(1000.0),
    }
    values |= changes
    np.savez(root / "cinc2017" / "shard_00.npz", **{k: v for k, v in values.items() if v is not None})


def write_original(root, *, reference="REFERENCE-v3.csv"):
    folder = root / "cinc2017" / "training2017"
    folder.mkdir(parents=True, exist_ok=True)
    for name, samples in signals().items():
        # as published: the checksum is 0 whatever the samples are
        signal_line = f"{name}.mat 16+24 1000/mV 16 0 {samples[0]} 0 0 ECG "
        (folder / f"{name}.hea").write_text(f"{name} 1 300 {len(samples)} 05:05:15 1/05/2000 \n{signal_line}\n")
        head = np.array([30, 1, len(samples), 0, 4], "<i4").tobytes() + b"val\0"
        (folder / f"{name}.mat").write_bytes(head + samples.astype("<i2").tobytes())
    (folder / reference).write_text("".join(f"{name},{letter}\n" for name, letter in RECORDS.items()))
    return folder


@pytest.mark.parametrize("write", [write_packed, write_original])
def test_recordings_are_in_millivolt(tmp_path, write):
    write(tmp_path)
    assert cinc2017.records(tmp_path) == ("A00001", "A00002", "A00007")
    for name, samples in signals().items():
        recording = cinc2017.load(name, tmp_path)
        assert (recording.fs_hz, recording.units, recording.channels) == (300.0, "mV", ("ECG",))
        assert recording.subject == f"cinc2017:{name}" and recording.duration_s == len(samples) / 300
        np.testing.assert_allclose(recording.samples[0], samples / 1000, rtol=1e-6)
    assert [r.name for r in cinc2017.load_all(["A00007", "A00001"], tmp_path)] == ["A00007", "A00001"]


@pytest.mark.parametrize("write", [write_packed, write_original])
def test_labels_span_the_record(tmp_path, write):
    write(tmp_path)
    labels = cinc2017.labels("A00002", tmp_path)
    assert labels.value.tolist() == [1] and labels.meaning[1] == "atrial fibrillation"
    assert (labels.start_s.tolist(), labels.end_s.tolist()) == ([0.0], [10.0])
    assert cinc2017.letters(tmp_path) == RECORDS


def test_the_revised_reference_goes_before_the_first(tmp_path):
    folder = write_original(tmp_path)
    (folder / "REFERENCE.csv").write_text("A00001,O\nA00002,O\nA00007,O\n")
    assert cinc2017.letters(tmp_path) == RECORDS


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="'cinc2017'"):
        cinc2017.records(tmp_path)
    folder = write_original(tmp_path)
    with pytest.raises(DatasetError, match="A99999"):
        cinc2017.load("A99999", tmp_path)
    (folder / "A00001.mat").unlink()
    with pytest.raises(DatasetError, match=r"A00001\.mat"):
        cinc2017.load("A00001", tmp_path)
    (folder / "REFERENCE-v3.csv").write_text("A00002,A\n")
    with pytest.raises(DatasetError, match="no label of A00007"):
        cinc2017.labels("A00007", tmp_path)
    (folder / "REFERENCE-v3.csv").unlink()
    with pytest.raises(DatasetError, match="REFERENCE-v3"):
        cinc2017.labels("A00002", tmp_path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"fs": np.array(250.0)}, "250 Hz"),
        ({"gain": np.array(200.0)}, "gain 200"),
        ({"offsets": np.array([0, 10, 5, 20])}, "offsets"),
        ({"offsets": np.array([0, 2700])}, "offsets"),
        ({"sig": None}, "without sig"),
        ({"sig": np.array(["a"])}, "sig of type"),
        ({"record_ids": np.array(["A00001", "A00001", "A00007"])}, "second time"),
    ],
)
def test_damaged_packs_are_refused(tmp_path, changes, word):
    write_packed(tmp_path, **changes)
    with pytest.raises(DatasetError, match=word):
        cinc2017.load("A00001", tmp_path)


def test_a_truncated_pack_is_refused(tmp_path):
    write_packed(tmp_path)
    path = tmp_path / "cinc2017" / "shard_00.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DatasetError, match="packed record"):
        cinc2017.records(tmp_path)


def test_an_unknown_letter_is_refused(tmp_path):
    write_packed(tmp_path, labels=np.array(["N", "X", "~"]))
    with pytest.raises(DatasetError, match="'X'"):
        cinc2017.letters(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "word"),
    [
        (".hea", lambda data: data.replace(b" 300 ", b" 360 "), "360 Hz"),
        (".hea", lambda data: data.replace(b"/mV", b"/uV"), "uV"),
        (".hea", lambda data: data.replace(b" 2700 ", b" 2800 "), "2800 samples"),
        (".mat", lambda data: data[:-2], "bytes"),
        (".mat", lambda data: data[:10], "10 bytes"),
        (".mat", lambda data: b"\0\0\0\0" + data[4:], "matrix type 0"),
        (".mat", lambda data: data[:24] + b"\1\1" + data[26:], "from 257"),
    ],
)
def test_damaged_originals_are_refused(tmp_path, file, change, word):
    path = (write_original(tmp_path) / "A00001").with_suffix(file)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DatasetError, match=word):
        cinc2017.load("A00001", tmp_path)


@pytest.mark.data
def test_the_set_is_as_its_publishers_say():
    root = root_of("cinc2017")
    letters = cinc2017.letters(root)
    assert Counter(letters.values()) == {"N": 4890, "A": 658, "O": 2336, "~": 244}
    assert tuple(sorted(letters)) == cinc2017.records(root) and len(letters) == cinc2017.INFO.records
    durations = [r.duration_s for r in cinc2017.load_all(cinc2017.records(root)[:300], root)]
    assert min(durations) >= 9.0 and max(durations) <= 61.0
    first = cinc2017.load("A00001", root)
    assert first.duration_s == 30.0 and np.abs(first.samples).max() < 8.0 and first.samples[0, 0] == np.float32(-0.127)
