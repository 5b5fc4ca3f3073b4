"""What a noise multiplier promises: epsilon of differential privacy for one window, over all numbers of a condition."""

from __future__ import annotations

import math

DELTA = 1e-5


def epsilon(multiplier: float, numbers: int, delta: float = DELTA) -> float:
    """Least epsilon that noise of a multiplier on each of `numbers` gives against one window; infinite without noise.

    Each number is moved by one window by 1 in units of which the noise is `multiplier`: all together by the root of
    their number.

    Notes
    -----
    Source: Balle and Wang 2018 (arXiv 1805.06530), theorem 8, solved by halving.
    """
    if multiplier <= 0:
        return math.inf
    moved = math.sqrt(numbers) / multiplier

    def left(eps: float) -> float:
        second = _normal_log(-moved / 2 - eps / moved) + eps
        return math.exp(_normal_log(moved / 2 - eps / moved)) - math.exp(min(second, 0.0))

    low, high = 0.0, 1.0
    while left(high) > delta:
        high *= 2
        if high > 1e9:
            return math.inf
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) > delta else (low, middle)
    return high


def _normal_log(x: float) -> float:
    """Logarithm of the standard normal distribution function; far below zero by its asymptote."""
    if x > -30:
        return math.log(max(0.5 * math.erfc(-x / math.sqrt(2)), 1e-320))
    return -0.5 * x * x - math.log(-x * math.sqrt(2 * math.pi))
