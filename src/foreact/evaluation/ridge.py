"""Ridge regression whose penalty is chosen by leave-one-out error.

Shape legend: P samples, F features, D targets.
"""

from __future__ import annotations

import numpy as np

_PENALTIES = tuple(10.0**k for k in range(-3, 4))  # of standardised features, times the number of samples


class Ridge:
    """Linear regression on standardised features; of the penalties the one with the least leave-one-out error."""

    def __init__(self, features_PF: np.ndarray, targets_PD: np.ndarray) -> None:
        self._mean, self._scale = features_PF.mean(axis=0), np.maximum(features_PF.std(axis=0), 1e-8)
        self.centre, self.spread = targets_PD.mean(axis=0), np.maximum(targets_PD.std(axis=0), 1e-8)
        x, y = self._standardise(features_PF), (targets_PD - self.centre) / self.spread
        values, vectors = np.linalg.eigh(x @ x.T)
        turned = vectors.T @ y
        best = np.inf
        for penalty in _PENALTIES:
            inverse = 1 / (np.maximum(values, 0) + penalty * len(x))
            dual = vectors @ (inverse[:, None] * turned)
            left_out = dual / (np.square(vectors) @ inverse)[:, None]
            if (error := np.square(left_out).mean()) < best:
                best, self._weights = error, x.T @ dual

    def errors(self, features_PF: np.ndarray, targets_PD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared errors of the prediction and of the training mean, per pair, in units of the targets' variance; both (P,)."""
        wrong = np.square((self.predict(features_PF) - targets_PD) / self.spread).mean(axis=1)
        return wrong, np.square((targets_PD - self.centre) / self.spread).mean(axis=1)

    def predict(self, features_PF: np.ndarray) -> np.ndarray:
        """Targets (P, D) in their own units."""
        return self._standardise(features_PF) @ self._weights * self.spread + self.centre

    def _standardise(self, features_PF: np.ndarray) -> np.ndarray:
        return (features_PF - self._mean) / self._scale
