"""What dpsnn's figures say, sentence by sentence; every number and every turn of phrase follows what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unsmash.reproductions.dpsnn_attacks import REPEATS
from unsmash.reproductions.dpsnn_names import Classifier
from unsmash.reproductions.dpsnn_tables import Results, fixed
from unsmash.reproductions.workbench import Made

PLAIN = Classifier(0, 0)
NUMBERS = 500
"""Numbers that cross the cut, each in [-1, 1]"""


def headline(found: Results) -> str:
    """The finding in one sentence."""
    cell = _noisy(found)
    if cell is None:
        shares = [100 * told["val"][0] for told in found.models.values()]
        return (
            f"{len(shares)} networks reach **{min(shares):.1f} to {max(shares):.1f} %** on the published test images."
        )
    made, n = found.attacks[cell], found.candidates
    return (
        f"With noise {cell.noise:g} the published attack names **{_share(made, 'clean')}** of {n} images, from "
        f"activations that nobody sends; from what is sent the same decoder names **{_share(made, 'sent')}**, ridge "
        f"regression {_share(made, 'ridge')} and a residual decoder {_share(made, 'decoder')}."
    )


def findings(found: Results) -> Iterator[str]:
    """One sentence for each fault that was put right."""
    cell = _noisy(found)
    if cell is not None:
        yield from _noise(found, cell)
    yield from _dependence(found)
    yield from _nopeek(found)
    yield _selection(found)
    if PLAIN in found.attacks and found.floors is not None:
        yield _validators(found)
    yield from _notebooks(found)
    yield from _letters(found)


def _noise(found: Results, cell: Classifier) -> Iterator[str]:
    made = found.attacks[cell]
    clean, sent, shown = (made.figures[name] for name in ("clean", "sent", "shown"))
    base = ""
    if PLAIN in found.attacks:
        plain = found.attacks[PLAIN].figures["clean"]
        base = f" (without noise {_per(plain, 'recognised')}, DCorr {plain['dcorr'][0]:.3f})"
    yield (
        f"The noise is never attacked: with scale {cell.noise:g} the published way reads "
        f"{_per(clean, 'recognised')} of the reconstructions rightly at DCorr {clean['dcorr'][0]:.3f}{base}; the same "
        f"decoder trained and scored on what is sent has {_per(sent, 'recognised')} and {sent['dcorr'][0]:.3f}."
    )
    yield (
        "Its figures show another attacker, which learned without noise and is given noise: that one identifies "
        f"{_per(shown, 'identified')}, one that learned from what is sent {_per(sent, 'identified')}"
        + adaptive(sent["identified"], shown["identified"])
    )
    single, many = made.figures["ridge"]["identified"], made.figures["repeats"]["identified"]
    yield (
        f"One message tells ridge {100 * single[0]:.1f} % of {single[3]} images, {REPEATS} messages of the same image "
        f"{100 * many[0]:.1f} %" + (": fresh noise averages out." if clearly(many, single) else ".")
    )
    yield (
        f"No ε is given with the noise: {NUMBERS} numbers in [−1, 1] and scale {cell.noise:g} make "
        f"ε = {2 / cell.noise:g} for each and {2 * NUMBERS / cell.noise:,.0f} for a message."
    )


def _dependence(found: Results) -> Iterator[str]:
    """The batch that DCorr was taken over, and what it sees."""
    for cell in (Classifier(0, 0.1), Classifier(0, 0.5), *found.models):
        if cell in found.models and cell.nopeek:
            told = found.models[cell]
            base = ""
            if PLAIN in found.models:
                base = f", of the undefended one {found.models[PLAIN]['at_128'][0]:.3f} in batches of 128"
            yield (
                f"DCorr moves with the batch: with {cell.title} it is {told['val_dcorr'][0]:.3f} in the batches of "
                f"that training and {told['at_128'][0]:.3f} in batches of 128{base}; bias-corrected it is "
                f"{told['unbiased_clean']:.3f}, of what is sent {told['unbiased']:.3f}."
            )
            return


def _nopeek(found: Results) -> Iterator[str]:
    """What the strongest NoPeek without noise does to the reconstructions, beside the undefended network."""
    cells = [cell for cell in found.attacks if cell.nopeek and not cell.noise]
    if not cells or PLAIN not in found.attacks:
        return
    cell = max(cells, key=lambda one: one.nopeek)
    mine, plain = found.attacks[cell].figures, found.attacks[PLAIN].figures
    more = clearly(mine["clean"]["recognised"], plain["clean"]["recognised"])
    less = clearly(plain["clean"]["recognised"], mine["clean"]["recognised"])
    turn = "and raises" if more else "and lowers" if less else "and hardly moves"
    yield (
        f"NoPeek {cell.nopeek:g} takes the DCorr of the reconstructions from {plain['clean']['dcorr'][0]:.3f} to "
        f"{mine['clean']['dcorr'][0]:.3f} {turn} the share read rightly ({_per(plain['clean'], 'recognised')} without "
        f"it, {_per(mine['clean'], 'recognised')} with it); the strongest attack identifies "
        f"{_best(found.attacks[cell])} of {found.candidates} images ({_best(found.attacks[PLAIN])} without it)."
    )


def _selection(found: Results) -> str:
    gaps = [100 * (told["val"][0] - told["test"][0]) for told in found.models.values()]
    mean = sum(gaps) / len(gaps)
    side = "above" if mean >= 0 else "below"
    networks = "the network" if len(gaps) == 1 else f"{len(gaps)} networks"
    return (
        f"The best pass is chosen by the images whose accuracy is published: for {networks} that is {abs(mean):.2f} "
        f"points {side} the accuracy on images that nothing was chosen by, from the second half of the test file; the "
        "halves may differ in difficulty too."
    )


def _validators(found: Results) -> str:
    assert found.floors is not None
    true, mine = found.floors.figures["true"], found.attacks[PLAIN].figures["clean"]
    twins = found.floors.figures["twins"]
    return (
        f"The published validator is trained on the target's own images and reads {_per(mine, 'recognised')} of the "
        f"undefended network's reconstructions and {_per(true, 'recognised')} of the true images; one with images of "
        f"its own reads {_per(mine, 'recognised_apart')} and {_per(true, 'recognised_apart')}. {twins} of "
        f"{mine['recognised'][3]:,} scored images stand in another set too."
    )


def _notebooks(found: Results) -> Iterator[str]:
    if PLAIN in found.models:
        told = found.models[PLAIN]
        yield (
            f"The notebooks' accuracies are of training images: for the undefended network {_per(told, 'train_half')}, "
            f"where test images that nothing was chosen by give {_per(told, 'test')}."
        )


def _letters(found: Results) -> Iterator[str]:
    if found.letters:
        lying, upright = (found.letters[name].figures["clean"] for name in ("lying", "upright"))
        yield (
            f"An attacker with letters in place of digits identifies {_per(lying, 'identified')} of the digits from "
            f"letters as they lie in EMNIST, transposed, and {_per(upright, 'identified')} from upright ones."
        )


def adaptive(learned: list[float], naive: list[float]) -> str:
    """How a sentence ends on an attacker that learned from noise and one that did not: shares as in `clearly`."""
    if clearly(learned, naive):
        return ": the figures flatter the defence."
    if clearly(naive, learned):
        return ": learning from noise does not make this decoder name more images."
    return ": no clear difference."


def clearly(more: list[float], less: list[float]) -> bool:
    """True when two intervals [mean, low, high, n] lie apart, the first above."""
    return more[1] > less[2]


def _noisy(found: Results) -> Classifier | None:
    """The attacked network of noise alone with scale 1, else with the most noise; None where there is none."""
    cells = [cell for cell in found.attacks if cell.noise and not cell.nopeek]
    return min(cells, key=lambda cell: (cell.noise != 1, -cell.noise), default=None)


def _best(made: Made) -> str:
    """The largest share of images identified from one message of what is sent."""
    shares = {name: fixed(made) if name == "sent" else made.figures[name] for name in ("sent", "ridge", "decoder")}
    return _per(max(shares.values(), key=lambda told: told["identified"][0]), "identified")


def _share(made: Made, name: str) -> str:
    told = fixed(made) if name == "sent" else made.figures[name]
    return _per(told, "identified")


def _per(told: dict[str, Any], name: str) -> str:
    return f"{100 * told[name][0]:.1f} %"
