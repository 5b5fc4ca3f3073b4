"""Headers of WFDB records.

Source: header(5) of the WFDB Applications Guide, https://physionet.org/physiotools/wag/header-5.htm
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from physioedge_runtime.errors import RecordError

MAX_HEADER_BYTES = 1 << 20
MAX_PER_FRAME = 10_000
_LARGEST_BASELINE = 1 << 31
_SMALLEST_GAIN = 1e-28  # below it, values leave float32
CONVERT = (
    "Convert the record with the wfdb package (pip install wfdb; rdrecord, then wrsamp with fmt '16'), "
    "then read the result."
)
_FORMAT = re.compile(r"^(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?$")
_GAIN = re.compile(r"^([-+0-9.eE]+)(?:\(([-+]?\d+)\))?(?:/(\S+))?$")


@dataclass(frozen=True, kw_only=True)
class SignalSpec:
    """One signal line: where its samples are and what they mean.

    Attributes
    ----------
    file : str
        Name of the signal file, beside the header.
    format : int
        WFDB storage format.
    byte_offset : int
        Bytes before the first sample.
    per_frame : int
        Samples of this signal for each of the header's: its rate is so many times the header's.
    gain : float
        ADC units per physical unit.
    baseline : int
        ADC value of physical zero.
    units : str
        Physical unit; WFDB says mV where the header is silent.
    adc_resolution, adc_zero : int
    first : int or None
        ADC value of the first sample.
    checksum : int or None
        Sum of all samples, as a signed 16-bit number.
    name : str
        Description, used as the channel's name.
    """

    file: str
    format: int
    byte_offset: int = 0
    per_frame: int = 1
    gain: float
    baseline: int
    units: str
    adc_resolution: int
    adc_zero: int
    first: int | None
    checksum: int | None
    name: str


@dataclass(frozen=True, kw_only=True)
class Header:
    """A whole header.

    Attributes
    ----------
    name : str
    fs_hz : float
        Rate of signals with one sample a frame, and of frames.
    n_samples : int or None
        Frames, if said.
    signals : tuple of SignalSpec
    comments : tuple of str
        Lines after the signals, without ``#``.
    """

    name: str
    fs_hz: float
    n_samples: int | None
    signals: tuple[SignalSpec, ...]
    comments: tuple[str, ...] = ()

    @property
    def age(self) -> int | None:
        """Age in years as the comments give it (``<age>: 69`` or MIT-BIH's ``69 M ...``)."""
        for line in self.comments:
            found = re.search(r"<?age>?\s*:\s*(\d+)", line, re.IGNORECASE) or re.match(r"^(\d+)\s+[MF]\b", line)
            if found:
                return int(found[1])
        return None

    @property
    def sex(self) -> str | None:
        """``M`` or ``F`` as the comments give it."""
        for line in self.comments:
            tagged = re.search(r"<?(?:sex|gender)>?\s*:\s*([MF])", line, re.IGNORECASE)
            found = tagged or re.match(r"^\d+\s+([MF])\b", line)
            if found:
                return found[1].upper()
        return None

    def with_samples(self, n_samples: int, first: list[int], checksum: list[int]) -> Header:
        """The same header for other samples of the same signals."""
        specs = zip(self.signals, first, checksum, strict=True)
        signals = tuple(replace(spec, first=f, checksum=c) for spec, f, c in specs)
        return replace(self, n_samples=n_samples, signals=signals)


def read_header(path: Path) -> Header:
    """Header from its file.

    Raises
    ------
    RecordError
        The file cannot be read, or says something this reader does not do.
    """
    try:
        if path.stat().st_size > MAX_HEADER_BYTES:
            raise RecordError(f"{path}: a header of {path.stat().st_size} bytes", "text under 1 MiB", CONVERT)
        text = path.read_bytes().decode("utf-8", "strict")
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}", "a readable WFDB header", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: bytes that are no text", "a WFDB header", "Download the file again.") from error
    return parse_header(text, str(path))


def parse_header(text: str, source: str) -> Header:
    """Header from its text; `source` is named in errors.

    Raises
    ------
    RecordError
        As `read_header`.
    """
    lines = [line.strip() for line in text.splitlines()]
    body = [line for line in lines if line and not line.startswith("#")]
    if not body:
        raise RecordError(f"{source}: no record line", "a WFDB header", "Download the file again.")
    name, fs_hz, n_signals, n_samples = _record_line(body[0], source)
    if len(body) - 1 != n_signals:
        raise RecordError(f"{source}: {len(body) - 1} signal lines", f"{n_signals}", "Download the file again.")
    start = lines.index(body[-1])
    comments = tuple(line[1:].strip() for line in lines[start:] if line.startswith("#"))
    signals = tuple(_signal_line(line, index, source) for index, line in enumerate(body[1:]))
    return Header(name=name, fs_hz=fs_hz, n_samples=n_samples, signals=signals, comments=comments)


def _record_line(line: str, source: str) -> tuple[str, float, int, int | None]:
    words = line.split()
    if "/" in words[0]:
        raise RecordError(f"{source}: a record of several segments", "a record of one segment", CONVERT)
    try:
        n_signals = int(words[1])
        fs_hz = float(words[2].split("/")[0].split("(")[0])
        n_samples = int(words[3]) if len(words) > 3 else 0
    except IndexError:
        # header(5) would take 250 Hz here; a silent default rate is how wrong results are made
        came, do = f"{source}: record line {line!r}", "Add the sampling rate to the header's first line."
        raise RecordError(came, "name, number of signals and sampling rate", do) from None
    except ValueError as error:
        raise RecordError(f"{source}: record line {line!r} ({error})", "numbers", "Check the header.") from None
    if not 0 < fs_hz < 1e6 or not 1 <= n_signals <= 1024 or n_samples < 0:
        raise RecordError(f"{source}: record line {line!r}", "a rate and 1 to 1024 signals", "Check the header.")
    return words[0], fs_hz, n_signals, n_samples or None


def _signal_line(line: str, index: int, source: str) -> SignalSpec:
    words = line.split(maxsplit=8)
    found = _FORMAT.match(words[1]) if len(words) > 1 else None
    if found is None:
        raise RecordError(f"{source}: signal line {line!r}", "a file name and a format", "Check the header.")
    if not 1 <= int(found[2] or 1) <= MAX_PER_FRAME:
        came = f"{source}: signal {index} with {found[2]} samples per frame"
        raise RecordError(came, f"1 to {MAX_PER_FRAME}", CONVERT)
    if int(found[3] or 0) != 0:
        raise RecordError(f"{source}: signal {index} with a skew of {found[3]} samples", "no skew", CONVERT)
    if Path(words[0]).name != words[0] or words[0] in ("-", "~", ".."):
        raise RecordError(f"{source}: signal file {words[0]!r}", "the name of a file beside the header", CONVERT)
    gain = _GAIN.match(words[2]) if len(words) > 2 else None
    try:
        numbers = [int(word) for word in words[3:8]]
        scale = float(gain[1]) if gain else 0.0
    except ValueError as error:
        raise RecordError(f"{source}: signal line {line!r} ({error})", "whole numbers", "Check the header.") from None
    if gain is None or not _SMALLEST_GAIN < scale < float("inf"):
        do = "Write the true gain and unit, such as 200/mV, into the signal line."
        raise RecordError(f"{source}: signal {index} without a gain (uncalibrated)", "ADC units per physical unit", do)
    padded = [*numbers, *[None] * (5 - len(numbers))]
    zero = padded[1] or 0
    baseline = int(gain[2]) if gain[2] else zero
    if abs(baseline) > _LARGEST_BASELINE:
        raise RecordError(f"{source}: signal {index} with baseline {baseline}", "32 bits", "Check the header.")
    return SignalSpec(
        file=words[0], format=int(found[1]), byte_offset=int(found[4] or 0), per_frame=int(found[2] or 1), gain=scale,
        baseline=baseline, units=gain[3] or "mV", adc_resolution=padded[0] or 0,
        adc_zero=zero, first=padded[2], checksum=padded[3], name=words[8] if len(words) > 8 else f"signal {index}",
    )  # fmt: skip


def format_header(header: Header) -> str:
    """Text of a header, the inverse of `parse_header`."""
    lines = [f"{header.name} {len(header.signals)} {header.fs_hz:g} {header.n_samples or 0}"]
    for s in header.signals:
        offset = (f"x{s.per_frame}" if s.per_frame > 1 else "") + (f"+{s.byte_offset}" if s.byte_offset else "")
        gain = f"{s.gain:g}({s.baseline})/{s.units}"
        first, checksum = s.first if s.first is not None else s.adc_zero, s.checksum or 0
        tail = f"{s.adc_resolution} {s.adc_zero} {first} {checksum} 0 {s.name}"
        lines.append(f"{s.file} {s.format}{offset} {gain} {tail}")
    return "\n".join(lines + [f"# {comment}" for comment in header.comments]) + "\n"
