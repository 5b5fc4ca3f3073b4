"""Annotation files in MIT format.

Source: annot(5) of the WFDB Applications Guide, https://physionet.org/physiotools/wag/annot-5.htm
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physioedge.signals.recording import Annotations
from physioedge_runtime.errors import RecordError

_SYMBOLS = {
    **dict(enumerate(" NLRaVFJASEj/Q~")),
    **{16: "|", 18: "s", 19: "T", 20: "*", 21: "D", 22: '"', 23: "=", 24: "p", 25: "B", 26: "^", 27: "t", 28: "+"},
    **{29: "u", 30: "?", 31: "!", 32: "[", 33: "]", 34: "e", 35: "n", 36: "@", 37: "x", 38: "f", 39: "(", 40: ")"},
    41: "r",
}
_NOTE = 22
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63
_MAX_STEP = 0x3FF


@dataclass(frozen=True, kw_only=True)
class RawAnnotation:
    """One annotation with every field of the file."""

    sample: int
    code: int
    subtype: int = 0
    channel: int = 0
    number: int = 0
    note: bytes = b""

    @property
    def symbol(self) -> str:
        """WFDB's one-character code; ``[42]`` for codes without one."""
        return _SYMBOLS.get(self.code, f"[{self.code}]")


def read_annotations(path: Path, fs_hz: float) -> Annotations:
    """Annotations of a file at the record's own rate.

    Parameters
    ----------
    path : Path
        Such as ``100.atr``.
    fs_hz : float
        Rate of the record, against which a rate stated in the file is checked.

    Raises
    ------
    RecordError
        Unreadable, truncated, or counted at another rate than the record.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}", "a readable annotation file", "Check the path.") from error
    kept = list(_without_definitions(decode_annotations(data, str(path)), fs_hz, str(path)))
    return Annotations(
        sample=np.array([a.sample for a in kept], np.int64),
        symbol=tuple(a.symbol for a in kept),
        note=tuple(a.note.rstrip(b"\0").decode("utf-8", "replace") for a in kept),
    )


def decode_annotations(data: bytes, source: str) -> list[RawAnnotation]:
    """Every annotation of a file in MIT format; `source` is named in errors.

    Raises
    ------
    RecordError
        The file ends in the middle, or its times run backwards.
    """
    parser = _Parser(data, source)
    while parser.step():
        pass
    return parser.found


class _Parser:
    """Position in the bytes, and the fields that hold from one annotation to the next."""

    def __init__(self, data: bytes, source: str) -> None:
        self.data, self.source, self.at = data, source, 0
        self.sample = self.channel = self.number = 0
        self.found: list[RawAnnotation] = []

    def step(self) -> bool:
        """Take one annotation with the fields behind it; False at the end mark."""
        word = self._word()
        code, step = word >> 10, word & _MAX_STEP
        if word == 0:
            return False
        if code == _SKIP:
            high, low = self._word(), self._word()  # a PDP-11 long: high half first
            jump = high << 16 | low
            self.sample += jump - (1 << 32) if jump >> 31 else jump
            return True
        if code > 49:
            raise self._bad(f"field {code} before any annotation")
        self.sample += step
        if self.sample < 0:
            raise self._bad("a time before the start")
        subtype, note = 0, b""
        while (word := self._peek()) >> 10 in (_NUM, _SUB, _CHN, _AUX):
            self.at += 2
            kind, value = word >> 10, word & _MAX_STEP
            if kind == _AUX:
                note = self._take(value)
                self.at += value % 2
            elif kind == _SUB:
                subtype = _signed(value)
            elif kind == _CHN:
                self.channel = value & 0xFF
            else:
                self.number = _signed(value)
        fields = {"subtype": subtype, "channel": self.channel, "number": self.number}
        self.found.append(RawAnnotation(sample=self.sample, code=code, note=note, **fields))
        return True

    def _peek(self) -> int:
        if self.at + 2 > len(self.data):
            raise self._bad("the file ends without an end mark")
        return self.data[self.at] | self.data[self.at + 1] << 8

    def _word(self) -> int:
        word = self._peek()
        self.at += 2
        return word

    def _take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise self._bad(f"a note of {count} bytes runs past the end")
        self.at += count
        return self.data[self.at - count : self.at]

    def _bad(self, what: str) -> RecordError:
        return RecordError(f"{self.source}: {what} (byte {self.at})", "WFDB annotations", "Download the file again.")


def _signed(value: int) -> int:
    return (value & 0xFF) - 256 if value & 0x80 else value & 0xFF


def _without_definitions(found: Iterable[RawAnnotation], fs_hz: float, source: str) -> Iterator[RawAnnotation]:
    """Annotations without the ``## ...`` notes that describe the file itself."""
    defining = False
    for item in found:
        text = item.note.rstrip(b"\0").decode("utf-8", "replace") if item.code == _NOTE and item.sample == 0 else ""
        if text.startswith("## time resolution:"):
            stated = text.split(":", 1)[1].strip()
            if stated != f"{fs_hz:g}" and not _same(stated, fs_hz):
                came = f"{source}: times counted at {stated} Hz"
                raise RecordError(came, f"the record's {fs_hz:g} Hz", "Convert them with the wfdb package.")
        elif text.startswith("## annotation type definitions"):
            defining = True
        elif text.startswith("## end of definitions"):
            defining = False
        elif not (defining and text):
            yield item


def _same(stated: str, fs_hz: float) -> bool:
    try:
        return abs(float(stated) - fs_hz) <= 1e-6 * fs_hz
    except ValueError:
        return False


def encode_annotations(items: Iterable[RawAnnotation]) -> bytes:
    """Bytes of an annotation file, the inverse of `decode_annotations`; `items` ascend in time."""
    words = bytearray()
    now = channel = number = 0

    def put(code: int, value: int) -> None:
        words.extend((code << 10 | value & _MAX_STEP).to_bytes(2, "little"))

    for item in items:
        step = item.sample - now
        now = item.sample
        if not 0 <= step <= _MAX_STEP:
            jump = step & 0xFFFFFFFF
            put(_SKIP, 0)
            words += (jump >> 16).to_bytes(2, "little") + (jump & 0xFFFF).to_bytes(2, "little")
            step = 0
        put(item.code, step)
        if item.subtype:
            put(_SUB, item.subtype & 0xFF)
        if item.channel != channel:
            channel = item.channel
            put(_CHN, channel)
        if item.number != number:
            number = item.number
            put(_NUM, number & 0xFF)
        if item.note:
            put(_AUX, len(item.note))
            words += item.note + b"\0" * (len(item.note) % 2)
    return bytes(words) + b"\0\0"
