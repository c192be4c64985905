"""What the Omniglot reproduction found, in sentences that follow its figures."""

from __future__ import annotations

from unsmash.report.words import decimal, listed, percent
from unsmash.reproductions.omniglot_tables import ALIKE, ATTACKS, PUBLISHED, RIGHT, START, Measured
from unsmash.reproductions.record import Measure

MORE, LESS, SAME = "more than", "less than", "no more and no less, within the intervals, than"


def headline(got: Measured) -> str:
    """One sentence."""
    kind = strongest(got, RIGHT)
    clean = got.score(RIGHT, kind, "clean", "identified")
    return (
        f"From 32 numbers, letters of alphabets that the attacker never saw are identified among {got.candidates:,} in "
        f"**{_percent(clean.value)}** of cases (chance {_percent(got.chance)}), and {got.shared['shared']:,} of the "
        f"{got.shared['tests']:,} published test images are images that the published attacker was trained on."
    )


def findings(got: Measured) -> tuple[str, ...]:
    """A sentence or two for each fault."""
    found = [_contaminated(got), _mode(got), _error(got), _weakness(got), _similarity(got), _collapsed(got)]
    if got.epsilons:
        found += [_epsilon(got), _private_accuracy(got), _private_leak(got)]
    return tuple(one for one in found if one)


def _contaminated(got: Measured) -> str:
    shared = got.shared
    which = listed([f"{name} {count:,}" for name, count in shared["alphabets"].items()])
    target = shared["with_target"]
    other = "None" if target == 0 else f"{target:,}"
    looks = [_both(got, "lookalike", part) for part in ("leaked", "clean")]
    lines = [got.score(PUBLISHED, "ridge", part, "identified") for part in ("leaked", "clean")]
    return (
        f"**{shared['shared']:,} of the {shared['tests']:,} test images are the attacker's own**, pixel for pixel "
        f"({which}), though the sets are called disjoint. {other} of either set stands among the target's. The nearest "
        f"look-alike identifies {looks[0]} where the image leaked and {looks[1]} where it did not; ridge "
        f"{_percent(lines[0].value)} and {_percent(lines[1].value)}."
    )


def _both(got: Measured, kind: str, part: str) -> str:
    identified, error = (got.score(PUBLISHED, kind, part, what) for what in ("identified", "mse"))
    return f"{_percent(identified.value)} at an error of {decimal(error.value, 4)}"


def _mode(got: Measured) -> str:
    last = {name: rows[-1] for name, rows in got.passes.items()}
    ours, right = (last[name]["val"] for name in (PUBLISHED, RIGHT))
    known = got.paper.tables["accuracy"].at(**{"pass": last[PUBLISHED]["pass"]})
    published = f" (published: {_percent(known.figures['val'] or 0.0)})" if known and not got.incomparable else ""
    return (
        f"**The published loop never says that it trains**, so nothing is dropped and BatchNorm keeps the statistics "
        f"that it starts with: {_percent(ours[0])} of {ours[3]:,} validation images right after "
        f"{last[PUBLISHED]['pass']} passes{published}. Told so, the same network reaches {_percent(right[0])}."
    )


def _error(got: Measured) -> str:
    errors = got.attacks[PUBLISHED]["omniglot_decoder"].figures["errors"]
    clean = got.score(PUBLISHED, "omniglot_decoder", "clean", "mse")
    mean, code = (got.floor(name, "clean", "mse") for name in ("mean image", "32 principal components"))
    return (
        f"The published decoder ends at an error of {decimal(errors[-1], 4)} **on its own training images**, the only "
        f"kind of figure that was published. On the clean test images it makes {decimal(clean.value, 4)}: "
        f"{_against(clean, mean)} the average image's {decimal(mean.value, 4)}, and {_against(clean, code)} the "
        f"{decimal(code.value, 4)} of 32 principal components, a code that was made for pictures."
    )


def _weakness(got: Measured) -> str:
    scores = {name: got.score(PUBLISHED, kind, "clean", "identified") for kind, name in ATTACKS.items()}
    told = listed([f"{name} {_percent(one.value)}" for name, one in scores.items()])
    ridge, decoder = scores["ridge"], scores["published decoder"]
    return (
        f"Identified of the clean test images, target as published: {told}. The published decoder identifies "
        f"{_against(decoder, ridge)} ridge regression, which is solved in closed form."
    )


def _similarity(got: Measured) -> str:
    blank, ridge = got.floor("blank page", "clean", "ssim"), got.score(PUBLISHED, "ridge", "clean", "ssim")
    seen, named = got.floor("blank page", "clean", "identified"), got.score(PUBLISHED, "ridge", "clean", "identified")
    told = (
        f"a blank page scores {decimal(blank.value, 3)} and identifies {_percent(seen.value)}, ridge scores "
        f"{decimal(ridge.value, 3)} and identifies {_percent(named.value)}"
    )
    wrong = blank.value > ridge.value and _against(named, seen) == MORE
    verdict = "**SSIM ranks guesses the wrong way round on white pages**" if wrong else "SSIM beside identification"
    return f"{verdict}: {told}."


def _collapsed(got: Measured) -> str:
    flat = [name for name, made in got.attacks.items() if made["omniglot_decoder"].figures["collapsed"]]
    if not flat:
        return ""
    return f"The published decoder gave one and the same guess to every image of: {listed(flat)}."


def _epsilon(got: Measured) -> str:
    each = [
        f"at {name}, {decimal(spent['published'], 1)} by the published reckoning, {decimal(spent['poisson'], 1)} for "
        f"the records that were used and Poisson batches, and {decimal(spent['shuffled'], 1)} proven for a shuffle"
        for name, spent in ((name, got.epsilons[noise]) for name, noise in got.private.items())
    ]
    told = "; ".join(each)
    return f"**ε was reckoned for other data and another sampling**: {told}. With BatchNorm as published there is none."


def _private_accuracy(got: Measured) -> str:
    each = []
    for name in (*got.private, ALIKE):
        row = got.standing[name]
        each.append(f"{name} {_percent(row['val'][0])} ({_percent(row['train'][0])} in training)")
    known = [row for row in got.paper.tables["privacy"].rows if row.name in got.private]
    published = listed([f"{_percent(row.figures['train'] or 0.0)} at {row.name}" for row in known])
    before = f" The published accuracies, {published}, are of training images." if published else ""
    return f"Accuracy of ours on validation images: {listed(each)}.{before}"


def _private_leak(got: Measured) -> str:
    def best(name: str) -> Measure:
        return got.score(name, strongest(got, name), "clean", "identified")

    alike, names = best(ALIKE), list(got.private)
    each = listed([f"{_percent(best(name).value)} at {name}" for name in names])
    safe = [name for name in names if (best(name).low or 0.0) <= got.chance]
    verdict = (
        f"No more than chance is identified, within the intervals, at {listed(safe)}"
        if safe
        else "**DP-SGD does not protect the images sent**: more than chance is identified at every noise"
    )
    against = {name: _against(best(name), alike) for name in names}
    sides = {"more": MORE, "less": LESS, "as much, within the intervals,": SAME}
    compared = listed(
        [
            f"{word} at {listed(mine)}"
            for word, side in sides.items()
            if (mine := [name for name in names if against[name] == side])
        ]
    )
    return (
        f"{verdict}. The strongest of four attacks identifies {each} of the clean test images; the target trained "
        f"alike without noise gives {_percent(alike.value)}, so the private ones give {compared}. One that was not "
        f"trained at all gives {_percent(best(START).value)}, the one trained properly {_percent(best(RIGHT).value)}."
    )


def strongest(got: Measured, target: str) -> str:
    """The kind of attack that identifies most of a target's clean test images."""
    return max(ATTACKS, key=lambda kind: got.score(target, kind, "clean", "identified").value)


def _against(one: Measure, other: Measure) -> str:
    """How two figures compare, beyond their intervals or not."""
    low, high, other_low, other_high = (
        end if end is not None else measure.value for measure in (one, other) for end in (measure.low, measure.high)
    )
    if low > other_high:
        return MORE
    return LESS if high < other_low else SAME


def _percent(value: float) -> str:
    return percent(value / 100)
