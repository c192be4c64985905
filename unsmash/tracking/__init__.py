"""Runs shown in trackers that a team already has: MLflow and TensorBoard. The folder of runs stays the truth.

A tracker is a mirror. It is fed from stored records, never from live objects, so it can be fed again: what it missed
goes there the next time, and what it has is left as it is. That it cannot be reached is a warning, never a failure.
Knows no torch.
"""

from unsmash.tracking.mirror import Mirror, opened

__all__ = ["Mirror", "opened"]
