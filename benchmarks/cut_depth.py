"""Deeper cuts give away less, as He, Zhang & Lee (ACSAC 2019) report:
`python benchmarks/cut_depth.py [victims [width [device]]]`.

Their CIFAR-10 network is trained once and cut where they cut it; each cut is attacked by descent on the weights (rMLE)
and by a trained decoder. Printed are SSIM, PSNR and identification beside their figures; the claim is the order of
SSIM, shallow over middle over deep, for both attacks. Their images, their training and,
unless asked for, their width are others: the figures need not agree.
"""

from __future__ import annotations

import sys
import tempfile

import unsmash
from unsmash.records import Result

PUBLISHED = {
    "rmle": {"conv11": (37.59, 0.996), "relu22": (19.47, 0.694), "relu32": (13.38, 0.163)},
    "decoder": {"conv11": (49.02, 0.999), "relu22": (19.36, 0.680), "relu32": (13.95, 0.220)},
}
"""PSNR in dB and SSIM of their tables 3 (white box) and 5 (black box, images of the same distribution)"""


def main(victims: int = 64, width: int = 16, device: str = "cpu") -> int:
    """Print a line for each attack and cut; 1 when an order is not theirs."""
    found: dict[str, list[Result]] = {attack: [] for attack in PUBLISHED}
    with tempfile.TemporaryDirectory() as out:
        for at in PUBLISHED["rmle"]:
            audit = unsmash.audit(
                data=f"cifar10:victims={victims}",
                model="cifar_cnn",
                at=at,
                attacks=list(PUBLISHED),
                out=out,
                device=device,
            )
            run = audit.runs[0]
            if run.utility and run.utility.accuracy and not any(found.values()):
                print(
                    f"accuracy {run.utility.accuracy.mean:.1%} of {run.utility.accuracy.n}, {victims} victims, {device}"
                )
            for attack, rows in found.items():
                rows.append(run.result(attack))
                print(line(attack, at, rows[-1], run.seconds.get(attack, 0.0)), flush=True)
    missed = 0
    for attack, rows in found.items():
        values = [row.scores["ssim"].mean for row in rows]
        fine = values == sorted(values, reverse=True) and len(set(values)) == len(values)
        missed += not fine
        print(f"{'ok  ' if fine else 'MISS'} {attack}: SSIM from cut to cut {', '.join(f'{v:.3f}' for v in values)}")
    return 1 if missed else 0


def line(attack: str, at: str, row: Result, seconds: float) -> str:
    """One attack at one cut, ours beside theirs."""
    ssim, psnr, hits = (row.scores[name] for name in ("ssim", "psnr", "identification"))
    db, published = PUBLISHED[attack][at]
    return (
        f"{attack:<8} {at:<7} SSIM {ssim.mean:.3f} [{ssim.low:.3f}, {ssim.high:.3f}] (theirs {published:.3f})  "
        f"PSNR {psnr.mean:5.2f} dB (theirs {db:.2f})  identifies {hits.mean:.0%} of {hits.n}  {seconds:.0f} s"
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    raise SystemExit(main(*map(int, given[:2]), *given[2:]))
