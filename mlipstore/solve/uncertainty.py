"""Uncertainty of a linear model from its factor: leverage, predictive variance, committees."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..configuration import F8
from .linear import Reduced, column_norms, penalised


class Posterior:
    """Distribution of the coefficients: covariance ``sigma^2 P^-1 + D D^T`` with ``P = A^T A + diag(alpha)``.

    The first term is that of independent noise. The second, where :meth:`clustered` has added it, is what the groups of
    rows pull the coefficients apart by: the errors of a potential are the misfit of its form, and that is common to the
    rows of a group.

    :param problem: the (weighted) rows that were fitted
    :param alpha: penalty of the fit, one number or ``(M,)``; then ``sigma^2 / alpha`` is the prior variance
    :param sigma: noise of a row of weight one; ``||r|| / sqrt(N - effective rank)`` of the fit when None
    :param rcond: directions with a singular value (columns at unit norm) up to this fraction of the largest were not
        determined by the rows: what has a component along them has infinite variance
    """

    def __init__(
        self, problem: Reduced, alpha: ArrayLike = 0.0, sigma: float | None = None, rcond: float = 1e-13
    ) -> None:
        from scipy.linalg import svd

        M = len(problem.c)
        stacked = penalised(problem, alpha)
        self._scale = column_norms(stacked.R)
        U, s, Vt = svd(stacked.R / self._scale, check_finite=False) if M else (np.eye(0), np.zeros(0), np.eye(0))
        self.rank = int(np.sum(s > rcond * s[0])) if M and s[0] > 0.0 else 0
        V, s = Vt[: self.rank].T, s[: self.rank]
        self._root: F8 = V / s  # root of the scaled covariance
        self._null: F8 = Vt[self.rank :].T
        self.coefficients: F8 = (self._root @ (U[:, : self.rank].T @ stacked.c)) / self._scale
        if sigma is None:
            used = float(np.sum((problem.R / self._scale @ self._root) ** 2)) if M else 0.0
            free = max(problem.n_rows - used, 0.0)
            sigma = problem.residual_norm(self.coefficients) / np.sqrt(free) if free > 0.5 else float("inf")
        self.sigma = float(sigma)
        self.deviations: F8 = np.zeros((M, 0))

    def clustered(self, scores: F8) -> Posterior:
        """With the covariance of errors that rows of a group share; this object, changed.

        ``D_g = sqrt(G / (G - 1)) P^-1 s_g``: to first order how far the coefficients move without group g. D D^T is the
        cluster-robust covariance of White (1984) and Liang and Zeger (1986, doi:10.1093/biomet/73.1.13); it holds
        whatever the errors inside a group are, and where the model is wrong.

        :param scores: ``s_g = A_g^T r_g`` of the (weighted) rows and residuals of each of G groups ``(M, G)``
        """
        G = scores.shape[1]
        if G > 1:
            scaled = self._root @ (self._root.T @ (scores / self._scale[:, None])) / self._scale[:, None]
            self.deviations = np.sqrt(G / (G - 1)) * scaled
        return self

    def leverage(self, rows: F8) -> F8:
        """``a (A^T A + diag(alpha))^-1 a^T`` for each row ``a`` of ``(k, M)``; infinite outside the span of A.

        For a row of A, in its weighted form, it lies between 0 and 1; far above 1 is extrapolation.
        """
        scaled = np.asarray(rows, float) / self._scale
        h = np.sum((scaled @ self._root) ** 2, axis=1)
        if self._null.size:
            outside = np.linalg.norm(scaled @ self._null, axis=1) > 1e-9 * np.linalg.norm(scaled, axis=1)
            h = np.where(outside, np.inf, h)
        return np.asarray(h)

    def variance(self, rows: F8) -> F8:
        """Variance of the prediction of unweighted rows, without the noise of a label ``(k,)``."""
        variance = self.sigma**2 * self.leverage(rows)
        if self.deviations.size:
            variance += np.sum((np.asarray(rows, float) @ self.deviations) ** 2, axis=1)
        return np.asarray(variance)

    def covariance(self) -> F8:
        """Of the coefficients ``(M, M)``, in the directions that are determined."""
        root = self._root / self._scale[:, None]
        return np.asarray(self.sigma**2 * (root @ root.T) + self.deviations @ self.deviations.T)

    def committee(self, size: int, seed: int) -> F8:
        """Coefficient vectors drawn from the distribution ``(M, size)``; their predictions scatter by the variance."""
        random = np.random.default_rng(seed)
        z = random.standard_normal((self.rank, size))
        members = self.coefficients[:, None] + self.sigma * (self._root @ z) / self._scale[:, None]
        if self.deviations.size:
            members += self.deviations @ random.standard_normal((self.deviations.shape[1], size))
        return np.asarray(members)

    def left_out(self, rows: F8, residuals: F8) -> F8:
        """Residuals of rows of A in the fit without that row, ``r / (1 - h)`` (both weighted)."""
        return np.asarray(residuals / (1.0 - self.leverage(rows)))
