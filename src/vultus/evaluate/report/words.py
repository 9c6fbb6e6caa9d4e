"""Numbers in words: as many digits as they can bear, and always with their bounds."""

from __future__ import annotations

import math

from vultus.evaluate.intervals import Interval
from vultus.evaluate.report.figures import Measured

NOT_MEASURED = "not measured"
_SPACE = "\u00a0"  # at which no line is broken


def percent(value: float, *, like: float | None = None) -> str:
    """A share in percent, with three significant digits of its distance from 0 or 1.

    Args:
        value: the share; NaN gives "not measured".
        like: another share, whose number of decimals is taken.
    """
    if not math.isfinite(value):
        return NOT_MEASURED
    if value in (0.0, 1.0):
        return f"{100 * value:.0f}{_SPACE}%"
    return f"{100 * value:.{_decimals(value if like is None else like)}f}{_SPACE}%"


def _decimals(share: float) -> int:
    distance = 100 * min(abs(share), abs(1 - share))
    if distance < 1e-6:
        return 6
    return min(6, max(1, 2 - math.floor(math.log10(distance))))


def bounds(interval: Interval, *, like: float) -> str:
    """ "0.512 % to 1.013 %", with the decimals of the share that it is of."""
    guide = like if 1e-9 < like < 1 - 1e-9 else interval.high if like <= 0.5 else interval.low
    return f"{percent(interval.low, like=guide)} to {percent(interval.high, like=guide)}"


def measured(figure: Measured) -> str:
    """ "0.733 % (0.512 % to 1.013 %)", or why there are no bounds."""
    if figure.interval is None:
        return f"{percent(figure.value)} (no interval: {figure.reason})"
    return f"{percent(figure.value)} ({bounds(figure.interval, like=figure.value)})"


def signed(value: float, low: float, high: float) -> tuple[str, str]:
    """A difference of shares in percentage points, and its bounds."""
    size = max(abs(low), abs(high), 1e-9) * 100
    digits = min(6, max(1, 1 - math.floor(math.log10(size))))
    texts = [f"{100 * x:+.{digits}f}" if x else f"{0:.{digits}f}" for x in (value, low, high)]
    return texts[0], f"{texts[1]} to {texts[2]}"


def rate(value: float) -> str:
    """A rate with three significant digits at most: 0.01, 1e-3, 2.5e-4."""
    if value >= 0.00995 or value <= 0:
        return f"{value:.3g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def one_in(value: float) -> str:
    """The same rate as people say it: 1 in 1,000."""
    return f"1 in {1 / value:,.0f}" if value > 0 else "never"


def count(number: int, one: str, many: str | None = None) -> str:
    """ "1 photo", "7,701 photos"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
