"""What is said of NoPeekNN's reproduction: every sentence follows the figures of the run it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unsmash.attacks.affine_decoder import AffineDecoder
from unsmash.reproductions.measures import Kept
from unsmash.reproductions.nopeeknn_target import Target
from unsmash.reproductions.workbench import Made

TARGET = (
    "Put right: the loss is taken of logits, not of a softmax that it softens again; images come in random order; the "
    "weights are those of the pass that did best on training images held out, not on the test images whose accuracy "
    "is told; NoPeek's penalty is the unbiased distance correlation, which is near 0 for what is independent.",
    "DCorr is a mean over batches of the training's size on the victims, since the field's form grows as batches "
    "shrink; beside it stands what the same batches give when every image is paired with the next one's message.",
)
ATTACK = (
    "As published, EMNIST's letters are taken as they lie in the file, rows and columns exchanged, and a stand-in is "
    "turned likewise; put right, they stand upright.",
    "The published decoder has no nonlinearity: it is one affine map, so ridge regression, its best in closed form, "
    "and a decoder with nonlinearities are shown on the same images.",
)
PROTECTION = (
    "The adversary's images stand upright throughout; ours and put right differ in how the target was trained.",
)
LEFT_OUT = (
    "The first branch's workers (PySyft 0.2's VirtualWorker) are not used: device and server are two parties here, "
    "each with a half and an optimiser of its own, and exchange releases, labels and gradients only.",
)


BATCH = AffineDecoder.model_fields["batch"].default
"""Images a step of the published decoder"""


@dataclass(frozen=True)
class Heard:
    """What was measured."""

    weight: float
    few: int
    many: int
    passes: int
    """Of the published decoder over the adversary's images"""
    victims: int
    told: str
    """What the adversary's images are"""
    targets: Mapping[tuple[float, bool], Target]
    """By NoPeek's weight, and whether the training was put right"""
    made: Mapping[tuple[str, int], Made]
    """By attack and number of images"""
    behind: Mapping[tuple[float, bool], Mapping[str, Kept]]

    def hit(self, attack: str, count: int) -> tuple[float, float, float]:
        """Identification: share, and the ends of its interval."""
        share, low, high, _ = self.made[attack, count].figures["identification"]
        return share, low, high


def headline(heard: Heard) -> str:
    """The finding."""
    few = {name: heard.hit(name, heard.few) for name in ("published", "ridge", "decoder")}
    best = max("ridge", "decoder", key=lambda name: few[name][0])
    named = {"ridge": "ridge regression", "decoder": "a residual decoder"}[best]
    return (
        f"With {heard.few:,} {heard.told} {named} identifies **{few[best][0]:.1%}** of {heard.victims} digits behind "
        f"NoPeek {heard.weight:g}; the published attacker identifies {few['published'][0]:.1%}."
    )


def findings(heard: Heard) -> tuple[str, ...]:
    """A sentence for each fault and each claim."""
    said = (protection, steps, attacker, nopeek, selection, dependence, shared)
    return tuple(sentence(heard) for sentence in said)


def protection(heard: Heard) -> str:
    """Published: protects against 500 images, not against 5,000."""
    label = heard.targets[heard.weight, False].figures["label_only"][0]
    few, many = (
        max((heard.hit(name, count) for name in ("published", "upright", "ridge", "decoder")), key=lambda hit: hit[0])
        for count in (heard.few, heard.many)
    )
    claim = (
        "does not hold for the first number" if few[1] > label
        else "is not contradicted" if many[1] > label
        else "does not hold for the second number"
    )  # fmt: skip
    return (
        f"The conclusion that NoPeek protects against {heard.few:,} images and not against {heard.many:,} {claim}: the "
        f"strongest attack identifies {few[0]:.1%} with {heard.few:,} and {many[0]:.1%} with {heard.many:,}, where the "
        f"label alone would identify {label:.1%}."
    )


def longer(passes: int, few: int, many: int) -> int:
    """Passes over the few images in which the published decoder takes as many steps as over the many."""
    return max(1, round(passes * -(-many // BATCH) / -(-few // BATCH)))


def steps(heard: Heard) -> str:
    """The published decoder took ten times as many steps with ten times as many images."""
    taken = [heard.passes * -(-count // BATCH) for count in (heard.few, heard.many)]
    short, long, more = (
        heard.hit(*key)[0] for key in (("published", heard.few), ("longer", heard.few), ("published", heard.many))
    )
    nearer = abs(more - long) < abs(long - short)
    reason = "length of the training" if nearer else "number of images"
    return (
        f"With {heard.few:,} images the published decoder takes {taken[0]} steps, with {heard.many:,} {taken[1]}; it "
        f"identifies {short:.1%} and {more:.1%}. After {taken[1]} steps on the {heard.few:,} it identifies {long:.1%}: "
        f"most of the difference is the {reason}."
    )


def attacker(heard: Heard) -> str:
    """The affine decoder against the best affine map."""
    told = []
    for count in (heard.few, heard.many):
        affine, ridge = (heard.made[name, count].figures["mse"][0] for name in ("upright", "ridge"))
        relation = "above" if affine > ridge else "below"
        told.append(f"{affine:.4f} with {count:,} images, {relation} ridge regression's {ridge:.4f}")
    return (
        f"The published decoder is an affine map; on the same upright images its squared error is {' and '.join(told)}."
    )


def nopeek(heard: Heard) -> str:
    """What NoPeek takes away."""
    without, with_it = (heard.behind[weight, False]["ridge_few"]["identification"] for weight in (0.0, heard.weight))
    apart = with_it[2] < without[1] or without[2] < with_it[1]
    verdict = "beyond chance" if apart else "within what chance allows"
    return (
        f"Ridge regression with {heard.few:,} images identifies {without[0]:.1%} without NoPeek and {with_it[0]:.1%} "
        f"behind it: the difference is {verdict}."
    )


def selection(heard: Heard) -> str:
    """The weights were chosen on the images whose accuracy is told."""
    at = heard.targets[heard.weight, False]
    right = heard.targets[heard.weight, True]
    last = len(at.passes)
    return (
        f"The weights were kept by their accuracy on test images, the reported ones among them: pass {at.best} of "
        f"{last}, {at.figures['accuracy'][0]:.2%}. Chosen on held-out training images, with one softmax, shuffled and "
        f"with the unbiased penalty, the same weight of NoPeek reaches {right.figures['accuracy'][0]:.2%} on test "
        "images that no choice saw."
    )


def dependence(heard: Heard) -> str:
    """The field's distance correlation."""
    at = heard.targets[heard.weight, False]
    figures = at.figures
    paid, none, unbiased = (figures[name][0] for name in ("compat", "compat_unpaired", "unbiased"))
    return (
        f"The published DCorr of images and messages is {paid:.3f} in batches of {at.plan.batch}, "
        f"but {none:.3f} of it is there when every image is paired with another's message; the unbiased distance "
        f"correlation is {unbiased:.3f}."
    )


def shared(heard: Heard) -> str:
    """Whether victims stand in the adversary's images."""
    count = max(one.figures["shared"] for one in heard.made.values())
    return (
        f"No victim stands among the adversary's images, compared pixel by pixel ({heard.victims} victims)."
        if count == 0
        else f"{count} of {heard.victims} victims stand among the adversary's images to the last bit."
    )
