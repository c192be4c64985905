"""unsmash: what a split neural network's smashed data gives away, and what it costs to stop it.

`unsmash.audit(...)` is the main job, `unsmash.sweep(...)` does it for many settings and compares them,
`unsmash.scan(...)` ranks the places where a network can be cut,
`unsmash.advise(...)` searches the cheapest defence that meets a budget;
`unsmash.split.cut(model, at, example)` cuts any torch model in two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unsmash.advising import Advised as Advised
    from unsmash.advising import advise as advise
    from unsmash.auditing import Audit as Audit
    from unsmash.auditing import audit as audit
    from unsmash.scanning import Scanned as Scanned
    from unsmash.scanning import scan as scan
    from unsmash.sweeping import Sweep as Sweep
    from unsmash.sweeping import sweep as sweep

__version__ = "0.1.0"
__all__ = ["Advised", "Audit", "Scanned", "Sweep", "__version__", "advise", "audit", "scan", "sweep"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only those who ask for the main jobs pay for it
    if name in ("audit", "Audit"):
        from unsmash import auditing

        return getattr(auditing, name)
    if name in ("sweep", "Sweep"):
        from unsmash import sweeping

        return getattr(sweeping, name)
    if name in ("scan", "Scanned"):
        from unsmash import scanning

        return getattr(scanning, name)
    if name in ("advise", "Advised"):
        from unsmash import advising

        return getattr(advising, name)
    raise AttributeError(f"module 'unsmash' has no attribute {name!r}")
