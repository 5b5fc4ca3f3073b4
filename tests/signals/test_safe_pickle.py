"""Pickles of arrays are read whole; whatever else a pickle can say is refused, and nothing in one is ever run."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioedge.signals.safe_pickle import MAX_DEPTH, read_pickle
from physioedge_runtime.errors import RecordError

TREE: dict[str, Any] = {
    "signal": {"wrist": {"BVP": np.arange(12.0)[:, None], "ACC": np.arange(6, dtype=np.float32).reshape(2, 3)}},
    "label": np.array([60.5, 61.0]),
    "order": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "empty": np.zeros((0, 3)),
    "one": np.float64(2.5),
    "flag": np.array([True, False]),
    "text": np.array(["ab", "c"]),
    "bytes": b"\x80\xff",
    "nothing": b"",
    "rest": [1, 2.5, None, True, ("m", -3)],
}


class Python2(pickle._Pickler):  # type: ignore[name-defined]
    """Writes what Python 2 wrote by default: protocol 0, text and array content as quoted byte strings."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, data: bytes) -> None:
        self.write(b"S" + repr(data)[1:].encode("ascii") + b"\n")
        if id(data) not in self.memo:  # Python keeps one object for each single byte
            self.memoize(data)

    def save_str(self, text: str) -> None:
        self.save_bytes(text.encode("latin1"))

    dispatch[bytes] = save_bytes
    dispatch[str] = save_str


def python2_bytes(tree: Any, path: Path) -> bytes:
    with path.open("wb") as file:
        Python2(file, protocol=0).dump(tree)
    return path.read_bytes().replace(b"numpy._core", b"numpy.core").replace(b"cbuiltins\n", b"c__builtin__\n")


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype and not found.flags.writeable
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_data_come_back(tmp_path, protocol):
    path = tmp_path / "S1.pkl"
    path.write_bytes(pickle.dumps(TREE, protocol=protocol))
    same(read_pickle(path), {**TREE, "one": 2.5})


def test_files_of_python_2_are_read(tmp_path):
    tree = {key: value for key, value in TREE.items() if key not in ("bytes", "nothing", "text")}
    path = tmp_path / "S1.pkl"
    path.write_bytes(python2_bytes(tree, path))
    assert b"S'signal'" in path.read_bytes() and b"numpy.core.multiarray" in path.read_bytes()
    same(read_pickle(path), {**tree, "one": 2.5})


class Runs:
    """Would run its call when unpickled in the ordinary way."""

    def __init__(self, call: Any, *given: Any) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.given


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("call", [os.mkdir, eval, getattr, np.load, np.frombuffer, np.float32, pickle.loads])
def test_nothing_is_ever_called(tmp_path, monkeypatch, call, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "S1.pkl"
    path.write_bytes(pickle.dumps({"signal": Runs(call, "made")}, protocol=protocol))
    with pytest.raises(RecordError, match="it names") as caught:
        read_pickle(path)
    assert str(path) in caught.value.came and list(tmp_path.iterdir()) == [path]


def crafted(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
DOUBLE = b"cnumpy\ndtype\nU\x02f8\x85R"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (ARRAY + b"(K\x01K\x02\x85" + DOUBLE + b"\x89U\x08" + b"\0" * 8 + b"tb", "8 bytes for an array"),
        (ARRAY + b"(K\x01K\x01\x85" + DOUBLE + b"\x89]tb", "no block of numbers"),
        (ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + DOUBLE + b"\x89U\x08" + b"\0" * 8 + b"tb", "shape"),
        (ARRAY, "where data should be"),  # its content never comes
        (DOUBLE, "where data should be"),
        (b"cnumpy\ndtype\nU\x01O\x85R", "type 'O'"),
        (b"cnumpy\ndtype\nU\x05f8,i8\x85R", "f8,i8"),
        (b"cnumpy\nndarray\nK\x01\x85R", "numpy.ndarray"),
        (b"c_codecs\nencode\nU\x01aU\x03hex\x86R", "'hex'"),
        (b"c__builtin__\nbytes\nK\x09\x85R", "something else"),
        (b"cnumpy\ndtype\n}U\x07_answerNsb", "a state for a function"),  # BUILD on a function
        (b"U\x01xQ", "persistent"),
        (b"}K\x01\x85K\x01s", "dictionary key"),
    ],
)
def test_crafted_files_are_refused(tmp_path, body, message):
    path = tmp_path / "S1.pkl"
    path.write_bytes(crafted(body))
    with pytest.raises(RecordError, match=message):
        read_pickle(path)


def test_functions_of_the_reader_stay_as_they_are(tmp_path):
    """A file that tried to change one does not spoil the next."""
    path = tmp_path / "S1.pkl"
    path.write_bytes(crafted(b"cnumpy\ndtype\n(N}U\x07_answerNs\x86b"))
    with pytest.raises(RecordError):
        read_pickle(path)
    path.write_bytes(pickle.dumps(TREE))
    same(read_pickle(path), {**TREE, "one": 2.5})


def test_what_is_shared_is_walked_once_and_depth_has_a_limit(tmp_path):
    path = tmp_path / "S1.pkl"
    shared: list[Any] = [1]
    for _ in range(MAX_DEPTH - 2):
        shared = [shared, shared]  # 2^30 leaves, were each walked
    path.write_bytes(pickle.dumps(shared))
    assert len(read_pickle(path)) == 2
    deep: list[Any] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    path.write_bytes(pickle.dumps(deep))
    with pytest.raises(RecordError, match="nesting"):
        read_pickle(path)
    endless: list[Any] = []
    endless.append(endless)
    path.write_bytes(pickle.dumps(endless))
    with pytest.raises(RecordError, match="nesting"):
        read_pickle(path)


@pytest.mark.parametrize("body", [b"K\x01r\xff\xff\xff\x3f", b"K\x01p999999999\n"])
def test_a_small_file_cannot_fill_the_memory(tmp_path, body):
    """A place in the reader's memory of 2^30 is no reason to reserve it."""
    path = tmp_path / "S1.pkl"
    path.write_bytes(crafted(body))
    tracemalloc.start()
    try:
        assert read_pickle(path) == 1
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    path = tmp_path / "S1.pkl"
    whole = pickle.dumps({"a": np.arange(3.0), "b": ["x", 1]}, protocol=2)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError, match=r"S1\.pkl"):
            read_pickle(path)
    with pytest.raises(RecordError, match="No such file"):
        read_pickle(tmp_path / "S2.pkl")


@given(data=st.binary(max_size=60), opens=st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"(", ARRAY]))
def test_any_bytes_give_data_or_one_clear_error(tmp_path_factory, data, opens):
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes(opens + data)
    try:
        read_pickle(path)
    except RecordError as error:
        assert str(path) in error.came
