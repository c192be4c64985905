"""Principal components, as many as are wanted and there are, scaled as a whole and not each."""

from __future__ import annotations

import numpy as np


class Principal:
    """Centres rows [n, d], takes their first principal components and divides all by one number.

    The first component gets unit variance. To scale each would blow up the noise in the last ones.
    """

    def __init__(self, components: int) -> None:
        self.components = components

    def fit(self, rows: np.ndarray) -> Principal:
        """Learn the centre, the directions and the scale."""
        self.centre = rows.mean(0)
        centred = rows - self.centre
        small = centred.T @ centred if rows.shape[1] <= len(rows) else centred @ centred.T
        values, vectors = np.linalg.eigh(small)
        keep = np.argsort(values)[::-1][: self.components]
        keep = keep[values[keep] > 1e-10 * max(values[-1], 1e-300)]
        basis = vectors[:, keep] if rows.shape[1] <= len(rows) else centred.T @ (vectors[:, keep] / values[keep] ** 0.5)
        scale = (values[-1] / max(len(rows) - 1, 1)) ** 0.5 if len(keep) else 1.0
        self.basis = basis / scale
        return self

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """[n, at most `components`]; one column of zeros where the rows are all alike."""
        out: np.ndarray = (rows - self.centre) @ self.basis
        return out if out.shape[1] else np.zeros((len(rows), 1))
