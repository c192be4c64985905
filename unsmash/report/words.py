"""Numbers and lists as people read them: narrow no-break space before %, true minus, counts before shares."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

THIN = "\u202f"
"""Narrow no-break space: a number and its % never part at a line's end"""
MINUS = "−"

_SMALL = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight"),
    *("nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
)

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def spell(number: int) -> str:
    """Small whole numbers as words, the rest as figures.

    >>> spell(3), spell(40)
    ('three', '40')
    """
    return _SMALL[number] if 0 <= number < len(_SMALL) else whole(number)


def whole(number: float) -> str:
    """A count with commas between thousands.

    >>> whole(1999.6), whole(-3)
    ('2,000', '−3')
    """
    return f"{round(number):,}".replace("-", MINUS)


def compact(number: float) -> str:
    """A large count in three digits at most.

    >>> compact(784), compact(62_400) == "62\u202fk", compact(10_800_000) == "10.8\u202fM"
    ('784', True, True)
    """
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if number >= least:
            return f"{number / unit:.{1 if number / unit < 20 else 0}f}{THIN}{letter}"
    return whole(number)


def decimal(number: float, digits: int) -> str:
    """A measured number with a fixed count of digits after the point.

    >>> decimal(-0.5678, 2)
    '−0.57'
    """
    return f"{number:,.{digits}f}".replace("-", MINUS)


def percent(share: float) -> str:
    """A share as per cent with one digit; two where one would read as nothing.

    >>> percent(0.362) == "36.2\u202f%", percent(0.0002) == "0.02\u202f%", percent(1.0) == "100\u202f%"
    (True, True, True)
    """
    if share in (0.0, 1.0):
        return f"{share * 100:.0f}{THIN}%"
    return f"{decimal(share * 100, 2 if abs(share) < 0.001 else 1)}{THIN}%"


def bare(share: float) -> str:
    """A limit or tick as per cent, without digits it does not need.

    >>> bare(0.05) == "5\u202f%", bare(0.125) == "12.5\u202f%"
    (True, True)
    """
    return f"{round(share * 100, 4):g}{THIN}%"


def span(low: float, high: float, unit: str = f"{THIN}%") -> str:
    """An interval of shares in per cent; digits after the point only where whole numbers would hide it.

    >>> span(0.321, 0.407) == "32–41\u202f%"
    True
    """
    digits = 0 if high >= 0.02 else 1
    if high - low < 0.02:
        digits = 1
    return f"{low * 100:.{digits}f}–{high * 100:.{digits}f}{unit}"


def tally(number: float) -> str:
    """A count that may be no whole number, as an expected one is.

    >>> tally(10 - 1e-9), tally(32.25), tally(1234.5)
    ('10', '32.2', '1,234')
    """
    return f"{number:.3g}" if number < 99.95 else whole(number)


def no_more(number: float) -> str:
    """An upper bound on a count, never rounded down; one digit after the point where it is small.

    >>> no_more(10 + 1e-9), no_more(8.14), no_more(154.2)
    ('10', '8.2', '155')
    """
    digits = 1 if number < 100 else 0
    return f"{math.ceil(number * 10**digits - 1e-6) / 10**digits:,.4g}"


def no_less(number: float) -> str:
    """A lower bound on a count, never rounded up.

    >>> no_less(9 - 1e-9), no_less(8.76)
    ('9', '8.7')
    """
    digits = 1 if number < 100 else 0
    return f"{math.floor(number * 10**digits + 1e-6) / 10**digits:,.4g}"


def power(bits: float) -> str:
    """2 to the power of `bits`, as a count people can take in.

    >>> power(3.3219281), power(5.5), power(500)
    ('10', '45.3', '3 × 10¹⁵⁰')
    """
    if bits < 20:
        return tally(2**bits)
    exponent, rest = divmod(bits * math.log10(2), 1)
    digit = round(10**rest)
    exponent, digit = (exponent + 1, 1) if digit == 10 else (exponent, digit)
    return f"{'' if digit == 1 else f'{digit} × '}10{f'{exponent:.0f}'.translate(_RAISED)}"


def points(difference: float) -> str:
    """A difference of shares in points, always signed.

    >>> points(-0.006)
    '−0.6 points'
    """
    value = round(difference * 100, 1)
    sign = "+" if value > 0 else MINUS if value < 0 else "±"
    return f"{sign}{abs(value):.1f} {'point' if abs(value) == 1 else 'points'}"


def duration(seconds: float) -> str:
    """A time people can compare.

    >>> duration(0.42), duration(26.3), duration(130)
    ('0.4 s', '26 s', '2 min 10 s')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def milliseconds(value: float) -> str:
    """A latency with two digits that mean something.

    >>> milliseconds(0.84), milliseconds(12.34)
    ('0.84 ms', '12 ms')
    """
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"


def listed(items: Iterable[str], last: str = "and") -> str:
    """A list in prose.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    names = list(items)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}" if names else ""


def plural(count: int, nouns: Sequence[str]) -> str:
    """A count with the noun that fits it.

    >>> plural(1, ("image", "images")), plural(12, ("image", "images"))
    ('1 image', '12 images')
    """
    return f"{whole(count)} {nouns[0] if count == 1 else nouns[1]}"


def lower_first(text: str) -> str:
    """A title inside a sentence: `Sees one message` → `sees one message`; abbreviations stay.

    >>> lower_first("Sees one"), lower_first("MAP guess")
    ('sees one', 'MAP guess')
    """
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def bold_count(sentence: str) -> str:
    """The sentence with its first `k of N` made bold.

    >>> bold_count("An outsider can pick out 181 of 500 private images.")
    'An outsider can pick out **181 of 500** private images.'
    """
    return re.sub(r"\d[\d,.\u202f]*(?<=\d) of \d[\d,\u202f]*(?<=\d)", r"**\g<0>**", sentence, count=1)
