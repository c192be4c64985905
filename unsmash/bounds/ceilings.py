"""What no attacker can exceed and no useful release can undercut: hit rates among N candidates, each equally likely.

All are proven for any candidates, any attacker and any amount of his data; the accuracy of a mechanism is what a
perfect classifier keeps of its answers.
"""

from __future__ import annotations

import math

from unsmash.bounds.regions import demand


def pure_ceiling(epsilon: float, n: int) -> float:
    """Hit rate that ε-local privacy (δ = 0) allows among N candidates: e^ε/(e^ε + N − 1). Any ε ≥ 0, inf gives 1.

    It bounds more than the average: after any release, no candidate's posterior exceeds it. Randomised response over
    N values reaches it. Proof: every other candidate would send the same release at least e^−ε times as often.
    """
    demand(epsilon >= 0, f"epsilon is {epsilon}, must be ≥ 0")
    _check(n)
    return 1 / (1 + (n - 1) * math.exp(-epsilon))


def gaussian_ceiling(radius_over_sigma: float, n: int) -> float:
    """Hit rate among N of a release in an L2 ball of radius C under N(0, σ²) noise: Φ(Φ⁻¹(1/N) + C/σ).

    The blow-up function of the Gaussian (Hayes, Mahloujifar & Balle 2023) with the ball's centre as the reference:
    the N guesses share one unit of its mass, each gains at most C/σ, and the gain is concave. Two opposite points of
    the sphere reach it for N = 2; for more, `message_ceiling` is mostly lower.
    """
    from scipy.special import ndtr, ndtri

    demand(radius_over_sigma >= 0, f"radius_over_sigma is {radius_over_sigma}, must be ≥ 0")
    _check(n)
    return 1.0 if n == 1 or radius_over_sigma == math.inf else float(ndtr(ndtri(1 / n) + radius_over_sigma))


def message_ceiling(log2_messages: float, n: int) -> float:
    """Hit rate among N of a release with W messages: min(1, W/N), W given as log2 ≥ 0. An average over candidates.

    Proof: (1/N) Σ_i ∫_{z guessed i} p(z|x_i) dz ≤ (1/N) ∫ sup_x p(z|x) dz. It says nothing about one candidate who is
    alone in a cell; `pure_ceiling` does.
    """
    demand(log2_messages >= 0, f"log2_messages is {log2_messages}, must be ≥ 0")
    _check(n)
    return 1.0 if log2_messages >= math.log2(n) else 2**log2_messages / n


def converse(classes: int, class_averaged_accuracy: float, n: int) -> float:
    """Hit rate that a release of this accuracy gives away at least, among N that hold all K classes: K·accuracy/N.

    Proof: read the class off the server, guess any candidate of that class. No release can be as useful and stay
    below. In [0, 1].
    """
    demand(0 <= class_averaged_accuracy <= 1, f"accuracy is {class_averaged_accuracy}, must be in [0, 1]")
    _check(classes)
    _check(n)
    return min(1.0, classes * class_averaged_accuracy / n)


def hull_accuracy(radius_over_sigma: float, classes: int) -> float:
    """Accuracy left when each of K classes is sent as its vertex of the regular simplex of radius C, plus N(0, σ²).

    ∫ φ(t − (C/σ)√(K/(K−1))) Φ(t)^(K−1) dt: the true vertex's score beats K−1 others (orthogonal signalling). That no
    other K points at that radius do better is conjectured (weak simplex conjecture), not proven.
    """
    import numpy as np
    from scipy.special import log_ndtr

    demand(0 <= radius_over_sigma < math.inf, f"radius_over_sigma is {radius_over_sigma}, must be finite and ≥ 0")
    _check(classes)
    if classes == 1:
        return 1.0
    step = 0.02
    t = np.arange(-10, 10, step)
    shift = radius_over_sigma * math.sqrt(classes / (classes - 1))
    # the trapezoid rule is exact to rounding for integrands this smooth that vanish at both ends
    whole = np.exp(-t * t / 2 + (classes - 1) * log_ndtr(t + shift)).sum() * step / math.sqrt(2 * math.pi)
    return min(1.0, float(whole))


def response_accuracy(epsilon: float, classes: int) -> float:
    """Accuracy left when one of K labels is sent by randomised response: e^ε/(e^ε + K − 1).

    No release of that ε does better: it is `pure_ceiling` with the classes for candidates.
    """
    return pure_ceiling(epsilon, classes)


def _check(count: int) -> None:
    demand(count >= 1, f"{count} candidates or classes, must be ≥ 1")
