"""Every attack where it must succeed: `python benchmarks/strength.py [attack]…`.

The default audit's network, cut at its first learned layer and undefended, attacked by each input attack at its default
settings. A strength card is green where the share identified reaches what the attack promises; published decoders
promise nothing. Prints a line for each, with processor seconds; exit 1 when one that promises falls short.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from unsmash.attacks.base import Attack
from unsmash.component import discover
from unsmash.controls import Control
from unsmash.experiment import study
from unsmash.lab import Lab
from unsmash.rehearsal import Rehearsal
from unsmash.threat import Secret
from unsmash.victim import prepare
from unsmash.view import make_scene

VICTIMS = 256


def main(chosen: list[str]) -> int:
    """A line for each attack; 1 when a promise is broken."""
    kinds = discover("unsmash.attacks", Attack)
    rows = [cls for cls in kinds.values() if (cls.role, cls.secret) == ("attack", Secret.INPUTS)]
    lab = Lab()
    one = study({"data": {"kind": "mnist5k", "victims": VICTIMS}}).experiment
    splits = one.data.load(Path())
    victim = prepare(one, splits, lab, None)
    victims, shadow = splits.victims, splits.shadow
    scene = make_scene(victims.pixels, victims.labels, shadow.pixels, shadow.labels, len(splits.classes), lab)
    control = Control(victim, scene, Rehearsal(one, splits, lab), lab)
    print(f"{control.model.at}: {VICTIMS} victims, chance {1 / VICTIMS:.1%}")
    broken = 0
    for cls in rows:
        if chosen and cls.model_fields["kind"].default not in chosen:
            continue
        attack, start = cls(), time.process_time()  # type: ignore[call-arg]
        result = control.run(attack, attack.kind)
        seconds = time.process_time() - start
        share = None if result.failure else result.scores["identification"].mean
        fine = share is not None and (share >= attack.control_share or attack.exhibit)
        broken += not fine
        asked = "exhibit" if attack.exhibit else f"asked {attack.control_share:.0%}"
        got = result.failure if share is None else f"{share:.1%}, SSIM {result.scores['ssim'].mean:.3f}"
        print(f"{'ok  ' if fine else 'WEAK'}  {attack.kind:<18} {got:<24} {asked:<12} {seconds:6.1f} s", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
