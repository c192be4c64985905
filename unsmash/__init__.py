"""unsmash: what a split neural network's smashed data gives away, and what it costs to stop it.

`unsmash.audit(...)` is the main job; `unsmash.split.cut(model, at, example)` cuts any torch model in two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unsmash.auditing import Audit as Audit
    from unsmash.auditing import audit as audit

__version__ = "0.1.0"
__all__ = ["Audit", "__version__", "audit"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only those who ask for the main job pay for it
    if name in ("audit", "Audit"):
        from unsmash import auditing

        return getattr(auditing, name)
    raise AttributeError(f"module 'unsmash' has no attribute {name!r}")
