"""What the page says of a run's defences, of the answer alone as the bar they must beat, and of who sees what."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import page
import pytest
import sample

from unsmash.records import Card, Result, Run
from unsmash.report import render, summarise
from unsmash.report.parts import Body, Suggestion
from unsmash.subject import DefenceRecord
from unsmash.verdicts import Verdict, Word

CODEBOOK = sample.CODEBOOK
SAID = "Blurs numbers. It does not stop a list."
NOISE = DefenceRecord("laplace", "laplace(scale=1.0)", SAID, "none", "2021", "free", "inference")


def body(runs: list[Run], verdict: Verdict) -> Body:
    made = summarise(runs, verdict, None).body
    assert made is not None
    return made


def read(runs: list[Run], verdict: Verdict) -> page.Element:
    return page.read(render(summarise(runs, verdict, None)))


# -- each defence in its own words ------------------------------------------------------------------------------------


def test_each_defence_says_what_it_protects_and_what_it_does_not() -> None:
    runs, verdict = sample.leaks()
    runs = [sample.defended(runs[0], NOISE, sample.CODEBOOK, notes=["Clip 3.2 learned from the training images."])]
    part = read(runs, verdict).one("section", id="defence")
    assert part.one("h2").text == "What two defences hide, and what they do not"
    assert [item.text for item in part.all("h3", class_="named")] == [NOISE.label, CODEBOOK.label]
    lists = [item.one("li").text for item in part.all("ul", class_="can")]
    assert lists[:2] == ["Blurs numbers.", "It does not stop a list."]
    assert " ".join(lists[2:]) == CODEBOOK.protects
    yes = [item.one("li").text for item in part.all("ul", class_="yes")]
    assert yes == [lists[0], lists[2]]
    for record in (NOISE, CODEBOOK):
        assert record.source in part.text
        assert record.guarantee in part.text
    assert "at inference, on the trained model" in part.text
    assert "Clip 3.2 learned from the training images." in part.text


def test_one_defence_is_named_in_the_heading_and_linked_to() -> None:
    tree = read(*sample.proved())
    assert tree.one("section", id="defence").one("h2").text == "What codebook hides, and what it does not"
    assert [link for link in tree.one("nav").all("a") if link.attributes["href"] == "#defence"]


def test_without_a_defence_there_is_no_such_section_and_notes_are_kept() -> None:
    runs, verdict = sample.leaks()
    assert runs[0].split is not None
    runs = [replace(runs[0], split=replace(runs[0].split, notes=("Dropout is off.",)))]
    tree = read(runs, verdict)
    assert "defence" not in {part.attributes.get("id") for part in tree.all("section")}
    assert not [link for link in tree.all("a") if link.attributes["href"] == "#defence"]
    assert "Dropout is off." in tree.one("section", id="repro").text


# -- the answer alone -------------------------------------------------------------------------------------------------


def suggested(
    word: Word, *, command: str = "unsmash audit mnist --at fc", limit: float = 0.05, label: int = 10
) -> tuple[Suggestion, ...]:
    found = {"passes": (9, 13), "leaks": (181, 468), "inconclusive": (30, 32)}[word]
    one = sample.run((sample.label_only(label), *sample.results(*found)), command=command)
    assert one.split is not None
    one = replace(one, split=replace(one.split, whole_macs=10_000_000, device_macs=5_000_000))
    return body([one], sample.verdict(word, [one], limit)).audits.suggestions


@pytest.mark.parametrize("word", ["leaks", "inconclusive"])
def test_sending_the_answer_is_advised_first_with_its_cost_and_its_proof(word: Word) -> None:
    first = suggested(word)[0]
    assert first.command == "unsmash audit mnist --at fc --defence codebook"
    told = first.why.replace("\u202f", " ")
    assert "10,000,000 multiply-adds, of which the device does 5,000,000 already (50.0 %)" in told
    assert "right for 96.0 % of 500" in told  # without the defence, not the 95.4 % with it
    assert "identifies 2.0 % of 500" in told
    assert "at most 10 of 500 on average, whoever attacks and however often (W/N = 10/500)" in told


def test_a_pass_needs_no_such_advice() -> None:
    assert not [one for one in suggested("passes") if "codebook" in one.command]


@pytest.mark.parametrize(
    "command",
    [
        "unsmash audit mnist --defence laplace:scale=1.0 --at fc",
        "unsmash audit mnist --at fc --defence gaussian:clip=2,sigma=1 --defence=subset:keep=4",
        "unsmash audit mnist --at fc --defence 'laplace:scale=1 '",
    ],
)
def test_the_answer_takes_the_place_of_other_defences(command: str) -> None:
    assert suggested("leaks", command=command)[0].command == "unsmash audit mnist --at fc --defence codebook"


def test_a_run_that_sends_symbols_already_is_not_told_to() -> None:
    plain = sample.run((sample.label_only(), *sample.results()), bounds=sample.coded())
    asked = replace(plain, experiment={"defences": [{"kind": "codebook"}]})
    for one in (sample.defended(plain, CODEBOOK), asked):
        leak = body([one], sample.verdict("leaks", [one])).audits.suggestions
        assert not [entry for entry in leak if "--defence codebook" in entry.command]
        assert leak[0].title == "a coarser question"
        assert "1.9\u202f% of 500 at least" in leak[0].why
        near = body([one], sample.verdict("inconclusive", [one])).audits.suggestions
        assert "--seeds" in near[0].command


def test_a_run_that_sends_more_symbols_than_labels_is_told_to_send_the_label() -> None:
    defences = [{"kind": "codebook", "symbols": "levels"}]
    one = sample.run(experiment={"defences": defences}, command="unsmash audit --defence codebook:symbols=levels")
    one = sample.defended(one, replace(CODEBOOK, label="codebook(symbols=levels)"))
    first = body([one], sample.verdict("leaks", [one])).audits.suggestions[0]
    assert first.command == "unsmash audit --defence codebook"


def test_an_answer_that_alone_is_over_the_limit_is_said_to_be() -> None:
    first = suggested("leaks", limit=0.01)[0]
    assert "by itself identifies 2.0\u202f% of 500, over your limit" in first.why
    assert "only a coarser question" in first.why


@pytest.mark.parametrize("missing", ["classes", "accuracy"])
def test_without_classes_there_is_no_answer_to_send(missing: str) -> None:
    one = sample.run()
    data, utility = one.data, one.utility
    assert data is not None
    assert utility is not None
    if missing == "classes":
        one = replace(one, data=replace(data, classes=("face",)))
    else:
        one = replace(one, utility=replace(utility, accuracy=None))
    advice = body([one], sample.verdict("leaks", [one])).audits.suggestions
    assert "laplace" in advice[0].command


def test_as_many_classes_as_candidates_prove_nothing() -> None:
    one = sample.run()
    assert one.data is not None
    one = replace(one, data=replace(one.data, classes=tuple(map(str, range(500)))))
    why = body([one], sample.verdict("leaks", [one])).audits.suggestions[0].why
    assert "W/N" not in why


def test_the_first_advice_stands_beside_the_verdict_and_the_page_names_sweeps() -> None:
    tree = read(*sample.leaks())
    assert "Audit next: send only the answer." in tree.one("section", id="verdict").text
    section = tree.one("section", id="frontier")
    assert "unsmash sweep" in section.text
    assert "no sweep" not in section.text
    assert section.all("li")[0].one("pre").text.endswith("--defence codebook")


def test_advice_without_a_command_shows_none() -> None:
    one = sample.defended(sample.run(bounds=sample.coded()), CODEBOOK)
    first, second = read([one], sample.verdict("leaks", [one])).one("section", id="frontier").all("li")
    assert not first.all("pre")
    assert second.all("pre")


def test_the_cost_of_sending_the_label_is_the_measured_one_where_there_is_one() -> None:
    def said(*extra: Result) -> str:
        runs = [sample.run((*extra, *sample.results()))]
        return read(runs, sample.verdict("leaks", runs)).one("section", id="cost").text

    assert "Sending only the label identifies 2.0 % of 500" in said()  # by the average image of the class
    assert "Sending only the label identifies 2.4 % of 500" in said(sample.label_only(12))


def test_the_answer_alone_stands_among_the_floors() -> None:
    runs, verdict = sample.proved()
    (floors,) = [group for group in body(runs, verdict).axis.groups if group.title == "Without the message"]
    row = next(row for row in floors.rows if row.title == "Send only the label")
    assert row.mark == "floor"
    assert "multiply-adds" in row.note


# -- who sees what ----------------------------------------------------------------------------------------------------


def burst() -> tuple[list[Run], Verdict]:
    wide = replace(sample.GALLERY, name="gallery_burst", frames=16,
                   title="Sees 16 moved frames, holds the 500 candidates and the model")  # fmt: skip
    found = (
        *sample.results()[:5],
        sample.result("ridge@burst", "Ridge regression", 210, threat="burst"),
        sample.result("gallery", "Candidate list", 300, threat="gallery", role="ceiling"),
        replace(sample.result("gallery@gallery_burst", "Candidate list", 440, threat="gallery_burst", role="ceiling"),
                card=Card(evidence=("Approximate: no bound.",))),
    )  # fmt: skip
    runs = [sample.run(found, threats=(sample.QUERY, sample.BURST, sample.GALLERY, wide))]
    pictures = replace(runs[0].pictures, shown=("decoder", "ridge@burst"))
    runs = [replace(runs[0], pictures=pictures)]
    return runs, sample.verdict("leaks", runs)


def test_a_burst_is_named_as_one_wherever_it_stands() -> None:
    tree = read(*burst())
    names = [row.text for row in tree.one("table", class_="adv").one("tbody").all("tr")]
    assert names[1].startswith("Sees 16 moved frames of the same image")
    assert "after sixteen moved frames" in tree.one("figure", class_="squares").text
    assert "with the list and sixteen moved frames" in tree.one("figure", class_="squares").text
    lists = [row.text for row in tree.one("table", class_="ax").all("tr") if row.text.startswith("Candidate list")]
    assert ["one message" in lists[0], "sixteen moved frames" in lists[1]] == [True, True]
    assert "approximate, so no ceiling" in lists[1]
    assert "sixteen moved frames" in tree.one("div", class_="names").text
    assert "A burst of 16 frames lets an outsider pick out 210 of 500" in tree.one("section", id="verdict").text


def unaware(hits: int, card: Card = sample.GOOD) -> Result:
    made = sample.result("decoder(aware=False)", "Residual decoder, unaware of the defence", hits, card=card)
    return replace(made, settings={"aware": False})


@pytest.mark.parametrize("case", [sample.leaks, sample.passes])
def test_an_attack_unaware_of_the_defence_is_labelled_in_chart_and_table(
    case: Callable[[], tuple[list[Run], Verdict]],
) -> None:
    runs, verdict = case()
    runs = [replace(runs[0], results=(*runs[0].results, unaware(2)))]
    tree = read(runs, verdict)
    (mark,) = [row for row in tree.one("table", class_="ax").all("tr") if "unaware of the defence" in row.text]
    assert "a low share says nothing" in mark.text
    (row,) = [row for row in tree.one("section", id="numbers").all("tr") if "unaware" in row.text]
    assert row.one("th").one("small").text == "Sees one message; unaware of the defence"
    aware = next(row for row in tree.one("table", class_="ax").all("tr") if re.match("Residual decoder(?!,)", row.text))
    assert "unaware" not in aware.text


def test_an_unaware_attack_that_does_worse_than_ridge_does_not_spoil_the_trust() -> None:
    runs, verdict = sample.passes()
    worse = unaware(2, Card(strong=True, beats_ridge=False, evidence=("Worse than ridge.",)))
    runs = [replace(runs[0], results=(*runs[0].results, worse))]
    made = body(runs, verdict)
    assert made.trust.heading == "The attacks were strong enough for the verdict to count"
