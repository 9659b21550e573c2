"""BlockFactorMatrix: a positive diagonal plus one factor for each block."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import Array, as_numeric, frozen, require_finite
from blockmat.blocks.partition import Partition, as_partition
from blockmat.blocks.passes import block_sums, times_sums, weighted_add, weighted_sums
from blockmat.cores import factor_model, factors, functions, pair, rank
from blockmat.cores.arrays import as_square_core, diagonal_of_core
from blockmat.cores.core import ROUNDING, hermitian_part, is_close_to_adjoint
from blockmat.exceptions import (
    NotHermitianError,
    ShapeError,
)
from blockmat.matrices.archive import Archive
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.checks import as_numbers_of_blocks, require_real_dtype
from blockmat.matrices.effects import covariance_of_effects
from blockmat.matrices.factor_parts import FactorParts
from blockmat.matrices.operator import BlockOperator, lazy_multiple, written_to
from blockmat.matrices.stored_pair import stored_values
from blockmat.matrices.weighted_frame import FrameMap, are_all_zero, lengths_in_blocks

__all__ = ["BlockFactorMatrix"]


class BlockFactorMatrix(FactorParts):
    r"""A positive diagonal matrix plus a matrix with one factor for each block.

    It is the covariance of :math:`x_i = s_i f_{b(i)} + e_i`: each variable has a loading on the
    factor of its block and noise of its own, and the factors may be correlated. It is immutable,
    and a `scipy.sparse.linalg.LinearOperator`.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,)
        The blocks, or a label for each variable.
    covariance : array_like, shape (k, k) or (k,)
        C, the covariance of the factors, symmetric; or its diagonal. Then no k x k array is made.
    noise : scalar or array_like, shape (n,) or (k,)
        The diagonal :math:`\delta`, positive: a number for each variable, for each block, or for all.
    loadings : scalar or array_like, shape (n,) or (k,), optional
        The loadings s, not all of them zero in any block; by default 1.

    Attributes
    ----------
    shape : tuple of int
        ``(n, n)``.
    dtype : numpy.dtype
        The common dtype of the three arrays.

    Raises
    ------
    PartitionError
        If the labels are not a partition.
    ShapeError
        If an array does not fit the partition.
    DtypeError
        If an array is not real.
    NonFiniteError
        If it contains NaN or infinity.
    NotHermitianError
        If the covariance is not symmetric.
    ValueError
        If the noise is not positive, or all loadings of a block are zero.

    See Also
    --------
    ScaledBlockMatrix : also scaled, with a within value for each block.
    fit_factor : estimates one from samples or correlations.

    Notes
    -----
    With the n x k indicator Z of the blocks,

    .. math:: A = \Delta + S Z C Z^T S = \Delta^{1/2} \left(Q R Q^T + I - Q Q^T\right) \Delta^{1/2}.

    Column b of Q is :math:`s / \sqrt\delta` in block b, divided by its length :math:`\ell_b`, and
    :math:`R = I + L C L` with :math:`L = \mathrm{diag}(\ell)`. The inverse is of the same kind, and
    all work is O(n + k\ :sup:`3`), or O(n) for a diagonal C. See :ref:`theory-factor`.

    Examples
    --------
    >>> import blockmat as bm
    >>> A = bm.BlockFactorMatrix(["a", "a", "b"], [[1.0, 0.5], [0.5, 1.0]], noise=[1.0, 2.0, 3.0])
    >>> A.toarray()
    array([[2. , 1. , 0.5],
           [1. , 3. , 0.5],
           [0.5, 0.5, 4. ]])
    >>> A.solve([3.5, 4.5, 5.0])
    array([1., 1., 1.])
    """

    def __init__(self, partition: Any, covariance: Any, noise: Any, loadings: Any = None) -> None:
        names = ("covariance", "partition")
        refuse_swapped(
            covariance, partition, names, "BlockFactorMatrix(partition, covariance, noise)"
        )
        p = as_partition(partition)
        loadings = 1 if loadings is None else loadings
        given = {
            "covariance": as_numbers_of_blocks(covariance, "covariance", p.n_blocks, (1, 2)),
            "noise": _for_each_variable(p, noise, "noise"),
            "loadings": _for_each_variable(p, loadings, "loadings"),
        }
        for name, array in given.items():
            require_real_dtype(array.dtype, name)
            require_finite(np.atleast_1d(array), name)
        covariance, noise, loadings = given.values()
        dtype = np.result_type(*(x.dtype for x in given.values() if x.ndim), covariance)
        _require_symmetric(covariance)
        if not (noise > 0).all():
            i = int(np.argmin(noise > 0))
            raise ValueError(f"noise is {noise.flat[i]} at index {i}; expected positive numbers")
        every = [np.broadcast_to(x, p.n) for x in (noise, loadings)]  # a number may be for all
        zero = np.flatnonzero(are_all_zero(p, every[1]))
        if len(zero):
            raise ValueError(
                f"loadings are zero in all of block {p.names[zero[0]]!r}; expected one that is not"
            )
        super().__init__(dtype, (p.n, p.n))
        self._partition = p
        self._covariance, self._noise, self._loadings = (
            frozen(np.array(x, dtype=dtype)) for x in (covariance, *every)
        )

    @classmethod
    def from_effects(cls, effects: Any, noise: Any) -> "BlockFactorMatrix":
        r"""Make the covariance of random intercepts of one or several groupings, plus noise.

        Parameters
        ----------
        effects : list of (labels, variance)
            The groupings. ``labels`` is a Partition or has a label for each variable, shape (n,).
            ``variance`` is the variance of the effects of its g groups: one number, or (g,), or
            the covariance (g, g) of correlated groups, in the order of
            ``Partition.from_labels(labels).names``.
        noise : scalar or array_like, shape (n,) or (k,)
            The variance of the noise, positive.

        Returns
        -------
        BlockFactorMatrix
            Its blocks are the k common groups: the non-empty intersections of one group of each
            grouping. If there are several groupings, the name of a block is the tuple of the names
            of its groups.

        Raises
        ------
        ShapeError
            If a variance does not fit its groups, or two groupings have different lengths.
        NotHermitianError, IndefiniteMatrixError
            If a covariance of groups is not symmetric and positive semi-definite.
        TypeError
            If `effects` is not a list of pairs.
        ValueError
            If a variance is negative, the noise is not positive, or there are more than 4096 common
            groups and their covariance is not diagonal.

        Notes
        -----
        Entry (i, j) is the sum over the groupings g of :math:`\left(V_g\right)_{g(i) g(j)}`, plus
        noise for i = j. :math:`V_g` is the covariance of the effects, and g(i) is the group of
        variable i. With one grouping of independent groups, C is diagonal, and all work is O(n). With
        several, C is dense, and work is O(n + k\ :sup:`3`) for k common groups. If one grouping has
        many groups and another has few, the effects of the few are a matrix of low rank:
        `add_low_rank` with the indicators of the groups.

        Examples
        --------
        Marks of pupils, with effects of the school and of the year:

        >>> import blockmat as bm
        >>> schools, years = ["a", "a", "a", "b"], [1, 1, 2, 2]
        >>> A = bm.BlockFactorMatrix.from_effects([(schools, 2.0), (years, 0.5)], noise=1.0)
        >>> A.toarray()
        array([[3.5, 2.5, 2. , 0. ],
               [2.5, 3.5, 2. , 0. ],
               [2. , 2. , 3.5, 0.5],
               [0. , 0. , 0.5, 3.5]])
        >>> A.partition.names
        (('a', 1), ('a', 2), ('b', 2))
        """
        partition, covariance = covariance_of_effects(effects, noise)
        return cls(partition, covariance, noise)

    @property
    def partition(self) -> Partition:
        """The blocks."""
        return self._partition

    @property
    def covariance(self) -> Array:
        """The covariance C of the factors, (k, k), or its diagonal, (k,); read-only."""
        return self._covariance

    @property
    def noise(self) -> Array:
        """The diagonal of noise, (n,), read-only."""
        return self._noise

    @property
    def loadings(self) -> Array:
        """The loadings, (n,), read-only."""
        return self._loadings

    @property
    def nbytes(self) -> int:
        """The bytes it stores."""
        arrays = (self._partition, self._covariance, self._noise, self._loadings)
        return sum(x.nbytes for x in arrays)

    @property
    def is_hermitian(self) -> bool:
        """Always true."""
        return True

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        dtype = np.result_type(self.dtype, x.dtype)
        if dtype.kind == "c":
            result = self._apply(x.real) + 1j * self._apply(x.imag)
            return written_to(out, result.astype(dtype))
        p, weights = self._partition, self._weights
        sums = block_sums(p, x) if weights is None else weighted_sums(p, x, weights)
        terms = self._times_covariance(sums).astype(dtype)
        return weighted_add(p, x, self._noise, weights, terms, out)

    @cached_property
    def _weights(self) -> Array | None:
        """The loadings for passes over arrays; None if all are 1."""
        return None if (self._loadings == 1).all() else self._loadings

    def _times_covariance(self, x: Array) -> Array:
        """Multiply x (k,) or (k, m) by C, in double precision."""
        return times_sums(self._covariance.astype(np.float64), x)

    def _elementwise(self, f: Callable[[Array], Array], dtype: Any) -> Any:
        """Apply a linear function to the noise and the covariance, such as a positive multiple.

        Other multiples are not of this kind. They are SciPy's lazy operators.
        """
        noise = f(self._noise)
        if not (noise > 0).all():
            return lazy_multiple(self, f, dtype)
        parts = (f(self._covariance), noise, self._loadings)
        return BlockFactorMatrix(self._partition, *(x.astype(dtype) for x in parts))

    def _adjoint(self) -> "BlockFactorMatrix":
        return self

    def _transpose(self) -> "BlockFactorMatrix":
        return self

    def _sum(self, other: BlockOperator) -> "BlockFactorMatrix | None":
        """Add a matrix with the same blocks and loadings, or a multiple of the identity in each block.

        A block-constant matrix has the loadings 1. None for any other matrix.
        """
        if isinstance(other, BlockConstantMatrix):
            return self._sum_with_block_constant(other)
        if not isinstance(other, BlockFactorMatrix) or not self._partition.same_blocks(
            other._partition
        ):
            return None
        if not np.array_equal(self._loadings, other._loadings):
            return None
        total = pair.sum_of_cores(self._covariance, other._covariance)
        return BlockFactorMatrix(self._partition, total, self._noise + other._noise, self._loadings)

    def _sum_with_block_constant(self, other: BlockConstantMatrix) -> "BlockFactorMatrix | None":
        if (
            not self._partition.same_blocks(other.partition)
            or other.is_aligned
            or other.dtype.kind == "c"
        ):
            return None
        p, between, is_one = self._partition, other.between, other.partition.sizes == 1
        own = np.where(is_one, diagonal_of_core(between), other.within)
        if np.array_equal(between, own if other.is_independent else np.diag(own)):
            added, c = own, self._covariance  # a diagonal matrix
        elif (self._loadings == 1).all() and other.is_hermitian:
            added = np.where(is_one, 0, other.within)
            c = pair.sum_of_cores(self._covariance, stored_values(other))
        else:
            return None
        noise = self._noise + added[p.labels]
        return BlockFactorMatrix(p, c, noise, self._loadings) if (noise > 0).all() else None

    def add_diagonal(self, values: Any) -> "BlockFactorMatrix":
        """Add a diagonal matrix.

        Parameters
        ----------
        values : scalar or array_like, shape (n,)
            The diagonal.

        Returns
        -------
        BlockFactorMatrix
            With more, or less, noise.

        Raises
        ------
        ShapeError
            If `values` does not have length n.
        ValueError
            If noise would not be positive.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.BlockFactorMatrix([0, 0], [1.0], noise=[1.0, 2.0])
        >>> A.add_diagonal(0.5).noise
        array([1.5, 2.5])
        """
        given = self._for_diagonal(values, "values")
        return BlockFactorMatrix(
            self._partition, self._covariance, self._noise + given, self._loadings
        )

    def rescale(self, scale: Any) -> "BlockFactorMatrix":
        """Multiply by a diagonal matrix from both sides.

        Parameters
        ----------
        scale : scalar or array_like, shape (n,)
            The diagonal of D in ``D A D``, without zeros.

        Returns
        -------
        BlockFactorMatrix
            ``D A D``, which is the covariance of ``D x`` if A is that of x.

        Raises
        ------
        ShapeError
            If `scale` does not have length n.
        ValueError
            If it contains a zero.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.BlockFactorMatrix([0, 0], [1.0], noise=[1.0, 2.0])
        >>> A.rescale([1.0, 10.0]).toarray()
        array([[  2.,  10.],
               [ 10., 300.]])
        """
        given = self._for_diagonal(scale, "scale")
        zero = np.flatnonzero(given == 0)
        if len(zero):
            raise ValueError(f"scale is 0 at index {zero[0]}; expected other numbers")
        noise, loadings = given * self._noise * given, given * self._loadings
        return BlockFactorMatrix(self._partition, self._covariance, noise, loadings)

    def _for_diagonal(self, x: Any, name: str) -> Array:
        """Convert a scalar or an array to a diagonal (n,)."""
        array = as_numeric(x, name, (0, 1))
        require_real_dtype(array.dtype, name)
        require_finite(np.atleast_1d(array), name)
        if array.ndim and array.shape != (self.shape[0],):
            raise ShapeError(f"{name} has shape {array.shape}; expected ({self.shape[0]},)")
        weak = np.result_type(self.dtype, array) if array.ndim else self.dtype
        return np.broadcast_to(array.astype(weak), (self.shape[0],))

    def toarray(self) -> Array:
        """Make the dense matrix.

        Returns
        -------
        ndarray, shape (n, n)
            Every entry, in this matrix's dtype.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockFactorMatrix([0, 0], [[1.0]], noise=1.0, loadings=[1.0, 2.0]).toarray()
        array([[2., 2.],
               [2., 5.]])
        """
        return self._entries(*np.ogrid[: self.shape[0], : self.shape[1]])

    def diagonal(self) -> Array:
        """Return the diagonal.

        Returns
        -------
        ndarray, shape (n,)
            The diagonal entries: for a covariance, the variances.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockFactorMatrix([0, 0], [[1.0]], noise=1.0, loadings=[1.0, 2.0]).diagonal()
        array([2., 5.])
        """
        every = np.arange(self.shape[0])
        return self._entries(every, every)

    def _frobenius_norm(self) -> float:
        noise, s, c = (
            x.astype(np.float64) for x in (self._noise, self._loadings, self._covariance)
        )
        lengths = lengths_in_blocks(self._partition, s)
        shared, own = factor_model.scaled(c, lengths), diagonal_of_core(c)
        largest = max(noise.max(), np.abs(shared).max())
        shared, noise = shared / largest, noise / largest
        factor = s * own[self._partition.labels] * s / largest
        total = (shared * shared).sum() + (noise * (noise + 2 * factor)).sum()
        return float(largest * np.sqrt(total))

    @cached_property
    def _solve_core(self) -> Callable[[Array], Array]:
        return factors.solver_of(self._core, "solve")

    def _power_of_core(self, p: float) -> Callable[[Array], Array]:
        """Return what multiplies by a power of R."""
        self._require_full_rank()
        power = functions.power(self._core, p, "whiten")
        return (lambda x: power @ x) if power.ndim == 2 else (lambda x: (x.T * power).T)

    def inv(self) -> "BlockFactorMatrix":
        """Invert.

        Returns
        -------
        BlockFactorMatrix
            The inverse, whose covariance is negative where that of the matrix is positive.

        Raises
        ------
        SingularMatrixError
            If the matrix is singular to working precision.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.BlockFactorMatrix([0, 0], [[1.0]], noise=[1.0, 1.0]).inv()
        >>> A.covariance.round(4), A.noise
        (array([[-0.3333]]), array([1., 1.]))
        """
        lengths, c = self._lengths, self._covariance.astype(np.float64)
        if c.ndim == 2:
            solved = hermitian_part(self._solve_core(factor_model.scaled(c, lengths)))
            covariance = factor_model.covariance_of_inverse(solved, lengths)
        else:
            covariance = -self._solve_core(c)
        noise = 1 / self._noise
        parts = (covariance, noise, self._loadings * noise)
        return BlockFactorMatrix(self._partition, *(x.astype(self.dtype) for x in parts))

    def solve(self, b: Any) -> Array:
        """Solve ``A @ x = b``.

        Parameters
        ----------
        b : array_like, shape (n,) or (n, m)
            The right-hand sides.

        Returns
        -------
        ndarray
            The solutions, in the shape of `b`.

        Raises
        ------
        ShapeError
            If `b` does not fit.
        SingularMatrixError
            If the matrix is singular to working precision.

        Notes
        -----
        The residual is small compared with A x and b, also if noise and loadings have very different
        sizes (:ref:`theory-factor`). The first solution stores one more array of length n.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.BlockFactorMatrix([0, 0], [[1.0]], noise=[1.0, 3.0])
        >>> A.solve([3.0, 5.0])
        array([1., 1.])
        """
        b = self._as_operand(b, "b")
        return self._mapped(lambda A: A._solving, b)

    def _mapped(self, of: Callable[["BlockFactorMatrix"], FrameMap], x: Array) -> Array:
        """Apply a frame map of the matrix in the precision of the result."""
        dtype = np.result_type(self.dtype, x.dtype)
        if dtype.kind == "c":
            result = self._mapped(of, x.real) + 1j * self._mapped(of, x.imag)
            return result.astype(dtype, copy=False)
        return of(self if dtype == self.dtype else self._wide)(x, dtype)

    @cached_property
    def _wide(self) -> "BlockFactorMatrix":
        """The matrix in double precision."""
        return self.astype(np.float64)

    @cached_property
    def _solving(self) -> FrameMap:
        inverse, lengths = self._inverse_noise, self._lengths
        of_loadings = lengths_in_blocks(self._partition, self._loadings.astype(np.float64))
        tolerated = of_loadings / lengths
        return FrameMap(
            self._partition, self._solve_core, inverse, self._weights, lengths, inverse, tolerated
        )

    @cached_property
    def _whitening(self) -> FrameMap:
        inverse_root = (1 / self._root_of_noise).astype(self.dtype, copy=False)
        tolerated = np.ones(self._partition.n_blocks)
        return FrameMap(
            self._partition, self._power_of_core(-0.5), inverse_root, self._weights, self._lengths,
            self._inverse_noise, tolerated,
        )  # fmt: skip

    @cached_property
    def _whitening_adjoint(self) -> FrameMap:
        return self._on_unit_vectors(self._power_of_core(-0.5), 1 / self._root_of_noise)

    @cached_property
    def _colouring(self) -> FrameMap:
        return self._on_unit_vectors(self._power_of_core(0.5), self._root_of_noise)

    def _on_unit_vectors(self, function: Callable[[Array], Array], factor: Array) -> FrameMap:
        p = self._partition
        entries = self._loadings / self._root_of_noise / self._lengths[p.labels]
        entries, factor = (x.astype(self.dtype, copy=False) for x in (entries, factor))
        return FrameMap(p, function, factor, entries, np.ones(p.n_blocks))

    @cached_property
    def _inverse_noise(self) -> Array:
        inverse = 1 / self._noise.astype(np.float64)
        return inverse.astype(self.dtype, copy=False)

    def slogdet(self) -> tuple[Any, Any]:
        """Return the sign and the logarithm of the absolute determinant.

        Returns
        -------
        sign : scalar
            1, 0 or -1.
        logabsdet : scalar
            The natural logarithm; minus infinity for a singular matrix.

        Examples
        --------
        >>> import blockmat as bm
        >>> sign, log = bm.BlockFactorMatrix([0, 0], [[1.0]], noise=[1.0, 1.0]).slogdet()
        >>> float(sign), round(float(log), 4)
        (1.0, 1.0986)
        """
        sign, logdet = factors.slogdet(self._core)
        return self.dtype.type(sign), self.dtype.type(logdet + self._sum_of_logs)

    @cached_property
    def _sum_of_logs(self) -> float:
        """The logarithm of the determinant of the noise."""
        return float(np.log(self._noise.astype(np.float64)).sum())

    def is_positive_definite(self) -> bool:
        """Whether all eigenvalues are positive.

        Returns
        -------
        bool
            True for every positive semi-definite covariance of the factors.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockFactorMatrix([0, 0], [[-1.0]], noise=[1.0, 1.0]).is_positive_definite()
        False
        """
        return rank.is_positive_definite(self._core)

    def _whitened(self, x: Array) -> Array:
        return self._mapped(lambda A: A._whitening, x)

    def _whitened_adjoint(self, x: Array) -> Array:
        return self._mapped(lambda A: A._whitening_adjoint, x)

    def _colorized(self, x: Array) -> Array:
        return self._mapped(lambda A: A._colouring, x)

    def _archive(self) -> Archive:
        arrays = {
            "covariance": self._covariance, "noise": self._noise, "loadings": self._loadings,
        }  # fmt: skip
        return Archive("factor", {"partition": self._partition}, arrays)

    def __repr__(self) -> str:
        n, k = self.shape[0], self._partition.n_blocks
        kind = "" if self._covariance.ndim == 2 else "independent "
        return f"<{n}x{n} BlockFactorMatrix of {k} {kind}blocks, dtype={self.dtype}>"

    def _picture(self) -> tuple[Array, ...]:
        p, c = self._partition, self._covariance
        weights = block_sums(p, self._loadings) / p.sizes  # mean loadings of the blocks
        values = weights * c * weights if c.ndim == 1 else weights[:, None] * c * weights
        return values, p.sizes

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self._partition, self._covariance, self._noise, self._loadings)
        return BlockFactorMatrix, parts

    def __getstate__(self) -> None:
        return None


def factor_from_archive(archive: Archive) -> BlockFactorMatrix:
    """Make a matrix from the file content that `BlockFactorMatrix.save` wrote."""
    names = ("covariance", "noise", "loadings")
    parts = (archive.arrays[name] for name in names)
    return BlockFactorMatrix(archive.partitions["partition"], *parts)


def separated(A: BlockFactorMatrix) -> tuple[BlockFactorMatrix, Array, Array]:
    """Return the noise alone, the loadings as columns (n, k), and the covariance (k, k)."""
    p, zeros = A.partition, np.zeros(A.partition.n_blocks)
    columns = A.loadings[:, None] * (p.labels[:, None] == np.arange(p.n_blocks))
    return BlockFactorMatrix(p, zeros, A.noise, A.loadings), columns, as_square_core(A.covariance)


def _for_each_variable(p: Partition, x: Any, name: str) -> Array:
    """Convert numbers of variables or of blocks to an array (n,); one number keeps its 0 axes."""
    array = as_numeric(x, name, (0, 1))
    if array.shape == (p.n_blocks,) != (p.n,):
        array = array[p.labels]
    if array.ndim and array.shape != (p.n,):
        raise ShapeError(
            f"{name} has shape {array.shape}; expected ({p.n},) for the variables or "
            f"({p.n_blocks},) for the blocks"
        )
    return array


def _require_symmetric(covariance: Array) -> None:
    if covariance.ndim == 2:
        eps = np.finfo(covariance.dtype).eps
        if not is_close_to_adjoint(covariance, float(ROUNDING * np.sqrt(len(covariance)) * eps)):
            raise NotHermitianError("covariance is not symmetric; expected a symmetric matrix")
