"""What is proven: each figure is its bound's, stands with those it binds, and the heading claims no more than holds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import page
import pytest
import sample
from hypothesis import given, settings
from hypothesis import strategies as st

from unsmash.records import Bound, Card, Run
from unsmash.report import render, summarise
from unsmash.report.parts import Body
from unsmash.verdicts import Verdict

Case = tuple[list[Run], Verdict]


def body(runs: list[Run], verdict: Verdict) -> Body:
    made = summarise(runs, verdict, None).body
    assert made is not None
    return made


def bounded(*bounds: Bound, found: Sequence[object] | None = None, **changes: object) -> Case:
    runs = [sample.run(found, bounds=tuple(bounds), **changes)]  # type: ignore[arg-type]
    return runs, sample.verdict("leaks", runs)


def section(runs: list[Run], verdict: Verdict) -> page.Element:
    return page.read(render(summarise(runs, verdict, None))).one("section", id="proofs")


def groups(tree: page.Element) -> dict[str, list[page.Element]]:
    """Rows of statements by the title of their group."""
    found = {}
    for part in tree.one("table", class_="pf").all("tbody"):
        head, *rows = part.all("tr")
        small = head.one("th").all("small")
        title = head.text.removesuffix(small[0].text).strip() if small else head.text
        found[title] = rows
    return found


def cells(row: page.Element) -> list[str]:
    return [cell.text for cell in row.all("td", class_="v")]


def ceiling(share: float | None, name: str = "messages", k: int = 1) -> Bound:
    return sample.bound(f"ceiling_{name}", share, "share", "A premise.", k=k)


# -- the heading ------------------------------------------------------------------------------------------------------


@given(shares=st.lists(st.floats(0.002, 1), min_size=1, max_size=4), several=st.floats(0.002, 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_heading_names_the_lowest_ceiling_and_never_less(shares: list[float], several: float) -> None:
    names = ("messages", "gaussian", "epsilon", "x")
    bounds = [ceiling(share, name) for share, name in zip(shares, names, strict=False)]
    heading = body(*bounded(*bounds, ceiling(several, k=16))).proofs.heading
    count = re.match(r"At most ([\d.]+) of 500 on average", heading)
    if min(shares) * 500 > 499:
        assert count is None
        return
    assert count is not None
    said, least = float(count[1]), min(shares) * 500
    assert least - 1e-6 <= said < least + (0.1 if least < 100 else 1) + 1e-6


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (sample.proved, "At most 10 of 500 on average, whoever attacks, and from sixteen messages as from one"),
        (sample.half_proved, "At most 20.4 of 500 on average from one message; from sixteen, nothing is limited"),
        (sample.leaks, "Nothing is proven: this record holds no bound"),
        (sample.trained_privately, "Nothing finite is proven about who can be identified: the release is not random"),
    ],
)
def test_the_heading_is_what_the_numbers_say(case: Callable[[], Case], expected: str) -> None:
    assert section(*case()).one("h2").text == expected


def test_nothing_finite_has_its_reason_in_heading_and_row() -> None:
    tree = section(*bounded(*sample.unbounded()))
    assert tree.one("h2").text == "Nothing finite is proven: the release is not random"
    rows = {row.one("th").text: row for row in groups(tree)["Whoever attacks"]}
    epsilon = next(row for title, row in rows.items() if title.startswith("Local ε"))
    assert cells(epsilon) == ["∞"]
    assert "two inputs that differ in it are told apart for certain" in epsilon.text
    assert "At most" not in tree.text


def test_a_finite_bound_too_large_for_the_list_is_no_ceiling() -> None:
    bounds = (sample.bound("epsilon", 1000.0, "ε", "clip"), sample.bound("messages", 500.0, "bits", "clip"))
    tree = section(*bounded(*bounds))
    assert tree.one("h2").text == "What is proven is too little to limit anyone among 500"
    assert "3 × 10¹⁵⁰ messages could be told apart, more than the 500 candidates" in tree.text
    assert "Too large to limit anyone among 500" in tree.text
    assert "More than the 500 candidates: each could have its own" in tree.one("table", class_="pf").text
    few = section(*bounded(sample.bound("messages", 8.0, "bits", "clip"), ceiling(256 / 500)))
    assert "each could have its own" not in few.text


def test_a_ceiling_for_more_messages_is_named_with_its_number() -> None:
    tree = section(*bounded(ceiling(0.02), ceiling(0.1, k=16)))
    assert tree.one("h2").text == "At most 10 of 500 on average, whoever attacks; at most 50 from sixteen messages"
    assert "With sixteen messages of one image it is 50." in tree.text


def test_moved_frames_are_said_not_to_be_covered() -> None:
    threats = (sample.QUERY, sample.BURST)
    tree = section(*bounded(ceiling(0.02), threats=threats))
    assert tree.one("h2").text == "At most 10 of 500 on average from one message, whoever attacks"
    assert "None of this covers sixteen moved frames" in tree.text
    assert "frames" not in section(*bounded(ceiling(0.02))).text


# -- in plain words ---------------------------------------------------------------------------------------------------


def test_an_average_is_called_one_and_what_it_does_not_promise_is_said() -> None:
    text = section(*sample.proved()).text
    assert "It is an average" in text
    assert "promises nothing to one of them: an image that alone has its message is found every time" in text
    assert "The rarest message here is shared by 8 victims." in text
    assert "one can be 12.5 % sure" in text
    assert "points to 9.5 of 500" in text


def test_what_pure_epsilon_promises_to_each_victim_is_not_denied() -> None:
    each = ceiling(0.2, "epsilon")
    both = section(*bounded(ceiling(0.02), each)).text
    assert "For each single victim the limit is that of ε: nobody becomes more than 20.0 % sure." in both
    assert "found every time" not in both
    alone = section(*bounded(each)).text
    assert "It holds for each single victim" in alone
    assert "It is an average" not in alone


def test_a_victim_alone_in_its_cell_is_named() -> None:
    alone = sample.bound("smallest_cell", 1.0, "victims", "40 different messages were seen")
    assert "Here a victim has a message of its own." in section(*bounded(ceiling(0.02), alone)).text


# -- the table --------------------------------------------------------------------------------------------------------


def test_every_figure_is_its_bounds_and_stands_under_its_number_of_messages() -> None:
    runs, verdict = sample.proved()
    tree = section(runs, verdict)
    assert [head.text for head in tree.all("th", class_="v")] == ["One message", "Sixteen messages"]
    rows = {row.one("th").text.split(", ")[0]: cells(row) for part in groups(tree).values() for row in part}
    assert rows["Identified"] == ["9.5 of 500 1.9 %", "–"]  # the last of that title: at least
    first = groups(tree)["Whoever attacks"][0]
    assert cells(first) == ["10 of 500 2.0 %", "10 of 500 2.0 %"]
    assert "best" in first.attributes["class"]
    assert rows["Messages that can be told apart"] == ["10 3.3 bits", "10 3.3 bits"]
    assert rows["Local ε"][0] == "1.72"
    assert rows["Certainty about the most exposed victim"] == ["12.5 %", "–"]
    assert rows["Victims that share the rarest message"] == ["8", "–"]
    assert rows["Squared error of a guess"][0].startswith("0.040 ≈ 51 of 255")


def test_whom_a_statement_binds_and_why_it_holds_stand_in_its_row() -> None:
    runs, verdict = sample.half_proved()
    tree = section(runs, verdict)
    rests = [item.text for item in tree.one("div", class_="rests").all("li")]
    assert rests == ["Every release is scaled down to an L2 norm of at most 4 before the noise"]
    best = next(row for row in groups(tree)["Whoever attacks"] if "best" in row.attributes.get("class", ""))
    assert [item.text for item in best.all("li")] == ["C/σ = 0.83", "Sixteen messages: C/σ = 13.3"]
    assert "any attacker" in best.text
    shared = rests[0]
    assert shared not in tree.one("table", class_="pf").text
    for bound in runs[0].bounds:  # nothing that a statement rests on is lost
        for premise in bound.premises:
            assert premise.rstrip(".") in tree.text or premise.startswith("Counted by")


def test_unbiased_attackers_measured_figures_and_any_attacker_are_kept_apart() -> None:
    parts = groups(section(*sample.half_proved()))
    assert {row.one("th").text.split(",")[0] for row in parts["Unbiased attackers only"]} == {
        "Fisher information leakage", "Squared error of an unbiased guess",
    }  # fmt: skip
    assert len(parts["How near any guess can come"]) == 2
    assert len(parts["Of these 500 images only"]) == 1
    assert len(parts["Whoever attacks"]) == 4
    faint = section(*sample.half_proved()).one("table", class_="pf").all("tbody", class_="faint")
    assert [part.all("tr")[0].text.startswith("Unbiased attackers only") for part in faint] == [True]
    assert "0.22 ± 0.007 1/pixel²" in " ".join(
        cell for row in groups(section(*bounded(replace(sample.bound("dfil", 0.22, "1/pixel²", "x"), error=0.0071))))[
            "Unbiased attackers only"
        ] for cell in cells(row)
    )  # fmt: skip


def test_a_training_epsilon_cannot_be_taken_for_protection_of_what_is_sent() -> None:
    runs, verdict = sample.trained_privately()
    tree = page.read(render(summarise(runs, verdict, None)))
    proofs = tree.one("section", id="proofs")
    box = proofs.one("div", class_="apart")
    assert box.one("h3").text == "The training ε of 7.65 does not protect what is sent"
    assert "training record" in box.text
    assert [item.text for item in box.all("li")] == [premise.rstrip(".") for premise in runs[0].bounds[-1].premises]
    assert "7.65" not in proofs.one("table", class_="pf").text
    assert page.visible(tree).count("7.65") == 1  # in no other place of the page
    without = [replace(runs[0], bounds=sample.unbounded())]
    plain = section(without, verdict)
    assert not plain.all("div", class_="apart")
    assert groups(plain).keys() == groups(proofs).keys()


def test_a_training_without_an_epsilon_says_why() -> None:
    none = sample.bound("training_epsilon", None, "ε", "The network was not trained privately.")
    box = section(*bounded(*sample.unbounded(), none)).one("div", class_="apart")
    assert "∞" in box.one("h3").text
    assert "The network was not trained privately" in box.text


def test_unknown_statements_are_told_in_their_own_words() -> None:
    odd = replace(sample.bound("cem_information", 0.25, "nats", "A premise."), title="Information beyond the class",
                  covers="nobody in particular")  # fmt: skip
    more = replace(odd, name="cem_information@16", queries=16, value=0.5)
    endless = sample.bound("wall_of_fog", None, "metres", "There is no wall")
    parts = groups(section(*bounded(odd, more, endless)))
    first, second = parts["Other statements"]
    assert first.one("th").text == "Information beyond the class"
    assert cells(first) == ["0.25 nats", "0.5 nats"]
    assert "nobody in particular" in first.text
    assert "A premise" in first.text
    assert cells(second) == ["none", "–"]
    assert "There is no wall" in second.text


def test_an_unknown_ceiling_counts_like_the_others() -> None:
    runs, verdict = bounded(ceiling(0.02), ceiling(0.01, "quantum"))
    tree = section(runs, verdict)
    assert tree.one("h2").text.startswith("At most 5 of 500")
    best = next(row for row in groups(tree)["Whoever attacks"] if "best" in row.attributes.get("class", ""))
    assert "Title of ceiling_quantum" in best.text


def test_texts_of_a_bound_stay_text() -> None:
    nasty = "</td><script>alert(1)</script> **b** {{ 7*7 }}"
    bound = Bound("ceiling_messages", nasty, 0.02, "share", nasty, (nasty, nasty + "2"), "", 1)
    odd = Bound(nasty, nasty, 3.0, nasty, nasty, (nasty,), nasty, 16)
    runs, verdict = bounded(bound, odd, Bound("training_epsilon", nasty, None, nasty, nasty, (), nasty))
    tree = page.read(render(summarise(runs, verdict, None)))
    assert {script.attributes.get("type") for script in tree.all("script")} == {"application/json"}
    assert "{{ 7*7 }}" in tree.one("section", id="proofs").text


# -- several seeds ----------------------------------------------------------------------------------------------------


def seeds(*bounds: Sequence[Bound]) -> Case:
    runs = [sample.run(bounds=tuple(each), seed=place) for place, each in enumerate(bounds)]
    return runs, sample.verdict("leaks", runs)


def test_over_seeds_both_ends_are_shown_and_the_weaker_one_is_claimed() -> None:
    least = [sample.bound("converse", share, "share", "x") for share in (0.018, 0.02)]
    runs, verdict = seeds((ceiling(0.02), least[0]), (ceiling(0.04), least[1]))
    tree = section(runs, verdict)
    assert tree.one("h2").text.startswith("At most 20 of 500")
    rows = groups(tree)["Whoever attacks"]
    assert cells(rows[0]) == ["10–20 of 500 2.0–4.0 %"]
    assert "points to 9 of 500" in tree.text
    assert "both ends are given" in tree.text
    chart = next(group for group in body(runs, verdict).axis.groups if group.title == "Best anyone could do")
    assert {row.mark: row.share for row in chart.rows if row.mark in ("proven", "least")} == {
        "proven": 0.04, "least": 0.018,
    }  # fmt: skip


def test_what_one_seed_lacks_is_not_claimed_for_all() -> None:
    assert not section(*seeds((ceiling(0.02), *sample.unbounded()), sample.unbounded())).text.count("At most")
    infinite = sample.bound("ceiling_messages", None, "share", "This seed learned its clip")
    tree = section(*seeds((ceiling(0.02),), (infinite,)))
    assert "At most" not in tree.one("h2").text
    assert "This seed learned its clip" in tree.text


# -- on the axis, and held against the attacks ------------------------------------------------------------------------


def best_anyone(runs: list[Run], verdict: Verdict) -> list[page.Element]:
    rows = page.read(render(summarise(runs, verdict, None))).one("table", class_="ax").one("tbody").all("tr")
    start = next(place for place, row in enumerate(rows) if row.text.startswith("Best anyone could do"))
    return rows[start + 1 :]


def test_proofs_stand_on_the_attacks_axis_as_brackets() -> None:
    runs, verdict = sample.proved()
    chart, rows = body(runs, verdict).axis, best_anyone(runs, verdict)
    marks = [row.one("i", class_="m").attributes["class"].split()[1] for row in rows]
    assert marks == ["least", "ceiling", "proven", "proven"]
    values = [row.one("td", class_="val").text for row in rows]
    assert [values[0], *values[2:]] == ["≥ 1.9 %", "≤ 2.0 %", "≤ 2.0 %"]
    places = [row.one("i", class_="m").attributes["style"] for row in rows]
    for place, share in zip(places, (0.019, 0.02, 0.02, 0.02), strict=True):
        shown = re.fullmatch(r"left:([\d.]+)%", place)
        assert shown
        assert float(shown[1]) == pytest.approx(share / chart.top * 100, rel=1e-3)
    assert "No release this useful identifies less" in rows[0].text
    assert "one message" in rows[2].text
    assert "sixteen messages" in rows[3].text


def test_the_lowest_ceiling_of_each_number_of_messages_is_drawn() -> None:
    case = bounded(ceiling(0.3), ceiling(0.2, "gaussian"), ceiling(0.9, k=16), ceiling(0.5, "gaussian", k=16))
    rows = [row for row in best_anyone(*case) if row.all("i", class_="proven")]
    assert [row.one("td", class_="val").text for row in rows] == ["≤ 20.0 %", "≤ 50.0 %"]


def test_a_proof_of_nothing_keeps_its_row_and_has_no_mark() -> None:
    (row,) = [row for row in best_anyone(*bounded(*sample.unbounded())) if row.text.startswith("Proven ceiling")]
    assert not row.all("i", class_="m")
    assert row.one("td", class_="val").text == "none"
    assert "the release is not random" in row.text


def test_without_bounds_the_chart_claims_no_proof() -> None:
    runs, verdict = sample.leaks()
    assert [row.text.split(" ")[0] for row in best_anyone(runs, verdict)] == ["With"]


def test_a_list_without_the_exact_law_is_no_ceiling() -> None:
    loose = sample.result("loose", "Loose list", 100, threat="gallery", role="ceiling")
    found = (*sample.results()[:-1], replace(loose, card=Card()))
    runs = [sample.run(found)]
    verdict = sample.verdict("leaks", runs)
    assert "approximate, so no ceiling" in best_anyone(runs, verdict)[0].text
    assert check(runs, verdict) == "?"


def check(runs: list[Run], verdict: Verdict) -> str:
    return next(one.mark for one in body(runs, verdict).trust.checks if one.name == "Consistent")


@pytest.mark.parametrize(
    ("bounds", "mark"),
    [
        ((ceiling(0.5),), "✓"),  # the one-message attacks are at 36 %
        ((ceiling(0.2),), "✕"),
        ((ceiling(0.2, "gaussian"), ceiling(0.9)), "✕"),
        ((ceiling(0.5), ceiling(0.5, k=16)), "✕"),  # sixteen messages reach 93.6 %
        ((ceiling(0.95, k=16),), "✓"),
        ((ceiling(0.2, k=16),), "✕"),  # what limits sixteen messages limits one
    ],
)
def test_attacks_are_held_against_the_proofs_for_as_many_messages(bounds: tuple[Bound, ...], mark: str) -> None:
    found = [entry for entry in sample.results() if entry.role != "ceiling"]
    runs, verdict = bounded(*bounds, found=found)
    assert check(runs, verdict) == mark


def test_a_candidate_list_above_a_proof_is_a_contradiction() -> None:
    found = [entry for entry in sample.results(decoder=9, repeat=9) if entry.name != "decoder@repeat"]
    runs, verdict = bounded(ceiling(0.5), found=found)
    assert check(runs, verdict) == "✕"
    assert body(runs, verdict).trust.heading == "This verdict cannot be trusted yet"


def test_moved_frames_are_held_against_no_proof() -> None:
    found = [sample.result("ridge", "Ridge", 9), sample.result("ridge@burst", "Ridge", 400, threat="burst")]
    runs, verdict = bounded(ceiling(0.05), found=found, threats=(sample.QUERY, sample.BURST))
    assert check(runs, verdict) == "✓"
    assert "stays below" not in body(runs, verdict).axis.heading


def test_the_axis_heading_counts_proofs_as_what_is_possible() -> None:
    found = [entry for entry in sample.results() if entry.role != "ceiling"]
    below = "and stays below what is possible"
    assert below in body(*bounded(ceiling(0.99), found=found)).axis.heading
    assert below not in body(*bounded(ceiling(0.5), found=found)).axis.heading
    assert below not in body(*bounded(found=found)).axis.heading


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (sample.proved, "Proven is one thing about attackers: at most 10 of 500 on average, whoever attacks."),
        (sample.trained_privately, "Nothing is proven here about who can be identified: the release is not random"),
        (sample.leaks, "Nothing is proven here about who can be identified."),
    ],
)
def test_the_edges_say_what_is_proven(case: Callable[[], Case], said: str) -> None:
    lines = body(*case()).edges.lines
    assert len(lines) <= 6
    assert any(line.startswith(said) for line in lines)


def test_a_count_of_messages_is_two_to_the_bits() -> None:
    for bits in (0.0, 1.0, 3.3219, 5.5, 10.0):
        tree = section(*bounded(sample.bound("messages", bits, "bits", "x")))
        (row,) = [row for row in groups(tree)["Whoever attacks"] if row.text.startswith("Messages")]
        shown = re.match(r"([\d.,]+) ([\d.]+) bits", cells(row)[0])
        assert shown
        assert float(shown[1].replace(",", "")) == pytest.approx(2**bits, rel=5e-3)
        assert float(shown[2]) == pytest.approx(bits, abs=0.051)
        assert math.isfinite(float(shown[2]))
