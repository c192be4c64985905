"""The file names of dpsnn's checkpoints, read and written so that a number comes back as it went in.

Its scripts write a number as Python prints it and take the point away: in `mnist_05noise_10nopeek_epoch=07` the scale
is 0.5 and the weight 1.0, not 10; `100` is 10.0, and `005` is 0.05. Digits that stand for exactly one number are read
as it. Those that can stand for two, such as `125` for 1.25 and 12.5, are refused, and such numbers are written with
their point. The rerun of 2024 has names of another form, with points: `noise0.1_peek0.2`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from unsmash.errors import ConfigError

SUFFIX = ".ckpt"
VALIDATION = "attack_validation_"
"""How the names of classifiers begin that were trained to judge reconstructions"""

NUMBER = r"[0-9][0-9.]*(?:e[+-]?[0-9]+)?"
CLASSIFIER = re.compile(
    rf"(?P<saveas>.+)_(?P<noise>{NUMBER})noise_(?P<nopeek>{NUMBER})nopeek(?:_epoch=(?P<epoch>[0-9]+))?"
)
RERUN = re.compile(rf"noise(?P<noise>{NUMBER})_peek(?P<nopeek>{NUMBER})(?:_[0-9]+)?")
ATTACKER = re.compile(
    rf"(?P<saveas>.+?)_(?:(?P<share>{NUMBER})datapct_)?model<(?P<of>[^<>]+?)>?(?:_set(?P<noise>{NUMBER})noise)?"
)
FORMS = "mnist_<noise>noise_<weight>nopeek_epoch=<XX>.ckpt, or noise<scale>_peek<weight>.ckpt"
ATTACKER_FORMS = "<saveas>_[<share>datapct_]model<CLASSIFIER>[_set<noise>noise].ckpt"


@dataclass(frozen=True)
class Classifier:
    """A trained split network: its defences, and what else its file name tells."""

    noise: float
    """Scale of the Laplace noise it was trained with"""
    nopeek: float
    """Weight of the distance correlation in its loss"""
    epoch: int | None = None
    """The pass, counted from 0, after which it did best"""
    saveas: str = "mnist"
    validation: bool = False
    """It was trained to judge reconstructions"""

    @property
    def title(self) -> str:
        """Its defences in words; None of the rest."""
        return f"noise {self.noise:g}, NoPeek {self.nopeek:g}"

    @property
    def name(self) -> str:
        """The published form, without the suffix; `read_classifier` gives the same back.

        >>> Classifier(0.5, 0.05, epoch=4).name
        'mnist_05noise_005nopeek_epoch=04'
        >>> Classifier(1.25, 10.0).name
        'mnist_1.25noise_100nopeek'
        """
        begin = VALIDATION if self.validation else ""
        end = "" if self.epoch is None else f"_epoch={self.epoch:02d}"
        return f"{begin}{self.saveas}_{written(self.noise)}noise_{written(self.nopeek)}nopeek{end}"


@dataclass(frozen=True)
class Attacker:
    """A trained decoder: the classifier it inverts, and what its file name tells of its training."""

    of: Classifier
    share: float | None = None
    """Share of the 5,000 images it was trained on; None: all"""
    noise: float | None = None
    """Scale that the classifier's noise was set to afterwards; None: left as it was trained"""
    saveas: str = "mnist_attacker"

    @property
    def name(self) -> str:
        """The published form, without the suffix; the classifier's pass is left out, as there."""
        root = Classifier(self.of.noise, self.of.nopeek, None, self.of.saveas, self.of.validation).name
        share = "" if self.share is None else f"{written(self.share)}datapct_"
        noise = "" if self.noise is None else f"_set{written(self.noise)}noise"
        return f"{self.saveas}_{share}model<{root}>{noise}"


def readings(text: str) -> tuple[float, ...]:
    """Every number that Python prints as this text once its point is taken away, the smallest first.

    >>> readings("10"), readings("005"), readings("125"), readings("012")
    ((1.0,), (0.05,), (1.25, 12.5), (0.12,))
    """
    whole = [text] if "e" in text else []
    pointed = [f"{text[:place]}.{text[place:]}" for place in range(1, len(text))]
    return tuple(sorted(float(one) for one in whole + pointed if _prints(one)))


def written(number: float) -> str:
    """The number without its point where that reads as this number alone; with it elsewhere."""
    plain = repr(float(number))
    packed = plain.replace(".", "")
    return packed if readings(packed) == (number,) else plain


def read_classifier(name: str) -> Classifier:
    """What a classifier's file name says.

    Raises:
        ConfigError: it has another form, or digits that can be two numbers.
    """
    stem = name.removesuffix(SUFFIX)
    if (found := CLASSIFIER.fullmatch(stem)) is not None:
        saveas, epoch = found["saveas"], found["epoch"]
        return Classifier(
            _number(found["noise"], name), _number(found["nopeek"], name), None if epoch is None else int(epoch),
            saveas.removeprefix(VALIDATION), saveas.startswith(VALIDATION),
        )  # fmt: skip
    if (found := RERUN.fullmatch(stem)) is not None:
        return Classifier(_pointed(found["noise"], name), _pointed(found["nopeek"], name))
    raise ConfigError("checkpoint", got=name, allowed=FORMS)


def read_attacker(name: str) -> Attacker:
    """What a decoder's file name says. Some published ones lack the second bracket.

    Raises:
        ConfigError: it has another form, or digits that can be two numbers.
    """
    found = ATTACKER.fullmatch(name.removesuffix(SUFFIX))
    if found is None:
        raise ConfigError("checkpoint", got=name, allowed=ATTACKER_FORMS)
    share, noise = found["share"], found["noise"]
    return Attacker(
        read_classifier(found["of"]),
        None if share is None else _number(share, name),
        None if noise is None else _number(noise, name),
        found["saveas"],
    )


def _number(text: str, name: str) -> float:
    """The one number that this text stands for."""
    if "." in text:
        return _pointed(text, name)
    found = readings(text)
    if len(found) == 1:
        return found[0]
    hint = f"Write the number with its point, such as {found[0]:g}" if found else "Write 1.0 as 10 or as 1.0"
    could = " or ".join(f"{one:g}" for one in found) if found else "no number whose point was taken away"
    raise ConfigError("checkpoint", got=name, allowed=f"digits that are one number; {text!r} is {could}", hint=hint)


def _pointed(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError("checkpoint", got=name, allowed=f"one point in a number; {text!r} has more") from None


def _prints(text: str) -> bool:
    try:
        return repr(float(text)) == text
    except ValueError:
        return False
