"""The summary as GitHub shows it: the verdict and its figures, and no word of it taken for a mark."""

from __future__ import annotations

import re
from dataclasses import replace

import builders
import sample
import scans
import sweeps
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from unsmash.errors import TrainingError
from unsmash.gate import markdown
from unsmash.judge import judge
from unsmash.report.words import percent, span
from unsmash.scan_verdict import knee


def rendered(text: str) -> str:
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table, as a reader sees them."""
    out = []
    for table in re.findall(r"<table>(.*?)</table>", rendered(text), re.DOTALL):
        rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        out.append([re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows])
    return out


def test_an_audit_says_verdict_adversaries_floors_bounds_and_cost() -> None:
    run = sample.run(sample.results(181, 468, 496))
    verdict = judge([run], "identification>0.05 or accuracy<0.5")
    text = markdown.of_audit([run], verdict, "runs/x/report.html")
    assert text.startswith("## ❌ Leaks")
    assert verdict.sentence in text
    found = tables(text)
    adversaries, floors = found[0], found[1]
    for one, cells in zip(verdict.adversaries, adversaries[1:], strict=True):
        assert cells[3] == f"{round(one.count)} of {one.n}"
        assert cells[4] == span(one.low, one.high)
        assert run.result(one.attack).title == cells[2]
    known = {cells[0]: cells[1] for cells in floors[1:]}
    for result in run.of_role("floor"):
        assert known[result.title] == percent(result.scores["identification"].mean)
    assert len(found) == 3 + bool(run.bounds)
    cost = {cells[0]: cells[1] for cells in found[-1][1:]}
    assert run.utility is not None
    assert run.utility.accuracy is not None
    assert cost["Accuracy"].startswith(percent(run.utility.accuracy.mean))
    assert run.split is not None
    assert f"{run.split.bytes_sent:,} bytes" in cost.values()


def test_the_heading_follows_the_gate_not_the_leakage_alone() -> None:
    def head(hits: int, budget: str, **changes: object) -> str:
        run = builders.run([builders.attack("decoder", hits, **changes)])  # type: ignore[arg-type]
        return markdown.of_audit([run], judge([run], budget), "r").splitlines()[0]

    assert head(0, "identification>0.5").startswith("## ✅ Passes")
    assert head(60, "identification>0.5").startswith("## ❌ Leaks")
    assert head(50, "identification>0.5").startswith("## ❔ No verdict")
    assert head(0, "identification>0.5 or accuracy<0.99").startswith("## ❌ Over the budget")


def test_a_bound_without_a_value_says_why() -> None:
    run = replace(builders.full_run(), failure=None)
    rows = tables(markdown.of_audit([run], judge([run]), "r"))[2]
    assert ["At most", percent(0.1), "anyone"] in rows
    assert ["Local ε", "–", "nothing is random"] in rows


def test_seeds_are_taken_together() -> None:
    found = sweeps.runs(1, [], 96.0, 181, 496, 0, 2000, seeds=(0, 1, 2))
    text = markdown.of_audit(found, judge(found), "r")
    assert "3 seeds" in text
    assert all(f"`{run.id}`" in text for run in found)


def test_a_sweep_has_a_row_for_each_setting_and_the_label() -> None:
    frontier = sweeps.fifteen()
    text = markdown.of_sweep(frontier, 0, "page.html")
    (rows,) = tables(text)
    assert len(rows) == 1 + len(frontier.rows) + 1
    assert {len(row) for row in rows} == {len(rows[0])}
    assert "loss is NaN at step 210" in text


def test_a_scan_has_a_row_for_each_cut_and_the_recommendation() -> None:
    scan = scans.falling(480, 300, 2)
    text = markdown.of_scan(scan, 0, "page.html")
    best = knee(scan)
    assert best is not None
    assert best.name in text.splitlines()[0]
    (rows,) = tables(text)
    assert len(rows) == 1 + len(scan.cuts)


def test_an_error_is_a_heading_and_its_sentence() -> None:
    html = rendered(markdown.of_error("audit", TrainingError("loss is NaN\n# not a heading <b>|</b>")))
    assert html.count("<h2>") == 1
    assert "<h1>" not in html
    assert "<b>" not in html


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1))
def test_no_word_is_taken_for_a_mark(words: str) -> None:
    import html

    plain = "".join(f"{words}".split())
    (rows,) = tables(markdown.table(("a", "b"), [(markdown.text(plain), "z")]))
    assert html.unescape(rows[1][0]) == plain
    assert rows[1][1] == "z"


@given(st.text(alphabet="ab`|", min_size=1))
def test_code_stays_code(words: str) -> None:
    import html

    (inner,) = re.findall(r"^<p><code>(.*)</code></p>$", rendered(markdown.code(words)))
    assert html.unescape(inner) == words
