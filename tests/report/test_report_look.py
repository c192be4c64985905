"""Colours that can be read: every pair of tokens the style sheets put together, in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import unsmash.report

TEMPLATES = Path(unsmash.report.__file__).parent / "templates"
TEXT = [
    ("ink", "paper"), ("ink", "card"), ("ink", "code"), ("ink", "leak-tint"), ("ink2", "paper"), ("ink2", "card"),
    ("ink3", "paper"), ("ink3", "card"), ("leak", "paper"), ("leak", "card"), ("leak", "leak-tint"), ("pass", "paper"),
    ("pass", "card"), ("pass", "pass-tint"), ("unsure", "paper"), ("unsure", "card"), ("unsure", "unsure-tint"),
    ("bound", "paper"),
]  # fmt: skip
MARKS = ["a0", "a1", "a2s", "a3", "pass", "p1", "p3", "unsure", "u1", "u3", "bound", "floor"]


def themes() -> dict[str, dict[str, str]]:
    css = (TEMPLATES / "tokens.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", block)) for block in blocks)
    return {"light": light, "dark": light | dark}


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_known() -> None:
    assert contrast("#000", "#fff") == pytest.approx(21)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT, ids=lambda name: name)
def test_text_can_be_read(theme: str, text: str, ground: str) -> None:
    tokens = themes()[theme]
    assert contrast(tokens[text], tokens[ground]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("mark", MARKS)
def test_marks_can_be_seen(theme: str, mark: str) -> None:
    tokens = themes()[theme]
    assert contrast(tokens[mark], tokens["paper"]) >= 3


def test_dark_mode_redefines_every_colour() -> None:
    css = (TEMPLATES / "tokens.css").read_text(encoding="utf-8")
    light, dark = (set(re.findall(r"--([\w-]+): #", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL))
    assert light == dark


def test_phone_layout_and_dark_mode_stay_on_the_screen() -> None:
    sheets = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.css"))
    narrow = re.findall(r"@media ([^{]*(?:max-width|prefers-color-scheme)[^{]*)\{", sheets)
    assert len(narrow) >= 2
    assert all(rule.startswith("screen and") for rule in narrow)
    assert "820px" in " ".join(narrow)


def test_every_variable_used_is_defined() -> None:
    sheets = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.css"))
    used, defined = set(re.findall(r"var\(--([\w-]+)", sheets)), set(re.findall(r"--([\w-]+):", sheets))
    assert used
    assert used <= defined
