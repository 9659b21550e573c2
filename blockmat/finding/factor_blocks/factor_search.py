"""Find the best partition into a given number of blocks of one factor each."""

from collections.abc import Iterator

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.finding.correlations.similarity import Correlations
from blockmat.finding.factor_blocks.accelerated_em import accelerated_em
from blockmat.finding.factor_blocks.one_factor import (
    OneFactorModel,
    em,
    moved,
    moves,
    starting_model,
)
from blockmat.finding.factor_blocks.split_merge import (
    cheapest_merge,
    merge,
    residual_directions,
    split,
)
from blockmat.finding.search.kmeans import cheapest, cheapest_intervals
from blockmat.finding.search.search import SearchOptions
from blockmat.finding.search.starts import (
    ChangePoints,
    Start,
    WardTree,
    leading_signs,
    sign_free_points,
)

_MIN_RANK = 20  # coordinates of the points to start from; more if there are more blocks
_MAX_SWEEPS = 40
_PATIENCE = 5  # sweeps that may raise the loss, because all variables move at once
_STEPS = 2  # of EM before the first sweep, and after each
_STEPS_AFTER = 10  # after the last sweep
_STEPS_AT_END = 200  # of the search
_MAX_SPLITS = 8  # that improve
_CANDIDATES = 12  # blocks to split, before the search ends
_MANY = 500  # variables; of more, only promising blocks are split, because each split takes long
_WORTH = 0.25  # share of the cost of the cheapest merge that such a split must promise
_TOL = 0.01  # of the deviance of all samples
_LARGE = 10.0  # times larger is the tolerance after the last sweep


class FactorSearch:
    """Finds partitions of the same variables into any number of blocks up to `k_max`.

    The points and their clusters, from which the search starts, are computed once. With
    `contiguous` blocks are intervals, and with `signs` loadings may be negative.
    """

    def __init__(self, R: Correlations, k_max: int, options: SearchOptions) -> None:
        contiguous, signs, random_state = options
        rng = np.random.default_rng(random_state)
        self.R, self.signs, self.contiguous = R, signs, contiguous
        self.points = R.points(max(k_max, _MIN_RANK), rng)
        points = [self.points, sign_free_points(self.points)] if signs else [self.points]
        self.starts: list[Start] = [
            ChangePoints(x) if contiguous else WardTree(x, k_max, rng) for x in points
        ]
        self.assign = cheapest_intervals if contiguous else cheapest
        self.tol = _TOL / R.n_samples

    def find(self, k: int) -> OneFactorModel:
        """Return the best model found."""
        return self.improve(self.sketch(k))

    def sketch(self, k: int) -> OneFactorModel:
        """Return the best model near those from which the search starts."""
        return min(
            (self._refine(*start) for start in self._starts(k)), key=lambda model: model.loss
        )

    def improve(self, found: OneFactorModel) -> OneFactorModel:
        """Return the model after all splits and merges that lower the loss."""
        if len(found.factors) > 1 and not self.contiguous:
            found = self._split_and_merge(found)
        return accelerated_em(self.R, found, self.signs, _STEPS_AT_END, self.tol)

    def _starts(self, k: int) -> Iterator[tuple[Array, Array]]:
        """Yield labels and signs to start from."""
        for start in self.starts:
            labels = start.cut(k)
            yield labels, leading_signs(self.points, labels) if self.signs else np.ones(self.R.n)

    def _refine(self, labels: Array, signs: Array) -> OneFactorModel:
        """Move variables to their cheapest blocks as long as the loss falls."""
        model = em(self.R, starting_model(self.R, labels, signs), self.signs, _STEPS)
        best = model
        for sweep in range(_MAX_SWEEPS):
            to = moves(model, self.signs)
            labels = self.assign(to.costs)
            if (labels == model.labels).all():
                break
            model = moved(self.R, model, labels, to)
            model = em(self.R, model, self.signs, _STEPS)
            if model.loss < best.loss:
                best = model
            elif sweep >= _PATIENCE:
                break
        return accelerated_em(self.R, best, self.signs, _STEPS_AFTER, _LARGE * self.tol)

    def _split_and_merge(self, best: OneFactorModel) -> OneFactorModel:
        """Split a block and merge two, as long as this lowers the loss."""
        for _ in range(_MAX_SPLITS):
            better = self._split_once(best)
            if better is None:
                break
            best = better
        return best

    def _split_once(self, best: OneFactorModel) -> OneFactorModel | None:
        """Return a better model after one split and one merge, or None if there is none."""
        k = len(best.factors)
        directions, gains = residual_directions(self.R, best)
        least = _WORTH * cheapest_merge(best, self.signs).cost if self.R.n > _MANY else 0.0
        for block in np.argsort(-gains)[:_CANDIDATES]:
            if gains[block] < least:
                break
            labels = split(best.labels, block, directions, k)
            signs = best.signs if self.signs else np.ones(self.R.n)
            more = self._refine(labels, signs)
            a, b, _ = cheapest_merge(more, self.signs)
            if (a, b) == (block, k):  # the merge would undo the split
                continue
            model = self._refine(*merge(more, a, b, self.signs))
            if model.loss < best.loss - self.tol:
                return model
        return None
