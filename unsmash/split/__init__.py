"""Cut a model in two, put a shield at the cut, train and run the halves."""

from unsmash.split.candidates import Candidate, candidates
from unsmash.split.cut import cut
from unsmash.split.model import Shield, Shields, Smashed, SplitModel, as_tuple, flat

__all__ = ["Candidate", "Shield", "Shields", "Smashed", "SplitModel", "as_tuple", "candidates", "cut", "flat"]
