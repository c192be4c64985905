"""unsmash: what a split neural network's smashed data gives away, and what it costs to stop it."""

__version__ = "0.1.0"
