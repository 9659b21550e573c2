"""find_blocks: search a given number of blocks."""

from blockmat.finding.correlations.gaps import Blocks
from blockmat.finding.problems.problem import Problem, check_n_blocks
from blockmat.finding.search.kmeans import in_order
from blockmat.finding.search.search import SearchOptions, signs_in_blocks


def find_blocks(problem: Problem, options: SearchOptions, n_blocks: int) -> Blocks:
    """Return the best partition into so many blocks, and its signs if they are asked for."""
    k = check_n_blocks(n_blocks, "n_blocks", problem.max_blocks, problem.bound)
    found = problem.search(k, options).find(k)
    p = in_order(found.labels)
    return Blocks(p, signs_in_blocks(p, found.signs) if options.signs else None)
