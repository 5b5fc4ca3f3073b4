"""Values as C writes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH = 110
LICENCE = "SPDX-License-Identifier: Apache-2.0"


def c_text(text: str) -> str:
    """A string literal; what is not plain ASCII as octal escapes, which cannot run into the letters behind them."""
    plain = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in text.encode())
    return f'"{plain}"'


def c_float(value: float) -> str:
    """The shortest literal that reads back as the same float32; NaN and infinities have none."""
    if not np.isfinite(value):
        raise ValueError(f"{value} has no literal in C")
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0", exp_digits=1)
    return f"{text}f"


def c_double(value: float) -> str:
    """A literal that reads back as the same double."""
    text = repr(float(value))
    return text if any(c in text for c in ".en") else f"{text}.0"


def c_array(head: str, values: NDArray[np.generic] | Sequence[str]) -> str:
    """A definition: `head`, then the values in braces; of no values, one zero, since C has no empty arrays.

    Parameters
    ----------
    head : str
        As ``static const float x[3]``, without the equals sign.
    values : array or sequence of str
        float32 numbers, whole numbers, or literals as they are.
    """
    flat = list(values) if not isinstance(values, np.ndarray) else _literals(values)
    lines, line = [], ""
    for item in flat or ["0"]:
        if line and len(line) + len(item) + 2 > WIDTH:
            lines.append(line)
            line = ""
        line += f"{', ' if line else ''}{item}"
    return f"{head} = {{\n    " + ",\n    ".join([*lines, line]) + "};\n"


def c_guard(name: str, about: str, body: str) -> str:
    """A header file around a body."""
    guard = f"{name.upper().replace('.', '_')}"
    return (
        f"/* {about}\n *\n * Made by `physioedge firmware`: do not edit. {LICENCE} */\n"
        f"#ifndef {guard}\n#define {guard}\n\n{body}\n#endif\n"
    )


def _literals(values: NDArray[np.generic]) -> list[str]:
    if values.dtype == np.float32:
        return [c_float(float(value)) for value in values.reshape(-1)]
    return [str(int(value)) for value in values.reshape(-1)]
