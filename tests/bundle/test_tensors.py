from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load, save

from physioedge_runtime.bundle.tensors import ADAPTER_TYPES, read_tensors, write_tensors
from physioedge_runtime.errors import FormatError

names = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__"
)
any_array = st.sampled_from([np.float32, np.int64, np.int8]).flatmap(
    lambda kind: arrays(kind, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
sets = st.dictionaries(names, any_array, max_size=5)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        x.dtype == b[n].dtype and x.shape == b[n].shape and x.tobytes() == b[n].tobytes() for n, x in a.items()
    )


@settings(max_examples=100, deadline=None)
@given(sets)
def test_round_trip_and_the_safetensors_library(tensors: dict[str, np.ndarray]) -> None:
    data = write_tensors(tensors)
    assert same(read_tensors(data), tensors)
    assert same(load(data), tensors)
    assert same(read_tensors(save({n: np.ascontiguousarray(a).reshape(a.shape) for n, a in tensors.items()})), tensors)


def test_bytes_equal_the_librarys() -> None:
    tensors = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.arange(3, dtype=np.int8),
        "c": np.arange(2, dtype=np.int64),
        "a/logits": np.ones((1, 3), np.float32),
    }
    assert write_tensors(tensors) == save(tensors) == write_tensors(dict(reversed(tensors.items())))


def test_read_arrays_are_copies() -> None:
    data = bytearray(write_tensors({"a": np.ones(4, np.float32)}))
    found = read_tensors(bytes(data))["a"]
    found[0] = 7
    assert read_tensors(bytes(data))["a"][0] == 1


def test_types_that_do_not_belong() -> None:
    with pytest.raises(FormatError, match="float64"):
        write_tensors({"a": np.zeros(2)})


def test_half_precision_belongs_to_adapters_only() -> None:
    half = {"a": np.arange(3, dtype=np.float16), "b": np.ones((1, 2), np.float32)}
    with pytest.raises(FormatError, match="float16"):
        write_tensors(half)
    data = write_tensors(half, ADAPTER_TYPES)
    assert data == save(half) and same(read_tensors(data, ADAPTER_TYPES), half)
    with pytest.raises(FormatError, match="F16"):
        read_tensors(data)
    with pytest.raises(FormatError, match="I8"):
        read_tensors(write_tensors({"a": np.zeros(2, np.int8)}), ADAPTER_TYPES)


def file(header: object, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def row(begin: int = 0, end: int = 8, shape: object = (2,), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        (2**63).to_bytes(8, "little"),
        file({"a": row()}, bytes(8))[:-1],
        file({"a": row()}, bytes(9)),
        file({"a": row(4, 12)}, bytes(12)),
        file({"a": row(), "b": row()}, bytes(8)),
        file({"a": row(), "b": row(4, 12)}, bytes(12)),
        file({"a": row(), "b": row(9, 17)}, bytes(17)),
        file({"a": row(0, 8, (3,))}, bytes(8)),
        file({"a": row(0, 8, (-2,))}, bytes(8)),
        file({"a": row(0, 8, (2.0,))}, bytes(8)),
        file({"a": row(0, 8, (True, 2))}, bytes(8)),
        file({"a": row(0, 8, (2**39, 2**39))}, bytes(8)),
        file({"a": row(0, 8, (1,) * 9)}, bytes(8)),
        file({"a": row(8, 0)}, bytes(8)),
        file({"a": row(dtype="F64")}, bytes(8)),
        file({"a": row(dtype=[])}, bytes(8)),
        file({"a": [1]}, bytes(8)),
        file({"a": {**row(), "more": 1}}, bytes(8)),
        file({"a": row(), "__metadata__": {"k": 1}}, bytes(8)),
        file({"__metadata__": 5}, b""),
        file(
            b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
            b"",
        ),
        file(b"[]", b""),
        file(b" {}", b""),
        file(b"[" * 100_000, b""),
        file(b"\xff", b""),
        file({f"t{i}": row(0, 0, (0,)) for i in range(5000)}, b""),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_tensors(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 40))
def test_any_bytes_give_arrays_or_one_error(noise: bytes, start: int, removed: int) -> None:
    data = write_tensors({"a": np.ones((2, 3), np.float32), "b": np.zeros(2, np.int64)})
    with contextlib.suppress(FormatError):
        read_tensors(data[:start] + noise + data[start + removed :])


@pytest.mark.parametrize(
    "text",
    [b"[" * 9000 + b"]" * 9000, b"[" + b"{}," * 5000 + b"{}]", b"[" + b"1," * 60000 + b"1]"],
    ids=["[", "{", ","],
)
def test_headers_that_would_take_many_times_their_size_are_not_parsed(text: bytes) -> None:
    text = b'{"a":' + text + b"}"
    with pytest.raises(FormatError, match="too many values"):
        read_tensors(len(text).to_bytes(8, "little") + text)


def test_as_many_arrays_as_may_be_are_read() -> None:
    arrays = {f"layer.{i:04d}": np.zeros((1, 1, 1, 1, 1, 1, 1, 1), np.float32) for i in range(4096)}
    assert len(read_tensors(write_tensors(arrays))) == 4096
