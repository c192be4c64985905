"""Data sets: real images, drawn into sets that share no image. One component a file; `base.py` has the types."""

from unsmash.data.base import Data, Images, Pool, Pools, SplitReport, Splits, data_root

__all__ = ["Data", "Images", "Pool", "Pools", "SplitReport", "Splits", "data_root"]
