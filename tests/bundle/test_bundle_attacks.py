"""Whatever is done to a bundle's bytes: one clear error, and no model parser has seen any of them."""

from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from physioedge_export.pack import write_bundle
from physioedge_runtime.bundle.archive import (
    MANIFEST,
    MAX_ENTRIES,
    MAX_NAME_BYTES,
    SIGNATURE,
    build_archive,
    read_archive,
)
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.manifest import GraphEntry
from physioedge_runtime.bundle.signing import public_key
from physioedge_runtime.bundle.tensors import write_tensors
from physioedge_runtime.errors import (
    BundleError,
    DigestMismatch,
    FormatError,
    SignatureInvalid,
    UntrustedKey,
)
from tiny_bundle import PRIVATE_KEY, tiny_contract, tiny_parts, write_tiny_bundle

TRUST = public_key(PRIVATE_KEY)
GRAPH = "graphs/merged.int8.onnx"
EPOCH = (1980, 1, 1, 0, 0, 0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three kilobytes; nothing below the engine looks into a graph, so one of forty bytes will do."""
    path = tmp_path_factory.mktemp("small") / "small.physio"
    graph = GraphEntry("graphs/merged.int8.onnx", "onnxruntime", "int8", "merged", 1e-4, 1e-4)
    golden = {"signal": np.ones((1, 1, 4), np.float32), f"{graph.file}/logits": np.ones((1, 3), np.float32)}
    golden[f"{graph.file}/embedding"] = np.ones((1, 8), np.float32)
    files = {"MODEL_CARD.md": b"card", "LICENCE.txt": b"licence", graph.file: b"g" * 40}
    parts = tiny_parts(tiny_contract(context=1, window=3, lookahead=1, slots=()), graphs=(graph,))
    write_bundle(
        path, parts=parts, files={**files, "golden.safetensors": write_tensors(golden)}, signing_key=PRIVATE_KEY
    )
    return path.read_bytes()


@pytest.fixture
def refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Callable that writes bytes as a bundle, and gives the class of the error that opening them raises."""

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model parser was called")

    monkeypatch.setattr(onnxruntime, "InferenceSession", never)
    path = tmp_path / "attacked.physio"
    path.touch()

    def check(data: bytes) -> type[BundleError]:
        with path.open("r+b") as file:  # in place: making a file anew costs more than opening a bundle
            file.write(data)
            file.truncate()
        try:
            Bundle.open(path, trust=TRUST)
        except BundleError as error:  # thousands of times: cheaper than pytest.raises
            assert error.came and error.expected and error.do
            return type(error)
        raise AssertionError("an attacked bundle opened")

    return check


def flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def spans(data: bytes) -> dict[str, range]:
    """Where the content of each entry lies."""
    found = {}
    for entry in read_archive(data).values():
        start = entry.offset + 30 + len(entry.name)
        found[entry.name] = range(start, start + len(entry.data))
    return found


def test_the_untouched_bundle_opens(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "b.physio"
    path.write_bytes(small)
    assert Bundle.open(path, trust=TRUST).manifest.name == "tiny"


def test_every_byte_flipped(small: bytes, refuses) -> None:
    where = spans(small)
    rng = random.Random(3)
    for position in range(len(small)):
        kind = refuses(flipped(small, position, rng.randrange(8)))
        inside = next((name for name, span in where.items() if position in span), None)
        if inside == MANIFEST:
            assert kind is SignatureInvalid
        elif inside == SIGNATURE:
            assert kind in (SignatureInvalid, UntrustedKey, FormatError)
        elif inside is not None:
            assert kind is DigestMismatch
        else:
            assert kind is FormatError


def test_sampled_bits_of_a_large_bundle(tmp_path: Path, refuses) -> None:
    noise = np.random.default_rng(5).bytes(2_000_000)
    path = tmp_path / "large.physio"
    parts_files = {"extra/noise.bin": noise}
    write_tiny_bundle(path, files=parts_files)
    data = path.read_bytes()
    rng = random.Random(4)
    for _ in range(60):
        refuses(flipped(data, rng.randrange(len(data)), rng.randrange(8)))


def test_every_truncation(small: bytes, refuses) -> None:
    for length in range(0, len(small), 3):
        assert refuses(small[:length]) is FormatError
    assert refuses(small[:-1]) is FormatError


@pytest.mark.parametrize("extra", [b"\0", b"PK\x05\x06" + bytes(18), b"x" * 4096])
def test_bytes_before_or_after(small: bytes, refuses, extra: bytes) -> None:
    assert refuses(small + extra) is FormatError
    assert refuses(extra + small) is FormatError
    assert refuses(small + small) is FormatError


def test_crc_that_lies_in_header_and_directory(small: bytes, refuses) -> None:
    entry = read_archive(small)["LICENCE.txt"]
    crc, wrong = struct.pack("<L", entry.crc), struct.pack("<L", entry.crc ^ 1)
    assert small.count(crc) == 2
    assert refuses(small.replace(crc, wrong)) is FormatError


def contents(data: bytes) -> dict[str, bytes]:
    return {name: bytes(entry.data) for name, entry in read_archive(data).items()}


def zipped(files: list[tuple[zipfile.ZipInfo, bytes]], comment: bytes = b"") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for info, content in files:
            wanted = info.external_attr
            archive.writestr(info, content)
            info.external_attr = wanted  # zipfile puts its own in place of 0
        archive.comment = comment
    return target.getvalue()


def plain(name: str) -> zipfile.ZipInfo:
    """An entry as the specification wants it."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.create_version, info.extract_version, info.external_attr = 0, 10, 10, 0
    return info


def rebuilt(data: bytes, change=None, comment: bytes = b"") -> bytes:
    files = [(plain(name), content) for name, content in contents(data).items()]
    for info, _ in files:
        if change is not None and info.filename == "LICENCE.txt":
            change(info)
    return zipped(files, comment)


def _set(name: str, value: object):
    return lambda info: setattr(info, name, value)


def test_standard_tools_write_and_read_the_same_zip(small: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(small)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == contents(small)


@pytest.mark.parametrize(
    "change",
    [
        _set("compress_type", zipfile.ZIP_DEFLATED),
        _set("compress_type", zipfile.ZIP_BZIP2),
        _set("date_time", (2026, 1, 1, 0, 0, 0)),
        _set("external_attr", 0o120777 << 16),  # a symbolic link
        _set("external_attr", 0x10),  # a folder
        _set("create_system", 3),
        _set("extra", b"\x01\x00\x04\x00abcd"),
        _set("comment", b"hello"),
        _set("filename", "../LICENCE.txt"),
        _set("filename", "/etc/passwd"),
        _set("filename", "C:/LICENCE.txt"),
        _set("filename", "graphs/../../LICENCE.txt"),
        _set("filename", "LICENCE.txt/"),
        _set("filename", "graphs//x"),
        _set("filename", "./x"),
        _set("filename", "Lïcence.txt"),
        _set("filename", "L" * (MAX_NAME_BYTES + 1)),
    ],
)
def test_zip_features_and_names_out_of_the_subset(small: bytes, refuses, change) -> None:
    assert rebuilt(small) == small != rebuilt(small, change)  # refused for the change, and for nothing else
    assert refuses(rebuilt(small, change)) is FormatError


def test_archive_comment_and_data_descriptors(small: bytes, refuses) -> None:
    assert refuses(rebuilt(small, comment=b"hi")) is FormatError

    class Pipe(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, chunk) -> int:
            self.data += bytes(chunk)
            return len(chunk)

    pipe = Pipe()  # cannot seek, so zipfile writes sizes after the data
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, content in contents(small).items():
            archive.writestr(plain(name), content)
    assert refuses(pipe.data) is FormatError


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicates_and_order(small: bytes, refuses) -> None:
    files = [(plain(name), content) for name, content in contents(small).items()]
    assert refuses(zipped([*files, files[-1]])) is FormatError
    assert refuses(zipped([*files[:3], files[2], *files[3:]])) is FormatError
    assert refuses(zipped([files[1], files[0], *files[2:]])) is FormatError
    assert refuses(zipped([*files[:2], *reversed(files[2:])])) is FormatError
    assert refuses(zipped([*files[:3], (plain("Licence.txt"), b""), *files[3:]])) is FormatError
    assert refuses(zipped(files[1:])) is FormatError
    assert refuses(zipped([files[0], *files[2:]])) is FormatError
    assert refuses(zipped([])) is FormatError


def test_bombs(small: bytes, refuses) -> None:
    deflated = plain("bomb")
    deflated.compress_type = zipfile.ZIP_DEFLATED
    assert refuses(zipped([(deflated, bytes(50_000_000))])) is FormatError
    claims = bytearray(small)
    claims[18:26] = struct.pack("<LL", 0xFFFFFFF0, 0xFFFFFFF0)  # both sizes of the first local header
    assert refuses(bytes(claims)) is FormatError
    crowd = [(plain(f"f{i:04d}"), b"") for i in range(MAX_ENTRIES * 20)]
    assert refuses(zipped(crowd)) is FormatError


def test_files_added_or_left_out(small: bytes, refuses) -> None:
    files = contents(small)
    assert refuses(build_archive({**files, "zzz.bin": b"x"})) is FormatError
    del files["graphs/merged.int8.onnx"]
    assert refuses(build_archive(files)) is FormatError


def test_files_swapped_inside_the_bundle(small: bytes, refuses) -> None:
    files = contents(small)
    a, b = "graphs/merged.int8.onnx", "golden.safetensors"
    assert refuses(build_archive({**files, a: files[b], b: files[a]})) is DigestMismatch


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04", b"{}", b"\x7fELF" + bytes(100), bytes(5000)])
def test_files_that_are_no_bundle(refuses, data: bytes) -> None:
    assert refuses(data) is FormatError


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.physio", tmp_path):
        with pytest.raises(BundleError, match=path.name):
            Bundle.open(path, trust=TRUST)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.physio")
    with pytest.raises(FormatError, match="no regular file"):
        Bundle.open(tmp_path / "pipe.physio", trust=TRUST)


@pytest.fixture
def opened(small: bytes, tmp_path: Path) -> Bundle:
    path = tmp_path / "b.physio"
    path.write_bytes(small)
    return Bundle.open(path, trust=TRUST)


def test_a_file_put_in_its_place_after_opening_does_not_reach_the_bundle(small: bytes, opened: Bundle) -> None:
    other = opened.path.with_name("other")
    other.write_bytes(bytes(len(small)))
    other.replace(opened.path)
    assert opened.read(GRAPH) == b"g" * 40
    opened.path.unlink()
    assert opened.read(GRAPH) == b"g" * 40


@pytest.mark.parametrize("name", [GRAPH, "golden.safetensors", "LICENCE.txt"])
def test_one_bit_changed_in_the_file_after_opening_is_noticed_when_it_is_read(
    small: bytes, opened: Bundle, name: str
) -> None:
    before = {file: opened.read(file) for file in opened.manifest.files}
    entry = read_archive(small)[name]
    with opened.path.open("r+b") as file:
        file.seek(entry.start + entry.size - 1)
        file.write(bytes([small[entry.start + entry.size - 1] ^ 1]))
    with pytest.raises(DigestMismatch, match=name):
        opened.read(name)
    others = [file for file in before if file != name]
    assert [opened.read(file) for file in others] == [before[file] for file in others]
    with opened.path.open("r+b") as file:  # and what is there again counts again: nothing is remembered
        file.write(small)
    assert opened.read(name) == before[name]


def test_changed_golden_vectors_are_not_parsed(opened: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = read_archive(opened.path.read_bytes())["golden.safetensors"]
    assert opened.golden()
    with opened.path.open("r+b") as file:
        file.seek(entry.start + entry.size - 1)
        file.write(b"\x01")
    monkeypatch.setattr("physioedge_runtime.bundle.container.read_tensors", lambda data: pytest.fail("parsed"))
    with pytest.raises(DigestMismatch):
        opened.golden()


def test_a_file_cut_short_after_opening_is_noticed_when_it_is_read(small: bytes, opened: Bundle) -> None:
    entry = read_archive(small)[GRAPH]
    os.truncate(opened.path, entry.start + entry.size)
    assert opened.read(GRAPH) == b"g" * 40
    os.truncate(opened.path, entry.start + entry.size - 1)
    with pytest.raises(FormatError, match="ends at byte"):
        opened.read(GRAPH)


def test_what_is_used_is_what_was_hashed_even_if_the_file_changes_in_between(
    opened: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is overwritten at the moment the digest is taken: the bytes given out are those from before."""
    real = hashlib.sha256

    def overwritten_first(data: bytes = b"") -> object:
        opened.path.write_bytes(bytes(10_000))
        return real(data)

    monkeypatch.setattr("physioedge_runtime.bundle.signed.hashlib.sha256", overwritten_first)
    assert opened.read(GRAPH) == b"g" * 40
    with pytest.raises(DigestMismatch):
        opened.read(GRAPH)


def times_open(path: Path) -> int:
    """How often this process has a file open; what other tests leave to the collector does not count."""
    wanted, found = path.stat(), 0
    for entry in Path("/dev/fd").iterdir():
        try:
            found += os.path.samestat(os.fstat(int(entry.name)), wanted)
        except OSError:  # the listing's own
            continue
    return found


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="counts open files as Unix lists them")
def test_the_file_is_closed_with_the_bundle(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "b.physio"
    path.write_bytes(small)
    bundles = [Bundle.open(path, trust=TRUST) for _ in range(8)]
    assert times_open(path) == 8
    bundles.clear()
    path.write_bytes(small[:-1])
    with pytest.raises(FormatError) as refused:
        Bundle.open(path, trust=TRUST)
    del refused
    assert times_open(path) == 0


def test_size_limit_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "huge.physio"
    with path.open("wb") as file:
        file.truncate(600 * 1024 * 1024)  # sparse: takes no room
    with pytest.raises(FormatError, match="at most"):
        Bundle.open(path, trust=TRUST)
