"""What the first audit must reach, measured: `python benchmarks/first_audit.py [default|conv|affine|faces]…`.

Figures are exact for a machine kind; wall times on a shared machine are not, so speed is claimed only as a ratio of two
attacks that were run interleaved in this process. `faces` needs the `lfw` set under UNSMASH_DATA or the user's cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPEATS = 3


def main(chosen: list[str]) -> int:
    """Run the chosen parts (all without a choice) and print a line for each target; 1 when one is missed."""
    parts = {"default": default, "conv": conv, "affine": affine, "faces": faces}
    missed = 0
    for name in chosen or parts:
        for what, measured, target, fine in parts[name]():
            missed += not fine
            print(f"{'ok  ' if fine else 'MISS'}  {name:<8} {what:<44} {measured:>12}   target {target}", flush=True)
    return 1 if missed else 0


Line = tuple[str, str, str, bool]


def audit(*flags: str) -> tuple[dict[str, Any], float]:
    """Run the command in a process of its own; its document and the wall time, start and report included."""
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        command = [sys.executable, "-m", "unsmash.cli", "audit", "--json", "--out", out, *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        took = time.perf_counter() - start
        document = json.loads(done.stdout)
        document["stages"] = json.loads((Path(out) / document["id"] / "run.json").read_text())["seconds"]
    return document, took


def default() -> list[Line]:
    """The command with no arguments."""
    found, took = audit()
    ridge, decoder = found["attacks"]["ridge"], found["attacks"]["decoder"]
    blank = found["floors"]["mean_image"]["ssim"]
    return [
        at_least("accuracy", found["accuracy"], 0.95),
        at_least("ridge, identification", ridge["identification"], 0.93),
        at_most("ridge, seconds", found["stages"]["ridge"], 1.0),
        at_least("decoder, SSIM", decoder["ssim"], 0.82),
        at_least("decoder, identification", decoder["identification"], 0.96),
        at_least("candidate list, identification", found["gallery_identification"], 1.0),
        ("mean image, SSIM", f"{blank:.3f}", "near 0.11", abs(blank - 0.11) < 0.02),
        at_most("whole command, seconds", took, 60.0),
    ]


def conv() -> list[Line]:
    """The convolutional cut of the same network."""
    found, _ = audit("--at", "pool")
    decoder = found["attacks"]["decoder"]
    return [at_least("decoder, PSNR dB", decoder["psnr"], 28.5), at_least("decoder, SSIM", decoder["ssim"], 0.98)]


def affine() -> list[Line]:
    """Our decoder against the published one, interleaved on one victim; the least favourable repeat counts."""
    from unsmash.attacks.affine_decoder import AffineDecoder
    from unsmash.attacks.decoder import Decoder
    from unsmash.data.base import data_root
    from unsmash.experiment import study
    from unsmash.lab import Lab
    from unsmash.metrics.images import ssim
    from unsmash.threat import Threat
    from unsmash.victim import prepare
    from unsmash.view import make_scene, observe

    experiment, lab = study({}).experiment, Lab()
    splits = experiment.data.load(data_root(None))
    victim = prepare(experiment, splits, lab, None)
    scene = make_scene(
        splits.victims.pixels, splits.victims.labels, splits.shadow.pixels, splits.shadow.labels, 10, lab.at("scene")
    )
    view = observe(victim.model, scene, Threat(), lab)
    gains, ratios = [], []
    for repeat in range(REPEATS):
        times, quality = {}, {}
        for attack in (Decoder(), AffineDecoder()):
            start = time.perf_counter()
            guess = attack.run(view, Lab(seed=repeat)).clamp(0, 1)
            times[attack.kind] = time.perf_counter() - start
            quality[attack.kind] = ssim(scene.victims, guess).mean().item()
        gains.append(quality["decoder"] - quality["affine_decoder"])
        ratios.append(times["decoder"] / times["affine_decoder"])
    return [
        at_least(f"SSIM gained, least of {REPEATS}", min(gains), 0.15),
        at_most(f"time against the published one, most of {REPEATS}", max(ratios), 1.0),
    ]


def faces() -> list[Line]:
    """Faces in colour, cut early and late."""
    early, _ = audit("--data", "lfw", "--at", "block1")
    late, _ = audit("--data", "lfw", "--at", "block4")
    first, last = early["attacks"]["decoder"], late["attacks"]["decoder"]
    return [
        at_least("cut early, decoder, SSIM", first["ssim"], 0.8),
        at_least("cut early, identification", first["identification"], 0.9),
        ("cut late, decoder, SSIM", f"{last['ssim']:.3f}", "below early", last["ssim"] < first["ssim"]),
        ("cut late, identification", f"{last['identification']:.3f}", "shown", True),
    ]


def at_least(what: str, value: float, target: float) -> Line:
    """A line whose figure must reach the target."""
    return what, f"{value:.3f}", f"≥ {target:g}", value >= target


def at_most(what: str, value: float, target: float) -> Line:
    """A line whose figure must not exceed the target."""
    return what, f"{value:.3f}", f"≤ {target:g}", value <= target


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
