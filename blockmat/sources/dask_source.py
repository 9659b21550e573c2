"""DaskSource: a Dask array whose sums are computed by the workers."""

from collections.abc import Callable
from typing import Any

from blockmat.blocks.checks import working_dtype
from blockmat.blocks.chunked import checked, delayed
from blockmat.sources.pair import Pair
from blockmat.sources.source import Source


class DaskSource(Source):
    """A Dask array (m, n), and whether to compute its fit or to return a Dask Delayed."""

    def __init__(self, array: Any, name: str, compute: bool) -> None:
        self._array, self._compute = checked(array, name, (2,)), compute
        self.shape, self.dtype = array.shape, working_dtype(array.dtype, name)

    def finished(self, function: Callable[[Any], Pair], totals: Any) -> Any:
        """Return a function of lazy totals: its value, or a Dask Delayed of it."""
        return function(totals.compute()) if self._compute else delayed(function)(totals)

    def then(self, function: Callable[[Pair], Any], pair: Any) -> Any:
        """Return a function of the result of `pair`: its value, or a Dask Delayed of it."""
        return function(pair) if self._compute else delayed(function)(pair)
