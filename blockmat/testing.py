"""Hypothesis strategies and a dense reference, for tests of code that uses blockmat.

Needs the ``testing`` extra. The reference loops over blocks and does not use the kernels of blockmat.

Examples
--------
>>> import numpy as np
>>> from hypothesis import given
>>> from blockmat.testing import assert_matches_dense, block_matrices
>>> @given(block_matrices(definite=True))
... def check(A):
...     assert_matches_dense(A.inv(), np.linalg.inv(A.toarray()), condition=A.cond())
>>> check()
"""

import itertools
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.extras import import_extra
from blockmat.blocks.partition import Partition, as_partition
from blockmat.matrices.block_constant import BlockConstantMatrix

_st: Any = import_extra("hypothesis.strategies", "testing", "blockmat.testing")

__all__ = [
    "assert_matches_dense",
    "block_matrices",
    "partitions",
    "project_dense",
    "symmetric_matrices",
]

_DTYPES = (np.float32, np.float64, np.complex64, np.complex128)


def partitions(
    *, min_n: int = 1, max_n: int = 20, equal_sizes: bool = False, contiguous: bool | None = None
) -> Any:
    """Draw partitions, including a single block, blocks of one variable, and shuffled labels.

    Parameters
    ----------
    min_n, max_n : int
        The smallest and the largest number of variables.
    equal_sizes : bool, default False
        Whether all blocks have the same size.
    contiguous : bool, optional
        Whether blocks are intervals; by default both kinds are drawn.

    Returns
    -------
    hypothesis.strategies.SearchStrategy
        It draws `blockmat.Partition` objects.

    Examples
    --------
    >>> from blockmat.testing import partitions
    >>> partitions(min_n=3, max_n=3, contiguous=True)
    partitions(min_n=3, max_n=3, equal_sizes=False, contiguous=True)
    """
    return _partitions(min_n=min_n, max_n=max_n, equal_sizes=equal_sizes, contiguous=contiguous)


def _draw_partition(
    draw: Any, *, min_n: int, max_n: int, equal_sizes: bool, contiguous: bool | None
) -> Partition:
    n = draw(_st.integers(min_n, max_n))
    if equal_sizes:
        size = draw(_st.sampled_from([m for m in range(1, n + 1) if n % m == 0]))
        sizes = [size] * (n // size)
    else:
        cuts = draw(_st.sets(_st.integers(1, n - 1), max_size=n - 1)) if n > 1 else set()
        edges = [0, *sorted(cuts), n]
        sizes = [b - a for a, b in itertools.pairwise(edges)]
    labels = [block for block, size in enumerate(sizes) for _ in range(size)]
    shuffled = draw(_st.booleans()) if contiguous is None else not contiguous
    if shuffled:
        labels = draw(_st.permutations(labels))
    return Partition(sizes, labels)


def symmetric_matrices(
    n: int, *, definite: bool = False, dtype: Any = np.float64, cond: float = 1e4
) -> Any:
    """Draw dense Hermitian matrices with random eigenvectors.

    Parameters
    ----------
    n : int
        The number of rows.
    definite : bool, default False
        Whether all eigenvalues are positive.
    dtype : dtype, default float64
        The dtype.
    cond : float, default 1e4
        The largest condition number.

    Returns
    -------
    hypothesis.strategies.SearchStrategy
        It draws arrays of shape (n, n), Hermitian to the last bit.

    Examples
    --------
    >>> from blockmat.testing import symmetric_matrices
    >>> symmetric_matrices(3, definite=True)
    symmetric_matrices(n=3, definite=True, dtype='float64', cond=10000.0)
    """
    return _symmetric_matrices(n=n, definite=definite, dtype=np.dtype(dtype).name, cond=cond)


def _draw_symmetric(draw: Any, *, n: int, definite: bool, dtype: Any, cond: float) -> Array:
    rng = np.random.default_rng(draw(_st.integers(0, 2**32 - 1)))
    largest = draw(_st.sampled_from([1.0, 1e-3, 1e3]))
    spread = draw(_st.sampled_from([1.0, cond**0.5, cond]))
    return _hermitian(rng, n, definite, np.dtype(dtype), largest, spread)


def block_matrices(
    *,
    max_n: int = 12,
    dtype: Any = None,
    aligned: bool | None = None,
    independent: bool | None = None,
    hermitian: bool | None = None,
    definite: bool = False,
    cond: float = 1e4,
) -> Any:
    """Draw block-constant matrices.

    Parameters
    ----------
    max_n : int
        The largest number of variables.
    dtype : dtype, optional
        The dtype; by default any of float32, float64, complex64 and complex128.
    aligned : bool, optional
        Whether every square block has two numbers; by default both kinds are drawn.
    independent : bool, optional
        Whether blocks are independent, with `between` of shape (k,); by default both kinds are
        drawn.
    hermitian : bool, optional
        Whether the matrix is Hermitian; by default both kinds are drawn. A real matrix with
        independent blocks is always Hermitian.
    definite : bool, default False
        Whether the matrix is Hermitian with positive eigenvalues.
    cond : float, default 1e4
        The largest condition number of each core of Hermitian matrices.

    Returns
    -------
    hypothesis.strategies.SearchStrategy
        It draws `blockmat.BlockConstantMatrix` objects.

    Raises
    ------
    ValueError
        If the blocks must be aligned and independent.

    Examples
    --------
    >>> from blockmat.testing import block_matrices
    >>> strategy = block_matrices(definite=True, aligned=False)
    """
    if aligned and independent:
        raise ValueError("aligned and independent are True; expected one of them")
    return _block_matrices(
        max_n=max_n,
        dtype=dtype,
        aligned=False if independent else aligned,
        independent=independent,
        hermitian=True if definite else hermitian,
        definite=definite,
        cond=cond,
    )


def _draw_block_matrix(
    draw: Any,
    *,
    max_n: int,
    dtype: Any,
    aligned: bool | None,
    independent: bool | None,
    hermitian: bool | None,
    definite: bool,
    cond: float,
) -> BlockConstantMatrix:
    aligned = draw(_st.booleans()) if aligned is None else aligned
    independent = not aligned and (draw(_st.booleans()) if independent is None else independent)
    hermitian = draw(_st.booleans()) if hermitian is None else hermitian
    dtype = np.dtype(draw(_st.sampled_from(_DTYPES)) if dtype is None else dtype)
    p = draw(partitions(max_n=max_n, equal_sizes=aligned and draw(_st.booleans())))
    rng = np.random.default_rng(draw(_st.integers(0, 2**32 - 1)))
    spread = draw(_st.sampled_from([1.0, cond**0.5, cond]))

    def core(size: int) -> Array:
        if hermitian:
            return _hermitian(rng, size, definite, dtype, 1.0, spread)
        return _random(rng, (size, size), dtype)

    def diagonal() -> Array:
        return np.array([core(1)[0, 0] for _ in range(p.n_blocks)], dtype=dtype)

    if aligned:
        within = np.zeros((p.n_blocks, p.n_blocks), dtype=dtype)
        for members, _ in p.size_classes:
            within[np.ix_(members, members)] = core(len(members))
    else:
        within = diagonal()
    return BlockConstantMatrix(p, diagonal() if independent else core(p.n_blocks), within)


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    x: Array = rng.standard_normal(shape)
    if dtype.kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    result: Array = x.astype(dtype)
    return result


def _hermitian(
    rng: np.random.Generator,
    n: int,
    definite: bool,
    dtype: np.dtype[Any],
    largest: float,
    spread: float,
) -> Array:
    eigenvalues = largest * spread ** -rng.random(n)
    if not definite:
        eigenvalues *= rng.choice([-1.0, 1.0], n)
    double = np.result_type(dtype, np.float64)
    basis, _ = np.linalg.qr(_random(rng, (n, n), double))
    a = (basis * eigenvalues) @ basis.conj().T
    hermitian: Array = ((a + a.conj().T) / 2).astype(dtype)
    return hermitian


def project_dense(A: Any, partition: Any, numbers: int = 2, aligned: bool = False) -> Array:
    """Project a dense matrix onto the block-constant matrices, by the definition.

    Parameters
    ----------
    A : array_like, shape (n, n)
        The matrix.
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    numbers : {1, 2}, default 2
        The number of values in a diagonal block.
    aligned : bool, default False
        Whether every square block has two values.

    Returns
    -------
    ndarray, shape (n, n)
        The projection, in double precision. Each entry is the mean of all entries of `A` that
        share its value.

    Examples
    --------
    >>> from blockmat.testing import project_dense
    >>> project_dense([[2, 1], [1, 4]], [0, 0])
    array([[3., 1.],
           [1., 3.]])
    """
    A = np.asarray(A)
    A = A.astype(np.result_type(A, np.float64))
    p = as_partition(partition, len(A))
    projection: Array = np.empty_like(A)
    blocks = [np.flatnonzero(p.labels == b) for b in range(p.n_blocks)]
    for a, rows in enumerate(blocks):
        for b, cols in enumerate(blocks):
            block = A[np.ix_(rows, cols)]
            on_diagonal = np.zeros(block.shape, dtype=bool)
            if numbers == 2 and (a == b or (aligned and len(rows) == len(cols))):
                np.fill_diagonal(on_diagonal, True)
            means = np.empty_like(block)
            for equal in (on_diagonal, ~on_diagonal):
                if equal.any():
                    means[equal] = block[equal].mean()
            projection[np.ix_(rows, cols)] = means
    return projection


def assert_matches_dense(
    A: Any, dense: Any, *, rtol: float | None = None, condition: float = 1.0
) -> None:
    """Assert that a matrix or array has the shape and the entries of a dense reference.

    Parameters
    ----------
    A : BlockConstantMatrix, array_like or scalar
        The result to check.
    dense : array_like
        The reference.
    rtol : float, optional
        The largest error allowed, relative to the largest entry of `dense`; by default 100 eps,
        for the dtype of `A`.
    condition : float, default 1.0
        The condition number of the problem. `rtol` is multiplied by it.

    Raises
    ------
    AssertionError
        If the shapes differ, or the largest error is above `rtol` times `condition`.

    Examples
    --------
    >>> from blockmat import BlockConstantMatrix
    >>> from blockmat.testing import assert_matches_dense
    >>> assert_matches_dense(BlockConstantMatrix.identity([0, 0]), [[1, 0], [0, 1]])
    """
    actual, expected = np.asarray(A), np.asarray(dense)
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {actual.shape}; expected {expected.shape}")
    if rtol is None:
        kind = actual.dtype if actual.dtype.kind in "fc" else np.dtype(np.float64)
        rtol = 100 * float(np.finfo(kind).eps)
    allowed = rtol * float(condition) * np.abs(expected).max(initial=0)
    error = np.abs(actual - expected).max(initial=0)
    if not error <= allowed:
        raise AssertionError(
            f"largest error {error:.3g}; expected at most {allowed:.3g}\n"
            f"actual:\n{actual}\nexpected:\n{expected}"
        )


def _named(draw_function: Any, name: str) -> Any:
    """Return a strategy whose name in failure reports is the public name."""
    draw_function.__name__ = draw_function.__qualname__ = name
    return _st.composite(draw_function)


_partitions = _named(_draw_partition, "partitions")
_symmetric_matrices = _named(_draw_symmetric, "symmetric_matrices")
_block_matrices = _named(_draw_block_matrix, "block_matrices")
