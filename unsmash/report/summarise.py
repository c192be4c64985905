"""From run records to a report: everything the page will say, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unsmash.errors import RecordError
from unsmash.plain import dumps
from unsmash.records import Run
from unsmash.report.adversaries import adversaries, limit_column, squares
from unsmash.report.audits import audits
from unsmash.report.axis import axis
from unsmash.report.classes import classes
from unsmash.report.cost import cost, facts
from unsmash.report.defences import defences
from unsmash.report.evidence import Evidence, gather
from unsmash.report.findings import crumb, lines, title, warnings
from unsmash.report.gallery import gallery, open_album
from unsmash.report.inferences import inferences
from unsmash.report.journeys import journeys
from unsmash.report.numbers import numbers
from unsmash.report.parts import Body, Report
from unsmash.report.proofs import proofs
from unsmash.report.reproduce import reproduce
from unsmash.report.trainings import trainings
from unsmash.report.trust import edges, trust
from unsmash.report.who import decision, who
from unsmash.report.words import bold_count
from unsmash.verdicts import Verdict

MOST_JSON = 1_000_000
"""Characters of a record laid into the page; above, the numbers of single victims stay in the run folder"""


def summarise(runs: Sequence[Run], verdict: Verdict, folder: Path | None, *, images: bool = True) -> Report:
    """Everything a report says about one experiment.

    Args:
        runs: one run a seed, the first of which owns the pictures.
        verdict: the judgement on all of them.
        folder: run folder of the first, with `pictures.safetensors`; None when there is none.
        images: False leaves originals, messages and guesses out and keeps the ranks.

    Raises:
        RecordError: there is no run to report on.
    """
    if not runs:
        raise RecordError("there is no run to report on: give at least one run record")
    finished = [run for run in runs if run.failure is None]
    evidence = gather(finished or runs, verdict)
    return Report(
        word=verdict.word,
        title=title(evidence),
        crumb=crumb(evidence.run),
        run_id=evidence.run.id,
        headline=bold_count(verdict.sentence),
        lines=lines(evidence) if finished else (),
        warnings=warnings(runs, verdict),
        body=_body(evidence, folder, images) if finished else None,
        reproduce=reproduce(runs, verdict),
        records=_records(runs, verdict),
    )


def _body(evidence: Evidence, folder: Path | None, images: bool) -> Body:
    return Body(
        squares=squares(evidence),
        adversaries=adversaries(evidence),
        n=evidence.n,
        limit=limit_column(evidence),
        facts=facts(evidence),
        decision=decision(evidence),
        gallery=gallery(evidence, open_album(evidence.run, folder, images=images)),
        journeys=journeys(evidence, folder, images=images),
        who=who(evidence),
        defences=defences(evidence),
        axis=axis(evidence),
        proofs=proofs(evidence),
        classes=classes(evidence, folder, images=images),
        inferences=inferences(evidence),
        cost=cost(evidence),
        audits=audits(evidence),
        numbers=numbers(evidence),
        trust=trust(evidence),
        trainings=trainings(evidence),
        edges=edges(evidence),
    )


def _records(runs: Sequence[Run], verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """The first run in full as `run`, the other seeds without single victims, and the verdict."""
    first = dumps(runs[0])
    if len(first) > MOST_JSON:
        first = dumps(_without_victims(runs[0]))
    rest = [(f"run-{place}", dumps(_without_victims(run))) for place, run in enumerate(runs[1:], start=2)]
    return (("run", first), *rest, ("judgement", dumps(verdict)))


def _without_victims(run: Run) -> Run:
    results = tuple(
        replace(result, ranks=(), scores={name: replace(score, values=()) for name, score in result.scores.items()})
        for result in run.results
    )
    if run.inferences is None:
        return replace(run, results=results)
    bare = tuple(
        replace(one, scores={name: replace(score, values=()) for name, score in one.scores.items()})
        for one in run.inferences.results
    )
    return replace(run, results=results, inferences=replace(run.inferences, results=bare))
