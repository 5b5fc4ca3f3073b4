"""R3 would tell if anything altered opened, or got as far as a parser."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import onnxruntime
import pytest

from physioedge.faults import altered_bytes, zips
from physioedge.faults.external_data import moved_out
from physioedge.faults.made import SHIPPED_BUNDLE, TRUST, Maker, shipped_bundle, target
from physioedge.faults.row import Setting
from physioedge_runtime.adaptation.adapter import AdapterFile
from physioedge_runtime.bundle import container, signed
from physioedge_runtime.bundle.archive import build_archive
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.errors import FormatError


def tally() -> altered_bytes.Tally:
    return altered_bytes.Tally(altered_bytes.Watch())


def test_a_loss_is_whatever_opens_crashes_or_reaches_a_parser() -> None:
    found = tally()

    def late() -> None:
        found.watch.calls += 1
        raise FormatError("a", "b", "c")

    def crash() -> None:
        raise KeyError("x")

    for opens, words in ((lambda: None, "it opened"), (late, "a parser saw it"), (crash, "KeyError")):
        found.tries("kind", opens, "here")
        assert words in found.losses[-1]
    assert found.kinds == {"kind": 3} and len(found.losses) == 3


def test_the_watch_counts_and_goes_away() -> None:
    watch, real = altered_bytes.Watch(), container.read_tensors
    with watch.over(container, "read_tensors"):
        shipped_bundle().golden()
    assert watch.calls == 1 and container.read_tensors is real


def test_without_a_check_of_signatures_a_parser_sees_a_strangers_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tally()
    with found.watch.over(onnxruntime, "InferenceSession"):
        altered_bytes._external_data(found, tmp_path)
    assert found.losses == []
    monkeypatch.setattr(signed, "verify", lambda *args: "anybody")
    with found.watch.over(onnxruntime, "InferenceSession"):
        altered_bytes._external_data(found, tmp_path)
    assert len(found.losses) == 1 and "stranger: a parser saw it" in found.losses[0]


def test_without_a_check_of_digests_altered_files_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed.SignedArchive, "check_files", lambda self, wanted: None)
    found, rng, setting = tally(), random.Random(1), Setting(work=tmp_path, share=0.01)
    with found.watch.over(onnxruntime, "InferenceSession"):
        altered_bytes._alter_bundle(found, setting, rng, SHIPPED_BUNDLE, manifest_flips=10)
    assert any("it opened" in loss or "parser saw" in loss for loss in found.losses)


def test_the_same_archive_without_an_attack_opens() -> None:
    """So each attack is refused for what it is."""
    files = altered_bytes._entries(Maker(target(slots=1)).adapter(1))
    assert zips._zipped(files) == build_archive(files)
    AdapterFile.open(zips._zipped(files), trust=TRUST)
    kinds = {kind for kind, _ in zips.attacks(files)}
    assert {"zip bomb", "..", "absolute path", "symbolic link", "duplicate", "trailing bytes"} <= kinds


def test_the_bomb_is_one() -> None:
    with zipfile.ZipFile(io.BytesIO(zips._bomb(zips.BOMB_BYTES))) as archive:
        (info,) = archive.infolist()
    assert info.file_size == zips.BOMB_BYTES and info.compress_size < zips.BOMB_BYTES / 500


def test_a_moved_weight_is_in_no_graph() -> None:
    model = shipped_bundle().read("graphs/merged.int8.onnx")
    moved, weight = moved_out(model)
    assert weight in model and weight not in moved and len(moved) < len(model)
    with pytest.raises(Exception, match="External data"):
        onnxruntime.InferenceSession(moved)


def test_regions_cover_every_byte_once() -> None:
    data = SHIPPED_BUNDLE.read_bytes()
    regions = altered_bytes._regions(data)
    assert sum(len(places) for places in regions.values()) == len(data)
    assert set(regions) == {"headers and directory", "manifest.json", "manifest.sig", "files"}


def test_a_door_puts_back_what_it_altered(tmp_path: Path) -> None:
    data = SHIPPED_BUNDLE.read_bytes()
    door = altered_bytes.Door(tmp_path / "b.physio", data, None)
    with door.flipped(100, 3):
        assert door.path.read_bytes() != data
    with door.cut_to(1000):
        assert door.path.stat().st_size == 1000
    door.close()
    assert door.path.read_bytes() == data and Bundle.open(door.path).manifest.name
    with pytest.raises(OSError, match="Bad file"):
        door.flipped(1, 1).__enter__()
