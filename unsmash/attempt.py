"""One attack, run and scored; its error becomes a failed result, so that the other attacks go on."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from unsmash import scoring
from unsmash.attacks.base import Attack
from unsmash.errors import UnsmashError
from unsmash.events import Event, Fan
from unsmash.lab import Lab
from unsmash.recogniser import Recogniser
from unsmash.records import Result
from unsmash.threat import Secret
from unsmash.view import Scene, View


def attempt(
    attack: Attack,
    name: str,
    view: View,
    scene: Scene,
    eye: Recogniser | None,
    lab: Lab,
    *,
    made: Tensor | None = None,
) -> tuple[Result, Tensor | None]:
    """Run one attack and score it; an error becomes a failed result, and the other attacks go on.

    Gives the guess as it was scored too: images [n, c, h, w] in [0, 1], or of identity attacks log-likelihoods [n, N];
    None where it failed. `made` is the guess where it has been made already: it is scored as if it were made here.
    What the attack told as a note while it ran stays with the result.
    """
    ears = Ears()
    hearing = replace(lab, sink=Fan([lab.sink, ears]))
    result, guess = _attempt(attack, name, view, scene, eye, hearing, made)
    return replace(result, notes=tuple(dict.fromkeys(ears.notes))), guess


class Ears:
    """A sink that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, event: Event) -> None:
        """Keep it if it is one."""
        if event.kind == "note":
            self.notes.append(event.text)


def _attempt(
    attack: Attack, name: str, view: View, scene: Scene, eye: Recogniser | None, lab: Lab, made: Tensor | None
) -> tuple[Result, Tensor | None]:
    try:
        if made is None:
            with lab.seeded(f"attack/{name}"):
                guess = attack.run(view, lab.at(f"attack/{name}"))
        else:
            guess = made
        if not guess.isfinite().all():
            raise UnsmashError("it gave numbers that are not finite")
    except (UnsmashError, RuntimeError, MemoryError) as error:
        told = failure_of(error)
        return Result(name, attack.kind, attack.heading, attack.role, view.threat.name, failure=told), None
    if attack.secret is Secret.IDENTITY:
        exact = _known(view)
        return scoring.score_candidates(attack, name, view.threat.name, guess, scene, exact=exact), guess
    threat = "" if attack.role == "floor" else view.threat.name
    return scoring.score_images(attack, name, threat, guess, scene, eye), guess.float().clamp(0, 1)


def failure_of(error: BaseException) -> str:
    """What a failed result says of its error: one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


def _known(view: View) -> bool:
    """Whether the release's law has a closed form; asked of one release. A burst's has none: frames move by chance."""
    one = tuple(part[:1] for part in view.repeats[0])
    z = tuple(part[:1] for part in view.smash(view.candidates[:1]))
    return view.threat.frames == 1 and view.shield.log_likelihood(one, z) is not None


def say(result: Result) -> str:
    """A result in one line for the console."""
    if result.failure:
        return f"did not finish: {result.failure}"
    identified = result.scores["identification"]
    text = f"identifies {round(identified.mean * identified.n)} of {identified.n}"
    return text + (f", SSIM {result.scores['ssim'].mean:.3f}" if "ssim" in result.scores else "")
