"""ArrayMethods: sums and means of arrays over blocks, and the indicator matrix of the blocks."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_numeric
from blockmat.blocks.geometry import Geometry
from blockmat.blocks.passes import block_sums
from blockmat.exceptions import ShapeError


class ArrayMethods(Geometry):
    """The methods of Partition that take or return arrays of length n."""

    def block_sums(self, x: Any, axis: int = 0) -> Array:
        """Sum an array over each block.

        Parameters
        ----------
        x : array_like, shape (n,), (n, m) or (m, n)
            The array. Single precision is summed in double precision.
        axis : {0, 1, -1}, default 0
            The axis of length n.

        Returns
        -------
        ndarray
            The sums; `axis` has length k.

        Raises
        ------
        ShapeError, DtypeError
            If `x` does not have length n along `axis`, or is not numeric.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([2, 1]).block_sums([[1, 2, 5]], axis=1)
        array([[3., 5.]])
        """
        x, swap = self._along_axis(x, axis, self.n, "x")
        sums = block_sums(self, x).astype(x.dtype, copy=False)
        return sums.T if swap else sums

    def block_means(self, x: Any, axis: int = 0) -> Array:
        """Compute the mean of an array over each block.

        Parameters
        ----------
        x : array_like, shape (n,), (n, m) or (m, n)
            The array.
        axis : {0, 1, -1}, default 0
            The axis of length n.

        Returns
        -------
        ndarray
            The means; `axis` has length k.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([2, 1]).block_means([1.0, 2.0, 5.0])
        array([1.5, 5. ])
        """
        x, swap = self._along_axis(x, axis, self.n, "x")
        sums = block_sums(self, x)
        means = (sums.T / self._sizes).T.astype(x.dtype, copy=False)
        return means.T if swap else means

    def expand(self, values: Any, axis: int = 0) -> Array:
        """Repeat the value of each block for all its variables.

        Parameters
        ----------
        values : array_like, shape (k,), (k, m) or (m, k)
            One value, row or column for each block.
        axis : {0, 1, -1}, default 0
            The axis of length k.

        Returns
        -------
        ndarray
            The repeated values; `axis` has length n.

        Raises
        ------
        ShapeError, DtypeError
            If `values` does not have length k along `axis`, or is not numeric.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([2, 1]).expand([1.5, 5.0])
        array([1.5, 1.5, 5. ])
        """
        values, swap = self._along_axis(values, axis, self.n_blocks, "values")
        if self.is_contiguous:
            expanded = np.repeat(values, self._sizes, axis=0)
        else:
            expanded = np.take(values, self.labels, axis=0)
        return expanded.T if swap else expanded

    def indicator(self, normalized: bool = False, dtype: Any = np.float64) -> Any:
        """Return the indicator matrix of the blocks.

        Parameters
        ----------
        normalized : bool, default False
            Whether to divide each column by the square root of the size of its block, which makes
            the columns orthonormal.
        dtype : dtype, default float64
            The dtype of the result.

        Returns
        -------
        scipy.sparse.csr_array, shape (n, k)
            Entry (i, b) is not zero if variable i is in block b.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.Partition.from_sizes([2, 1]).indicator().toarray()
        array([[1., 0.],
               [1., 0.],
               [0., 1.]])
        """
        from scipy.sparse import csr_array

        column = 1 / np.sqrt(self._sizes) if normalized else np.ones(self.n_blocks)
        data = np.take(column.astype(dtype), self.labels)
        return csr_array((data, self.labels, np.arange(self.n + 1)), shape=(self.n, self.n_blocks))

    def _along_axis(self, x: Any, axis: int, length: int, name: str) -> tuple[Array, bool]:
        """Check an array and move the axis of the given length to the front."""
        x = as_numeric(x, name, (1, 2))
        try:
            swap = bool(range(x.ndim)[axis])
        except (IndexError, TypeError):
            raise ValueError(
                f"axis is {axis!r}; expected 0, 1 or -1 within {x.ndim} dimensions"
            ) from None
        if swap:
            x = x.T
        if x.shape[0] != length:
            raise ShapeError(f"{name} has length {x.shape[0]} along axis {axis}; expected {length}")
        return x, swap
