"""How the trainings went: the audited network's and each learned attack's, and whether one ended too early."""

from __future__ import annotations

from unsmash.curves import TARGET, Curve
from unsmash.records import Result, Run
from unsmash.report.evidence import Evidence, counted, seen
from unsmash.report.picture_parts import Plot, Trainings
from unsmash.report.words import bare, spell, whole

FALLING = 0.02
"""Share of its loss that a training gained in the last pass, above which it had not levelled off"""


def trainings(evidence: Evidence) -> Trainings | None:
    """One plot a training of two passes or more; None without any."""
    run = evidence.run
    curves = [curve for curve in run.curves if len(_points(curve, "train")) > 1 or len(_points(curve, "held")) > 1]
    if not curves:
        return None
    seed = f" Seed {run.seed}, the first of {spell(len(evidence.runs))}." if len(evidence.runs) > 1 else ""
    lede = (
        "Dashed: the loss on the images trained on. Full line: on images held out; no victim is among them."
        " ● marks the weights that were kept, where the least held-out loss chose them. A learning rate that falls to"
        f" nothing levels a curve by itself: a level end is no proof that a longer training finds no more.{seed}"
    )
    return Trainings(_heading(evidence, curves), lede, tuple(_plot(run, curve) for curve in curves))


def _plot(run: Run, curve: Curve) -> Plot:
    best = curve.best
    kept = best.number if best is not None and curve.selects else None
    title, loss = _title(run, curve), curve.loss[:1].upper() + curve.loss[1:]
    return Plot(title, _finding(curve), loss, _points(curve, "train"), _points(curve, "held"), kept)


def _points(curve: Curve, which: str) -> tuple[tuple[int, float], ...]:
    values = [(row.number, row.train if which == "train" else row.held) for row in curve.rows]
    return tuple((number, value) for number, value in values if value is not None)


def _title(run: Run, curve: Curve) -> str:
    if curve.name == TARGET:
        return "The audited network"
    result = _result(run, curve)
    if result is None:
        return curve.name
    threat = next((threat for threat in run.threats if threat.name == result.threat), None)
    what = f", its {curve.stage}" if curve.stage not in (result.kind, "decoder") else ""
    return f"{result.title}{what}{f', {seen(threat)}' if threat else ''}"


def _result(run: Run, curve: Curve) -> Result | None:
    return next((result for result in run.results if result.name == curve.name), None)


def _finding(curve: Curve) -> str:
    """First and last losses in words, and what they tell of the end."""
    train, held, best = _points(curve, "train"), _points(curve, "held"), curve.best
    passes = whole(curve.rows[-1].number)
    if not held or best is None or best.held is None:
        return f"On the images trained on {train[-1][1]:.3g} after {passes} passes; none were held out."
    start = "before the first pass" if held[0][0] == 0 else f"after pass {held[0][0]}"
    text = f"On held-out images {held[0][1]:.3g} {start}, {held[-1][1]:.3g} after {passes}"
    text += f", {train[-1][1]:.3g} on those trained on." if train else "."
    if falling(curve):
        return f"{text} Still falling at the end."
    if best.number != held[-1][0]:
        text += f" Least after pass {best.number}: {best.held:.3g}."
        text += " Those weights attack." if curve.selects else ""
    return text


def falling(curve: Curve) -> bool:
    """The loss on held-out images, else on the others, fell in the last pass by more than two per cent."""
    points = _points(curve, "held") or _points(curve, "train")
    if len(points) < 2 or points[-2][1] <= 0:
        return False
    return points[-1][1] < (1 - FALLING) * min(loss for _, loss in points[:-1])


def _heading(evidence: Evidence, curves: list[Curve]) -> str:
    attacks = [curve for curve in curves if curve.name != TARGET and _counts(evidence, curve)]
    early = [curve for curve in attacks if falling(curve)]
    if not attacks:
        return "How the training went, pass by pass"
    if early:
        one = len(early) == 1
        many = f"{spell(len(early)).capitalize()} attack{'' if one else 's'} {'was' if one else 'were'} still improving"
        return f"{many} when {'its' if one else 'their'} training ended: longer ones may find more"
    return (
        f"{'The attack' if len(attacks) == 1 else 'Each attack'} gained no more than {bare(FALLING)} in its last pass"
    )


def _counts(evidence: Evidence, curve: Curve) -> bool:
    """A counted attack that is not kept as published: of those the training is what it was."""
    result = _result(evidence.run, curve)
    return result is not None and counted(result) and not result.card.exhibit
