"""Run records: lossless JSON, refusals in one sentence, and a digest of what was measured alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import builders
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsmash.errors import RecordError
from unsmash.plain import build, dumps
from unsmash.records import VERSION, Card, Run
from unsmash.run_reading import load_run
from unsmash.verdicts import Verdict

TIME_AND_MACHINE = ("started", "seconds", "latency_ms", "environment", "command", "budget")


def test_every_field_of_every_record_survives_json() -> None:
    run = builders.full_run()
    again = load_run(dumps(run))
    assert again == run
    assert load_run(dumps(run, indent=1)) == run
    assert again.results[1].ranks == (1, 2, 5)  # tuples, not lists
    assert isinstance(again.results[1].card, Card)


def test_the_hand_made_run_leaves_no_field_at_its_default() -> None:
    """What the round trip and the digest tests promise holds only for what the run fills."""
    plain = Run(id="", experiment={}, seed=1)
    run = builders.full_run()
    same = [f.name for f in dataclasses.fields(Run) if getattr(run, f.name) == getattr(plain, f.name)]
    assert same == ["budget", "version"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)


@given(
    run=st.builds(
        replace,
        st.just(builders.full_run()),
        id=TEXT,
        seed=st.integers(),
        notes=st.lists(TEXT, max_size=3).map(tuple),
        seconds=st.dictionaries(TEXT, FLOAT, max_size=3),
        latency_ms=st.lists(FLOAT, max_size=3).map(tuple),
        experiment=st.dictionaries(
            TEXT, st.none() | st.booleans() | FLOAT | TEXT | st.lists(st.integers(), max_size=2), max_size=3
        ),
        results=st.lists(
            st.builds(
                builders.attack,
                TEXT,
                st.integers(0, 100),
                st.builds(builders.figure, TEXT, st.floats(-9, 9), st.floats(0, 1)),
            ),
            max_size=2,
        ).map(tuple),
    )
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_run_survives_json(run: Run) -> None:
    assert load_run(dumps(run)) == run


def test_whole_numbers_read_as_floats_where_floats_stand() -> None:
    raw = json.loads(dumps(builders.full_run()))
    raw["seconds"]["total"] = 3
    again = load_run(json.dumps(raw))
    assert type(again.seconds["total"]) is float


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_no_json_are_neither_written_nor_read(value: float) -> None:
    run = builders.full_run()
    with pytest.raises(ValueError, match="JSON"):
        dumps(replace(run, seconds={"total": value}))
    loose = json.dumps(dataclasses.asdict(replace(run, seconds={"total": value})))
    with pytest.raises(RecordError, match=r"^the run record is not JSON"):
        load_run(loose)


def refusals() -> Iterator[Any]:
    good = json.loads(dumps(builders.full_run()))

    def changed(change: Callable[[dict[str, Any]], object]) -> str:
        raw = json.loads(json.dumps(good))
        change(raw)
        return json.dumps(raw)

    whole = json.dumps(good)
    cases: dict[str, tuple[str, str]] = {
        "cut short": (whole[: len(whole) // 2], "the run record is not JSON ("),
        "empty": ("", "the run record is not JSON ("),
        "a list": ("[]", "the file is not a run record: it has no version"),
        "no version": (changed(lambda r: r.pop("version")), "the file is not a run record: it has no version"),
        "newer": (
            changed(lambda r: r.update(version=VERSION + 1)),
            f"the run record has version {VERSION + 1}; this unsmash reads version {VERSION}",
        ),
        "version in words": (
            changed(lambda r: r.update(version="one")),
            f"the run record has version 'one'; this unsmash reads version {VERSION}",
        ),
        "unknown field": (
            changed(lambda r: r.update(colour=1)),
            "Run has no field 'colour'; was it written by a newer unsmash?",
        ),
        "unknown inner field": (
            changed(lambda r: r["results"][1]["card"].update(colour=1)),
            "Card has no field 'colour'; was it written by a newer unsmash?",
        ),
        "missing field": (changed(lambda r: r.pop("seed")), "Run cannot be read: "),
        "missing inner field": (changed(lambda r: r["split"].pop("at")), "SplitRecord cannot be read: "),
        "a number for a record": (
            changed(lambda r: r.update(data=5)),
            "DataRecord cannot be read: a mapping should stand there, not int",
        ),
        "text for a record": (
            changed(lambda r: r.update(data="kind")),
            "DataRecord cannot be read: a mapping should stand there, not str",
        ),
        "text for a number": (
            changed(lambda r: r.update(seed="0")),
            "Run cannot be read: got '0' where int should stand",
        ),
        "text for a share": (
            changed(lambda r: r["recogniser"].update(mean="all")),
            "Score cannot be read: got 'all' where float should stand",
        ),
        "truth for a number": (
            changed(lambda r: r.update(seed=True)),
            "Run cannot be read: got 'True' where int should stand",
        ),
        "text for a list": (
            changed(lambda r: r.update(notes="one")),
            "Run cannot be read: got 'one' where tuple should stand",
        ),
        "a list for a mapping": (
            changed(lambda r: r.update(seconds=[1])),
            "Run cannot be read: got '[1]' where dict should stand",
        ),
        "nothing for something": (
            changed(lambda r: r.update(id=None)),
            "Run cannot be read: got 'None' where str should stand",
        ),
        "another role": (
            changed(lambda r: r["results"][0].update(role="spy")),
            "Result cannot be read: got 'spy' where 'floor' or 'attack' or 'ceiling' should stand",
        ),
        "a pair of three": (changed(lambda r: r["data"].update(noun=["a", "b", "c"])), "DataRecord cannot be read: "),
    }
    for name, (text, sentence) in cases.items():
        yield pytest.param(text, sentence, id=name)


@pytest.mark.parametrize(("text", "sentence"), list(refusals()))
def test_what_is_no_run_record_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(RecordError) as caught:
        load_run(text)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_verdict_survives_json_and_nonsense_is_refused() -> None:
    verdict = Verdict("leaks", "It leaks.", ("because",), (), "identification>0.05", 1, 2, ("term",))
    assert build(Verdict, json.loads(dumps(verdict))) == verdict
    nonsense: Any
    for nonsense in (5, [], "leaks", None):
        with pytest.raises(RecordError, match=r"^Verdict cannot be read: a mapping"):
            build(Verdict, nonsense)


def test_records_cannot_be_changed() -> None:
    run = builders.full_run()
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.seed = 3  # type: ignore[misc]


# -- the digest -------------------------------------------------------------------------------------------------------


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every number, text, truth value and gap in plain data."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, (*path, key))
    else:
        yield path


def other(value: Any) -> Any:
    """Something else of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    pairs = [("floor", "attack"), ("up", "down"), ("smashed", "release"), ("labels", "attribute")]
    words = dict(pairs) | {other: one for one, other in pairs}
    return words.get(value, value + "!") if isinstance(value, str) else value


def test_the_digest_changes_with_every_figure_and_word_and_with_nothing_about_time_or_machine() -> None:
    run = builders.full_run()
    digest = run.digest()
    text = dumps(run)
    seen = {digest}
    paths = [path for path in leaves(json.loads(text)) if not {"values", "ranks", "version"} & set(path)]
    paths += [("results", 1, "scores", "identification", "values", 99), ("results", 1, "ranks", 2)]
    for path in paths:
        raw = json.loads(text)
        inner: Any = raw
        for step in path[:-1]:
            inner = inner[step]
        if inner[path[-1]] is None or other(inner[path[-1]]) == inner[path[-1]]:
            continue  # a gap or an empty list
        inner[path[-1]] = other(inner[path[-1]])
        changed = load_run(json.dumps(raw)).digest()
        if path[0] in TIME_AND_MACHINE:
            assert changed == digest, path
        else:
            assert changed not in seen, path
            seen.add(changed)
    assert len(seen) > 150


def test_the_digest_survives_storage() -> None:
    run = builders.full_run()
    assert load_run(dumps(run)).digest() == run.digest()


def test_results_are_found_by_name_and_role() -> None:
    run = builders.full_run()
    assert run.result("ridge").failure
    assert [result.name for result in run.of_role("attack")] == ["decoder", "ridge"]
    assert run.result("decoder").mean("ssim") == 0.5
    assert run.result("decoder").mean("psnr") is None
    with pytest.raises(KeyError):
        run.result("oracle")


@pytest.mark.parametrize("strong", [True, False, None])
@pytest.mark.parametrize("collapsed", [True, False])
@pytest.mark.parametrize("beats", [True, False, None])
def test_a_card_is_good_only_with_proof_and_valid_only_without_disproof(
    strong: bool | None, collapsed: bool, beats: bool | None
) -> None:
    card = Card(strong, collapsed, beats)
    assert card.valid is (strong is not False and not collapsed and beats is not False)
    assert card.good is (strong is True and not collapsed and beats is not False)
