"""Headings are findings: each is written only when the numbers carry it, and falls back when they do not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import page
import pytest
import sample

from unsmash.judge import judge
from unsmash.records import Card, Result, Run, Score
from unsmash.report import render, summarise
from unsmash.report.parts import Body, Report
from unsmash.verdicts import Verdict


def report(runs: list[Run], verdict: Verdict, folder: Path | None = None, *, images: bool = True) -> Report:
    return summarise(runs, verdict, folder, images=images)


def body(runs: list[Run], verdict: Verdict, folder: Path | None = None) -> Body:
    made = report(runs, verdict, folder).body
    assert made is not None
    return made


def marks(made: Body) -> dict[str, str]:
    return {check.name: check.mark for check in made.trust.checks}


def test_axis_names_the_factor_over_guessing_that_holds_for_all() -> None:
    runs, verdict = sample.leaks()
    assert body(runs, verdict).axis.heading == (
        "Every attack beats guessing by nine times or more, and stays below what is possible"
    )


def test_axis_does_not_claim_a_ceiling_that_an_attack_passes() -> None:
    runs = [sample.run(sample.results(gallery=400))]
    assert body(runs, sample.verdict("leaks", runs)).axis.heading == "Every attack beats guessing by nine times or more"


def test_axis_is_neutral_when_an_attack_only_guesses() -> None:
    runs = [sample.run((*sample.results(), sample.result("weak", "Weak", 12)))]
    assert "beats" not in body(runs, sample.verdict("leaks", runs)).axis.heading


def test_axis_leaves_invalid_attacks_out_of_every() -> None:
    weak = sample.result("weak", "Weak", 1, card=Card(strong=False))
    runs = [sample.run((*sample.results(), weak))]
    assert body(runs, sample.verdict("leaks", runs)).axis.heading.startswith(
        "Every attack that counts beats guessing by nine"
    )


def test_axis_of_a_pass_names_the_limit() -> None:
    heading = body(*sample.passes()).axis.heading
    assert heading == "No attack goes beyond your limit of 5\u202f% of 500 images"


@pytest.mark.parametrize(
    ("before", "sent", "expected"),
    [
        (480, 2000, "Cheap in accuracy, dear in bytes: the message is larger than the picture"),
        (480, 200, "Cheap in accuracy; the message is smaller than the picture"),
        (480, 784, "Cheap in accuracy; the message is as large as the picture"),
        (492, 2000, "It costs 3.0 points of accuracy, and the message is larger than the picture"),
        (None, 2000, "Defended: the message is larger than the picture"),
    ],
)
def test_cost_heading_follows_accuracy_and_bytes(before: int | None, sent: int, expected: str) -> None:
    one = sample.run()
    assert one.utility is not None
    assert one.split is not None
    undefended = None if before is None else sample.score(before, metric="accuracy")
    one = replace(one, utility=replace(one.utility, undefended_accuracy=undefended),
                  split=replace(one.split, bytes_sent=sent))  # fmt: skip
    assert body([one], sample.verdict("leaks", [one])).cost.heading == expected


def test_gallery_says_static_only_of_static(tmp_path: Path) -> None:
    runs, verdict = sample.leaks()
    sample.save_pictures(tmp_path, runs[0])
    heading = "What is sent looks like static. Trained on it, an attacker reads images."
    assert body(runs, verdict, tmp_path).gallery.heading == heading
    images, maps = sample.colour()
    sample.save_pictures(tmp_path, runs[0], images=images, sent=maps)
    assert body(runs, verdict, tmp_path).gallery.heading.startswith("What is sent still looks like the images.")


def test_gallery_of_a_pass_claims_likeness_only_when_recognised(tmp_path: Path) -> None:
    runs, verdict = sample.passes()
    sample.save_pictures(tmp_path, runs[0])
    assert body(runs, verdict, tmp_path).gallery.heading == "Few guesses point to the right image"
    seen = [replace(entry, scores=entry.scores | {"recognition": sample.score(400, metric="recognition")})
            for entry in runs[0].results]  # fmt: skip
    runs = [replace(runs[0], results=tuple(seen))]
    assert body(runs, verdict, tmp_path).gallery.heading == "The guesses look like images, but not the right ones."


@pytest.mark.parametrize("damage", ["missing", "broken", "foreign", "left out", "no folder"])
def test_without_pictures_the_ranks_stay_and_the_page_says_why(damage: str, tmp_path: Path) -> None:
    runs, verdict = sample.leaks()
    file = tmp_path / "pictures.safetensors"
    if damage == "broken":
        file.write_bytes(b"not tensors")
    elif damage == "foreign":
        pictures = replace(runs[0].pictures, victims=(1, 2))
        sample.save_pictures(tmp_path, replace(runs[0], pictures=pictures))
    elif damage == "left out":
        sample.save_pictures(tmp_path, runs[0])
    folder = None if damage == "no folder" else tmp_path
    section = page.read(render(report(runs, verdict, folder, images=damage != "left out"))).one("section", id="see")
    assert not section.all("img")
    reason = {"missing": "has no pictures", "broken": "cannot be read", "foreign": "does not belong",
              "left out": "--no-images", "no folder": "has no pictures"}[damage]  # fmt: skip
    assert reason in section.text
    assert section.text.count("● found") == 6 + 6 + 9
    assert "rank 20" in section.text


def test_leak_is_strong_because_it_was_reached() -> None:
    made = body(*sample.leaks())
    assert marks(made) == {"Strong": "✓", "Not collapsed": "✓", "Separate": "✓", "Consistent": "✓", "One seed": "?"}
    assert made.trust.heading == "The attacks were strong enough for the verdict to count"


def test_pass_without_a_control_stays_open() -> None:
    bare = [replace(entry, card=Card()) for entry in sample.results(decoder=9, repeat=13, gallery=132)]
    runs = [sample.run(bare)]
    made = body(runs, sample.verdict("passes", runs))
    assert marks(made)["Strong"] == "?"
    assert made.trust.heading == "What speaks for this verdict, and what is still open"


def test_broken_attack_makes_the_verdict_untrusted() -> None:
    made = body(*sample.inconclusive())
    assert marks(made)["Strong"] == marks(made)["Not collapsed"] == "✕"
    assert marks(made)["Finished"] == "✕"
    assert made.trust.heading == "This verdict cannot be trusted yet"


def test_attack_beyond_the_ceiling_is_a_contradiction() -> None:
    runs = [sample.run(sample.results(gallery=100))]
    made = body(runs, sample.verdict("leaks", runs))
    assert marks(made)["Consistent"] == "✕"
    assert made.trust.heading == "This verdict cannot be trusted yet"


def test_repeats_are_not_held_against_the_ceiling_of_one_message() -> None:
    runs = [sample.run(sample.results(decoder=181, repeat=490, gallery=300))]
    assert marks(body(runs, sample.verdict("leaks", runs)))["Consistent"] == "✓"


def test_contamination_warns_beside_the_verdict_and_spoils_trust() -> None:
    runs, verdict = sample.contaminated()
    tree = page.read(render(report(runs, verdict)))
    (warning,) = tree.one("section", id="verdict").all("p", class_="warn")
    assert warning.text == (
        "4 images stand in two sets that must be apart: these numbers may flatter the attacker;"
        " allowed by --allow-contamination."
    )
    trust = tree.one("section", id="trust").text
    assert "train 17 = victims 3" in trust
    assert "2 victims have a near twin" in trust
    assert "This verdict cannot be trusted yet" in trust
    clean = page.read(render(report(*sample.leaks())))
    assert not clean.all("p", class_="warn")


def test_failed_run_is_a_short_honest_page() -> None:
    runs, verdict = sample.failed()
    tree = page.read(render(report(runs, verdict)))
    text = page.visible(tree)
    assert "loss is NaN at step 210; try a lower rate (TrainingError)" in text
    assert "TrainingError in stage train" in text
    assert not tree.all("table")
    assert not re.search(r"\d %", text)


def test_leak_lists_the_other_adversaries_and_what_to_audit_next() -> None:
    made = report(*sample.leaks())
    assert made.lines[0] == "Sixteen messages of the same image let an outsider pick out **468 of 500**."
    assert made.lines[1].startswith("**Do not ship this setting.** Audit next: send only the answer.")
    assert made.body is not None
    answer, noise, deeper = made.body.audits.suggestions
    assert answer.command == "unsmash audit mnist --at fc --defence codebook"
    assert noise.command == "unsmash audit mnist --at fc --defence laplace:scale=2"
    assert deeper.command == "unsmash audit mnist --defence laplace:scale=1.0 --at relu3"


def test_undefended_leak_suggests_noise_as_well() -> None:
    runs, verdict = sample.leaks()
    run = replace(runs[0], command="unsmash audit mnist", pictures=replace(runs[0].pictures, sent_scale=0.83))
    assert body([run], verdict).audits.suggestions[1].command == "unsmash audit mnist --defence laplace:scale=0.8"


def test_pass_says_worst_case_and_what_was_not_tried() -> None:
    lines = " ".join(report(*sample.passes()).lines)
    assert "Worst case in the interval: 22 of 500." in lines
    assert "**Measured, not judged:** an adversary who sees one message, holds the 500 candidates" in lines
    untried = "an adversary with images of another kind only, the model's weights and a burst of slightly moved frames"
    assert f"**Not tried:** {untried}." in lines
    burst = [sample.run(sample.results(decoder=9, repeat=13), threats=(sample.QUERY, sample.REPEAT, sample.BURST))]
    assert "moved frames." not in " ".join(report(burst, sample.verdict("passes", burst)).lines)


def test_reasons_make_a_second_line_unless_already_said() -> None:
    runs, verdict = sample.leaks()
    verdict = replace(verdict, reasons=("accuracy 95.4 % is under your limit of 97 %", verdict.sentence))
    lines = report(runs, verdict).lines
    assert lines[0] == "Accuracy 95.4 % is under your limit of 97 %."
    assert not [line for line in lines if verdict.sentence in line]


def test_who_lists_what_no_judged_adversary_can() -> None:
    who = body(*sample.leaks()).who
    assert [text for text, _ in who.cannot] == ["open the model's weights", "hold a list of candidates"]
    assert ("read 16 messages of the same image that leaves the device",
            "only the one who sees 16 messages of the same image") in who.can  # fmt: skip
    assert len([text for text, _ in who.can]) == len({text for text, _ in who.can})
    assert who.heading == "The verdict holds for these two adversaries and no stronger one"
    assert "Found: 98.6\u202f% of 500." in who.shown[0]


def test_edges_stay_within_six_lines_and_name_dp_sgd() -> None:
    runs, verdict = sample.leaks()
    assert runs[0].split is not None
    plain = body(runs, verdict).edges.lines
    assert len(plain) <= 6
    assert "DP-SGD" not in " ".join(plain)
    runs = [replace(runs[0], split=replace(runs[0].split, defences=("DP-SGD 1.0",)))]
    assert "DP-SGD, chosen here, protects training records" in " ".join(body(runs, verdict).edges.lines)


def test_a_sparse_record_still_makes_a_page() -> None:
    low = Score("identification", "share", "up", 0.3, 0.2, 0.4, 50)
    bare = Run("a1", {}, 0, results=(Result("ridge", "ridge", "Ridge", "attack", "query", {"identification": low}),),
               threats=(sample.QUERY,))  # fmt: skip
    tree = page.read(render(report([bare], sample.verdict("leaks", [bare]))))
    assert "not measured" in tree.one("dl", class_="facts").text
    assert len(tree.one("figure", class_="squares").all("rect")) == 50


def test_page_agrees_with_the_judge() -> None:
    for runs in (
        sample.leaks()[0],
        sample.passes()[0],
        sample.inconclusive()[0],
        sample.seeds()[0],
        sample.failed()[0],
    ):
        verdict = judge(runs)
        tree = page.read(render(report(runs, verdict)))
        assert tree.one("h1").text == verdict.sentence.replace("  ", " ")
        assert tree.one("span", class_="word").text.lower().endswith(verdict.word)


def test_a_limit_for_candidates_puts_that_adversary_in_the_budget() -> None:
    runs = sample.leaks()[0]
    made = body(runs, judge(runs, "gallery_identification>0.5"))
    gallery = next(adversary for adversary in made.adversaries if adversary.name == "gallery")
    assert gallery.asked
    assert (gallery.limit, gallery.state, gallery.remark) == (0.5, "over", "✕ 2 times over")
    query = made.adversaries[0]
    assert (query.remark, query.state) == ("no limit in your budget", "info")


def test_a_pass_that_breaks_another_limit_says_so() -> None:
    runs = sample.passes()[0]
    verdict = judge(runs, "identification>0.05 or accuracy<0.99")
    made = report(runs, verdict)
    assert (verdict.word, verdict.exit_code) == ("passes", 1)
    assert made.lines[0] == (
        "**The leakage is within your budget, the rest is not:** Accuracy 0.954 against your limit of 0.99."
    )
    assert made.body is not None
    assert made.body.cost.facts[0].terms[0].startswith("accuracy<0.99: 0.954")


def test_one_interval_for_one_attack_over_seeds() -> None:
    runs = sample.seeds()[0]
    verdict = judge(runs)
    made = body(runs, verdict)
    row = next(row for group in made.axis.groups for row in group.rows if row.title == "Residual decoder")
    assert (row.low, row.high) == (verdict.adversaries[0].low, verdict.adversaries[0].high)
