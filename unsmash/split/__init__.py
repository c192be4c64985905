"""Cut a model in two, put a shield at the cut, train and run the halves."""

from unsmash.split.candidates import Candidate, candidates
from unsmash.split.cut import cut
from unsmash.split.model import SplitModel
from unsmash.split.shield import Fitting, Shield, Shields, Site, Smashed, as_tuple, flat, unflat

__all__ = [
    "Candidate",
    "Fitting",
    "Shield",
    "Shields",
    "Site",
    "Smashed",
    "SplitModel",
    "as_tuple",
    "candidates",
    "cut",
    "flat",
    "unflat",
]
