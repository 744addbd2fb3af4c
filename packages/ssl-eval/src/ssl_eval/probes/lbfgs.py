"""Multinomial logistic regression, to convergence: preconditioned L-BFGS on one fixed objective.

Hand-written because of its speed: it reaches the objective of scikit-learn's solver in about a quarter of the time
(``runs/bench/eval.py``), and ``torch.optim.LBFGS`` has neither a preconditioner nor a bound on the distance to the minimum.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**24  # of the logits of one chunk of rows: 64 MiB in float32
BLOCK_ROWS = 512  # of one product among the many of a chunk
PATIENCE = 20  # stop if the objective fell by no more than its rounding over so many iterations
MEMORY = 10  # pairs of steps and gradients that L-BFGS remembers
MAX_WIDTH = 4096  # features above which nothing is factorised: it takes D² numbers and D³ operations


@dataclass
class Fit:
    """A solution and its distance from the minimum."""

    weight: Tensor  # (K, D)
    bias: Tensor  # (K,)
    objective: float
    gap: float  # the objective is at most this far above its minimum
    iterations: int
    converged: bool  # the gap is within the tolerance, or the objective does not fall any more (rounding, in float32)


class LogisticRegression:
    """Mean cross-entropy plus ``regularization / 2 * |weight|²`` (the bias is free), over fixed data.

    One object holds the data and the factors that every solve shares; :meth:`fit` solves for one regularisation. In
    scikit-learn's terms ``C = 1 / (N * regularization)``.

    Parameters
    ----------
    features : Tensor
        ``(N, D)`` floating, standardised by the caller: convergence relies on it, correctness does not.
    labels : Tensor
        ``(N,) int64`` in ``0..K-1``.
    num_classes : int
        K, number of classes.

    Notes
    -----
    The Hessian is at most ``(I - 1/K) / 2`` times the covariance of the features, plus the regularisation (Böhning:
    Multinomial logistic regression algorithm, 1992). L-BFGS begins from the inverse of that bound instead of a multiple
    of the identity, wherever that explains the last step better: on correlated features that no hyperplane separates,
    such as images of CIFAR-10, five to ten times fewer iterations.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int) -> None:
        self.features, self.labels, self.num_classes = features, labels, num_classes
        self.chunk = max(1, CHUNK_ELEMENTS // max(num_classes, features.shape[1] // 8))
        self._second_moment = self._moment()

    def fit(
        self, regularization: float, start: Fit | None = None, tolerance: float = 1e-4, max_iterations: int = 1000
    ) -> Fit:
        """Minimise the objective.

        Parameters
        ----------
        regularization : float
            Above 0.
        start : Fit, optional
            Where to begin, such as the solution for a neighbouring regularisation; by default zero.
        tolerance : float
            Stop when the objective is within this fraction of the minimum, by the bound of :attr:`Fit.gap`; or when it
            falls by no more than its rounding.
        max_iterations : int
            Stop here in any case.
        """
        size = (self.num_classes, self.features.shape[1] + 1)  # the bias is the last column
        point = self.features.new_zeros(size) if start is None else torch.cat([start.weight, start.bias[:, None]], 1)
        bound = None
        if self._second_moment is not None:
            bound = HessianBound(self._second_moment, regularization, self.features.dtype)
        objective, gradient = self.evaluate(point, regularization)
        pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        history, stalled = [objective], False
        rounding = 10 * torch.finfo(point.dtype).eps
        while not stalled and len(history) <= max_iterations and _gap(gradient, regularization) > tolerance * objective:
            step = _two_loop(gradient, pairs, bound)
            # Without a stored pair the length of the step is unknown: it may be far too long.
            moved = self._search(point, objective, gradient, step, regularization, halvings=12 if pairs else 60)
            if moved is None:
                stalled = not pairs  # no descent for any length of the step: the precision is reached
                pairs = []  # else the stored curvature is outdated: restart without it
                continue
            new_point, objective, new_gradient = moved
            difference, change = new_point - point, new_gradient - gradient
            curvature = (difference * change).sum()
            if curvature > 0:  # always in exact arithmetic, since the objective is strictly convex
                pairs = [*pairs[1 - MEMORY :], (difference, change, curvature)]
            point, gradient = new_point, new_gradient
            history.append(objective)
            stalled = len(history) > PATIENCE and history[-PATIENCE - 1] - objective < rounding * objective
        gap = _gap(gradient, regularization)
        return Fit(
            point[:, :-1], point[:, -1], objective, gap, len(history) - 1, gap <= tolerance * objective or stalled
        )

    def evaluate(self, point: Tensor, regularization: float) -> tuple[float, Tensor]:
        """Return objective and gradient ``(K, D + 1)`` at ``point (K, D + 1)``, by chunks of rows."""
        weight, bias = point[:, :-1], point[:, -1:]
        gradient = torch.zeros_like(point)
        # The line search compares values that differ by little: their sum is kept in float64.
        loss = torch.zeros((), dtype=torch.float64, device=point.device)
        for rows, labels in zip(self._blocks(self.features), self._blocks(self.labels)):
            # Many products of blocks, with the classes in rows, take half the time of a single one as narrow as (N, D) by
            # (D, K); and a softmax down the columns takes whole vectors.
            log_probability = torch.log_softmax(torch.matmul(weight, rows.mT).add_(bias), 1)  # (B, K, n)
            loss -= log_probability.gather(1, labels[:, None]).sum(dtype=torch.float64)
            residual = log_probability.exp_()
            residual.scatter_add_(1, labels[:, None], -torch.ones_like(residual[:, :1]))
            gradient[:, :-1] += torch.bmm(residual, rows).sum(0)
            gradient[:, -1] += residual.sum((0, 2))
        gradient /= len(self.labels)
        gradient[:, :-1] += regularization * weight
        penalty = regularization / 2 * weight.square().sum(dtype=torch.float64)
        return float(loss / len(self.labels) + penalty), gradient

    def _blocks(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield the rows ``(N, ...)`` as blocks ``(B, n, ...)``, up to ``self.chunk`` rows at a time."""
        size = min(BLOCK_ROWS, self.chunk)
        whole = len(rows) // size * size
        if whole:
            yield from rows[:whole].unflatten(0, (-1, size)).split(self.chunk // size)
        if whole < len(rows):
            yield rows[None, whole:]

    def _search(
        self, point: Tensor, objective: float, gradient: Tensor, step: Tensor, regularization: float, halvings: int
    ) -> tuple[Tensor, float, Tensor] | None:
        """Halve the step until the objective falls enough (Armijo); None when it does not within the precision."""
        slope = float((gradient * step).sum(dtype=torch.float64))
        if slope >= 0:
            return None
        for halving in range(halvings):
            length = 0.5**halving
            new_point = point + length * step
            new_objective, new_gradient = self.evaluate(new_point, regularization)
            if new_objective <= objective + 1e-4 * length * slope:
                return new_point, new_objective, new_gradient
        return None

    def _moment(self) -> Tensor | None:
        """Return the features' second moment ``(D, D) float64``, from about 4 D rows; None if it takes longer than it saves."""
        num_samples, width = self.features.shape
        if width > MAX_WIDTH or num_samples < 2 * width:
            return None
        rows = self.features[:: max(1, num_samples // (4 * width))]
        return (rows.T @ rows / len(rows)).double()


def _gap(gradient: Tensor, regularization: float) -> float:
    # A function whose curvature is at least r is at most |gradient|² / 2r above its minimum. The curvature in the bias, which
    # is not penalised, is the spread of the probabilities: in practice more than r.
    return float(gradient.square().sum(dtype=torch.float64)) / (2 * regularization)


def _two_loop(gradient: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]], bound: "HessianBound | None") -> Tensor:
    """Return the L-BFGS step (Nocedal and Wright: Numerical Optimization, 2006, algorithm 7.4)."""
    if bound is not None and pairs and not bound.fits(*pairs[-1][:2]):
        bound = None
    step = -gradient
    weights = []
    for difference, change, curvature in reversed(pairs):
        weights.append((difference * step).sum() / curvature)
        step = step - weights[-1] * change
    if bound is not None:
        step = bound.solve(step)
    if pairs:
        difference, change, curvature = pairs[-1]
        step = step * (curvature / (change * (change if bound is None else bound.solve(change))).sum())
    for (difference, change, curvature), weight in zip(pairs, reversed(weights)):
        step = step + (weight - (change * step).sum() / curvature) * difference
    return step


class HessianBound:
    """``B``: half the features' second moment plus the regularisation for the weights, one half for the bias.

    Parameters
    ----------
    second_moment : Tensor
        ``(D, D) float64``.
    regularization : float
        Added to the diagonal.
    dtype : torch.dtype
        dtype of the vectors that it is applied to.
    """

    def __init__(self, second_moment: Tensor, regularization: float, dtype: torch.dtype) -> None:
        matrix = second_moment / 2
        # A floor keeps the factorisation possible where features are exact multiples of each other.
        matrix.diagonal().add_(max(regularization, 1e-6 * float(second_moment.diagonal().mean()), 1e-12))
        self.factor = torch.linalg.cholesky(matrix).to(dtype)

    def solve(self, vector: Tensor) -> Tensor:
        """Return ``B⁻¹ vector`` for ``vector (K, D + 1)``."""
        weight = torch.cholesky_solve(vector[:, :-1].T, self.factor).T
        return torch.cat([weight, 2 * vector[:, -1:]], 1)

    def fits(self, difference: Tensor, change: Tensor) -> bool:
        """Return whether a multiple of B explains the last step better than a multiple of the identity.

        With s the step and y the change of the gradient, ``(yᵀB⁻¹y) (sᵀBs) / (sᵀy)²`` is one where y is a multiple of
        Bs, and larger otherwise. Where classes are separated the Hessian falls below the bound, unevenly, and the
        identity wins.
        """
        squares = (difference[:, :-1] @ self.factor).square().sum() + difference[:, -1].square().sum() / 2
        with_bound = (change * self.solve(change)).sum() * squares
        with_identity = change.square().sum() * difference.square().sum()
        return bool(with_bound <= with_identity)
