"""The stream of events: what is written reads back, and a torn line costs that line alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsmash.events import Console, Event, Fan, JsonLines, read, silent

TEXTS = [
    "plain",
    "",
    "ends in a newline\n",
    "two\nlines",
    "≤ 5 % of \U0001f648",
    "\u2028 and \x85 and \x0b and \x1c",
    "[/] [bold",
]


def written(file: Path, events: list[Event]) -> None:
    sink = JsonLines(file)
    for event in events:
        sink(event)
    sink.close()


@given(st.lists(st.builds(
    Event, st.sampled_from(["start", "tick", "end", "note", "finding", "warning"]), st.text(max_size=5),
    st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=10), st.integers(0, 9),
    st.integers(0, 9), st.floats(0, 1e9), st.dictionaries(st.text(max_size=3), st.integers() | st.none(), max_size=2),
), max_size=5))  # fmt: skip
@settings(max_examples=30, deadline=None, derandomize=True)
def test_events_survive_the_file(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> None:
    file = tmp_path_factory.mktemp("events") / "events.jsonl"
    written(file, events)
    assert list(read(file)) == events


def test_a_line_torn_anywhere_costs_that_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    first, second, third = Event("note", "a", "one"), Event("note", "b", "zwölf ≤ 13"), Event("note", "c", "three")
    written(file, [first])
    start = len(file.read_bytes())
    written(file, [second])
    whole = file.read_bytes()
    for length in range(start + 1, len(whole) - 1):  # the middle of letters included
        file.write_bytes(whole[:length])
        assert list(read(file)) == [first]
        written(file, [third])  # the run goes on in the same file
        assert list(read(file)) == [first, third]


def test_every_line_is_in_the_file_before_the_sink_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    sink = JsonLines(file)
    sink(Event("start", "train"))
    assert [event.stage for event in read(file)] == ["train"]
    sink.close()


@pytest.mark.parametrize("line", ["5", "null", "[1]", '{"kind": "note"}', '{"colour": 1}', '"text"'])
def test_lines_that_are_no_events_are_left_out(tmp_path: Path, line: str) -> None:
    file = tmp_path / "events.jsonl"
    written(file, [Event("note", "a")])
    file.write_text(line + "\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    assert [event.stage for event in read(file)] == ["a"]


def test_a_fan_hands_every_event_to_every_sink_in_order() -> None:
    first: list[Event] = []
    second: list[Event] = []
    events = [Event("note", "a"), Event("end", "b")]
    fan = Fan([first.append, silent, second.append])
    for event in events:
        fan(event)
    assert first == second == events


@pytest.mark.parametrize("kind", ["note", "warning", "finding", "end"])
def test_the_console_shows_texts_as_they_are(capsys: pytest.CaptureFixture[str], kind: Any) -> None:
    """File names and shapes have brackets; the console's markup must not eat them or stumble."""
    with Console() as console:
        console(Event("start", "data"))
        console(Event("tick", "data", step=1, total=2))
        console(Event(kind, "data", "photo[1].png and [n, c] and [bold] and [/]"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "photo[1].png and [n, c] and [bold] and [/]" in " ".join(shown.err.split())
