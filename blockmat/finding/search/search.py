"""Find the best partition into a given number of blocks."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from blockmat.blocks.checks import Array, as_flag, frozen
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.similarity import Similarity
from blockmat.finding.search.kmeans import Solution, cheapest, cheapest_intervals, refine
from blockmat.finding.search.objectives import Objective
from blockmat.finding.search.starts import leading_signs, make_start, sign_free_points

MIN_RANK = 20  # coordinates of the points to start from; more if there are more blocks


class Found(Protocol):
    """A partition that was found, and what it costs.

    ``labels`` (n,) are the blocks and ``signs`` (n,) those of the variables, or None. ``loss`` is
    what the search minimizes.
    """

    @property
    def labels(self) -> Array:
        """The block of each variable, (n,)."""

    @property
    def signs(self) -> Array | None:
        """The signs of the variables (n,), or None."""

    @property
    def loss(self) -> float:
        """What the search minimizes."""


class Search(Protocol):
    """Finds partitions of the same variables into any number of blocks."""

    def sketch(self, k: int) -> Any:
        """Return a partition into k blocks that is quickly found, a `Found`."""

    def improve(self, found: Any) -> Any:
        """Return the partition, or a better one into as many blocks."""

    def find(self, k: int) -> Any:
        """Return the best partition into k blocks that was found."""


class SearchOptions(NamedTuple):
    """Options of a search, as for `blockmat.find_partition`."""

    contiguous: bool
    signs: bool
    random_state: Any

    @classmethod
    def checked(cls, contiguous: Any, signs: Any, random_state: Any) -> "SearchOptions":
        """Return options as a user gives them; TypeError unless the first two are bools."""
        return cls(as_flag(contiguous, "contiguous"), as_flag(signs, "signs"), random_state)


class PartitionSearch:
    """Finds partitions of the same variables into any number of blocks up to `k_max`.

    The points and their clusterings, from which block k-means starts, are computed once. With
    `contiguous` blocks are intervals, and with `signs` variables may change their signs.
    """

    def __init__(
        self,
        similarity: Similarity,
        objective: Objective,
        k_max: int,
        options: SearchOptions,
    ) -> None:
        contiguous, signs, random_state = options
        rng = np.random.default_rng(random_state)
        self.similarity, self.objective = similarity, objective
        self.points = similarity.points(max(k_max, MIN_RANK), rng)
        points = [self.points, sign_free_points(self.points)] if signs else [self.points]
        self.starts = [make_start(x, k_max, contiguous, rng) for x in points]
        self.assign = cheapest_intervals if contiguous else cheapest

    def find(self, k: int) -> Solution:
        """Return the best partition found; with signs, one that is no worse than without."""
        without_signs = self._refine(k, self.starts[0].cut(k))
        if len(self.starts) == 1:
            return without_signs
        labels = self.starts[1].cut(k)
        from_signs = self._refine(k, labels, leading_signs(self.points, labels))
        from_ones = self._refine(k, without_signs.blocks.labels, np.ones(len(labels)))
        return from_signs if from_signs.loss < from_ones.loss else from_ones

    def sketch(self, k: int) -> Solution:
        """Return the same."""
        return self.find(k)

    def improve(self, found: Solution) -> Solution:
        """Return the same partition."""
        return found

    def _refine(self, k: int, labels: Array, signs: Array | None = None) -> Solution:
        return refine(self.similarity, labels, k, self.objective, self.assign, signs)


def signs_in_blocks(p: Partition, signs: Array | None) -> Array:
    """Return signs relative to the first variable of each block, read-only integers (n,).

    Without signs all are 1.
    """
    signs = np.ones(p.n) if signs is None else signs
    first = signs[p.order[p.offsets[:-1]]]
    return frozen((signs * p.expand(first)).astype(np.intp))
