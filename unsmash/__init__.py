"""unsmash: what a split neural network's smashed data gives away, and what it costs to stop it.

`unsmash.audit(...)` is the main job, `unsmash.sweep(...)` does it for many settings and compares them,
`unsmash.scan(...)` ranks the places where a network can be cut, `unsmash.advise(...)` searches the cheapest defence
that meets a budget; `unsmash.attack(run, …)`, `unsmash.score(run, …)` and `unsmash.challenge(run, …)` go back to a
stored run; `unsmash.reproduce(name)` runs a published experiment again; `unsmash.runs("runs")` is all that was
measured, as a data frame; `unsmash.split.cut(model, at, example)` cuts any torch model in two.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unsmash.advising import Advised as Advised
    from unsmash.advising import advise as advise
    from unsmash.auditing import Audit as Audit
    from unsmash.auditing import audit as audit
    from unsmash.challenging import challenge as challenge
    from unsmash.extending import attack as attack
    from unsmash.reproducing import reproduce as reproduce
    from unsmash.rescoring import Rescored as Rescored
    from unsmash.rescoring import score as score
    from unsmash.scanning import Scanned as Scanned
    from unsmash.scanning import scan as scan
    from unsmash.sweeping import Sweep as Sweep
    from unsmash.sweeping import sweep as sweep
    from unsmash.table import runs as runs

__version__ = "0.1.0"
__all__ = [
    "Advised",
    "Audit",
    "Rescored",
    "Scanned",
    "Sweep",
    "__version__",
    "advise",
    "attack",
    "audit",
    "challenge",
    "reproduce",
    "runs",
    "scan",
    "score",
    "sweep",
]

PLACES = {
    "advise": "advising",
    "Advised": "advising",
    "audit": "auditing",
    "Audit": "auditing",
    "sweep": "sweeping",
    "Sweep": "sweeping",
    "scan": "scanning",
    "Scanned": "scanning",
    "attack": "extending",
    "score": "rescoring",
    "Rescored": "rescoring",
    "challenge": "challenging",
    "reproduce": "reproducing",
    "runs": "table",
}
"""Module of each main job"""


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only those who ask for the main jobs pay for it
    if name in PLACES:
        return getattr(importlib.import_module(f"unsmash.{PLACES[name]}"), name)
    raise AttributeError(f"module 'unsmash' has no attribute {name!r}")
