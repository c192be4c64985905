"""What the course project's experiment comes to, in sentences that follow the figures of the run."""

from __future__ import annotations

from collections.abc import Iterator

from unsmash.reproductions.autoencoder_scores import true_psnr
from unsmash.reproductions.autoencoder_victim import MAPS
from unsmash.reproductions.autoencoder_works import ALL, ALONE, CLIPPED, GREY, MEAN, Figures, Work
from unsmash.reproductions.paper import paper


def best_of(work: Work, depths: tuple[str, ...]) -> str:
    """The decoder that the published formula likes best."""
    return max(depths, key=lambda name: work.scores[name]["formula"].value)


def headline(work: Work, best: str) -> str:
    """The finding."""
    found, grey = work.scores[best], work.floors[GREY]
    return (
        f"By the published formula our best decoder scores **{_psnr(found, 'formula')}** and an all-grey image "
        f"{_psnr(grey, 'formula')}; the same images' PSNR is **{_psnr(found)}** and {_psnr(grey)}."
    )


def findings(work: Work, best: str) -> tuple[str, ...]:
    """What each fault is worth."""
    return (*_formula(work, best), *_drift(work, best), *_repaired(work), *_weak(work, best), *_mitigation(work))


def _formula(work: Work, best: str) -> Iterator[str]:
    clip, mean, found = work.floors[CLIPPED], work.floors[MEAN], work.scores[best]
    published = paper("autoencoder").tables["decoders"].rows[0].figures["psnr"] or 0.0
    yield (
        f"The published {published} dB is {true_psnr(published):.1f} dB on images in [0, 1]. A perfect copy clipped by "
        f"the last ReLU scores {_psnr(clip, 'formula')} by that formula and {_psnr(clip)} truly: no decoder that ends "
        "in it has less squared error."
    )
    yield (
        f"The mean face, which asks no network, scores {_psnr(mean, 'formula')} by the formula, and the best decoder "
        f"({best}) {_psnr(found, 'formula')}; truly {_psnr(mean)} and {_psnr(found)}."
    )


def _drift(work: Work, best: str) -> Iterator[str]:
    before, after = work.bars[ALONE]["head"], work.scores[best]["accuracy"]
    yield (
        "While a decoder is trained the victim's norms are in training mode too, and keep what they gather. Its "
        f"accuracy is {before.value:.1f} % before it and {after.value:.1f} % after ({best}, {after.n} faces)."
    )


def _repaired(work: Work) -> Iterator[str]:
    """What noise and the last ReLU are worth: true figures of trainings that differ in them."""
    score = work.scores
    noisy = next(name for name in score if name.endswith("noise as published"))
    plain = noisy.partition(",")[0]
    pairs = ((plain, f"{plain}, put right", "without noise"), (noisy, f"{plain}, noise put right", "with noise"))
    for fault, right, told in pairs:
        yield (
            f"{plain.capitalize()} {told}: PSNR {_psnr(score[fault])} and {_identified(score[fault])} as published; "
            f"{_psnr(score[right])} and {_identified(score[right])} with the victim left alone, no ReLU at the end and "
            "clean targets."
        )


def _weak(work: Work, best: str) -> Iterator[str]:
    whole, found = work.sent[ALL], work.scores[best]
    strong = max(whole["decoder"].value, whole["ridge"].value)
    told = (
        f"On the same maps the residual decoder identifies {whole['decoder'].value:.1f} % of {whole['decoder'].n} "
        f"faces and ridge regression {whole['ridge'].value:.1f} %; the best published decoder "
        f"{found['identification'].value:.1f} %"
    )
    more = ": what it does not draw is sent all the same" if strong > found["identification"].value else ""
    yield f"{told}{more}."


def _mitigation(work: Work) -> Iterator[str]:
    """What leaving maps out costs and hides, for each way to choose them."""
    whole, alone = work.sent[ALL], work.bars[ALONE]
    for choose in dict.fromkeys(one.choose for one in work.sent if one != ALL):
        fewest = min((one for one in work.sent if one != ALL and one.choose == choose), key=lambda one: one.keep)
        few = work.sent[fewest]
        yield (
            f"Sending {fewest.keep} of {MAPS} maps ({choose}): accuracy {whole['head'].value:.1f} → "
            f"{few['head'].value:.1f} % with a head fitted to them, and the stronger attack identifies "
            f"{_stronger(whole):.1f} → {_stronger(few):.1f} % of {few['decoder'].n} faces; sending the answer only has "
            f"accuracy {alone['head'].value:.1f} % and lets {alone['ridge'].value:.1f} % be named."
        )


def _stronger(figures: Figures) -> float:
    return max(figures["decoder"].value, figures["ridge"].value)


def _psnr(figures: Figures, name: str = "psnr") -> str:
    return f"{figures[name].value:.1f} dB"


def _identified(figures: Figures) -> str:
    return f"{figures['identification'].value:.1f} % identified"
