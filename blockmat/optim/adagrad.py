"""BlockAdaGrad: full-matrix AdaGrad with a block-constant matrix, for NumPy arrays."""

import copy
import math
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, as_count, as_numeric, require_finite
from blockmat.blocks.partition import Partition, as_partition
from blockmat.cores import pair
from blockmat.exceptions import DtypeError, NonFiniteError, PartitionMismatchError, ShapeError
from blockmat.fitting.accumulator import BlockAccumulator
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.optim.schedule import factors, refresh_is_due, total_weight

__all__ = ["BlockAdaGrad"]

_SETTINGS = ("lr", "momentum", "damping", "update_interval", "decay")


class BlockAdaGrad:
    r"""Full-matrix AdaGrad with a block-constant matrix.

    Parameters
    ----------
    partition : Partition or sequence of hashable, shape (n,), or list of them
        The blocks, or a label for each variable. A list of partitions or label arrays updates
        several arrays together.
    lr : float, default 0.01
        The learning rate, in units of the variables. It may be changed between steps.
    momentum : float, default 0.0
        The momentum coefficient, from 0 to below 1.
    damping : float, default 1e-3
        Added to the eigenvalues of each core, relative to the largest eigenvalue of that core;
        at least the machine epsilon of the gradient's dtype.
    update_interval : int, default 1
        The largest number of steps between two computations of the inverse square root. Early
        steps recompute it more often, after an eighth of all steps so far.
    aligned : bool, default False
        Whether every square block has two numbers, as for `blockmat.fit`.
    decay : float, optional
        The decay, between 0 and 1, of an exponential average of the outer products. By default
        they are summed, as in AdaGrad.

    Attributes
    ----------
    n_steps : int
        The number of steps so far.

    Raises
    ------
    PartitionError
        If the labels are not a partition.
    ValueError
        If an option is out of range.

    See Also
    --------
    minimize : calls it in a loop.
    blockmat.optim.torch.BlockAdaGrad : for PyTorch, with other defaults and more options.

    Notes
    -----
    Step t is full-matrix AdaGrad [2]_ with the projection P onto block-constant matrices [1]_:

    .. math::

        G_t = P \sum_{s \le t} g_s g_s^H, \quad
        v_t = \mu v_{t-1} + (G_t + \delta \Lambda_t)^{-1/2} g_t, \quad
        x_{t+1} = x_t - \eta v_t.

    :math:`\Lambda_t` multiplies block means by the largest eigenvalue of the between core of
    :math:`G_t`, and deviations from the means by the largest eigenvalue of its within core.
    If a core is zero, the step is zero in its directions. If a core is only rounding error relative
    to the other, the step is small in its directions. A step takes O(n + k\ :sup:`2`), or O(n k) if
    aligned, and O(k\ :sup:`3`) more to recompute the root. Sums are in double precision. See
    :ref:`theory-adagrad`.

    References
    ----------
    .. [1] Y. Lu, M. Harandi, R. Hartley, R. Pascanu, "Block Mean Approximation for
       Efficient Second Order Optimization", arXiv:1804.05484, 2018.
    .. [2] J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online
       Learning and Stochastic Optimization", JMLR 12, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> import blockmat as bm
    >>> A = bm.BlockConstantMatrix.from_values([0, 0, 1], [[1, 0.9], [0.9, 2]], [2, 2])
    >>> x = np.array([3.0, -2.0, 1.0])
    >>> optimizer = bm.optim.BlockAdaGrad(A.partition, lr=1.0)
    >>> for _ in range(200):
    ...     optimizer.step(x, A @ x)
    >>> bool(np.abs(x).max() < 1e-3)
    True
    """

    def __init__(
        self,
        partition: Any,
        lr: float = 0.01,
        momentum: float = 0.0,
        damping: float = 1e-3,
        update_interval: int = 1,
        aligned: bool = False,
        decay: float | None = None,
    ) -> None:
        self._several = isinstance(partition, list | tuple) and any(
            isinstance(p, Partition | np.ndarray | list | tuple) for p in partition
        )
        partitions = partition if self._several else [partition]
        self.lr, self.momentum, self.damping, self.decay = lr, momentum, damping, decay
        self.update_interval = update_interval
        _check_settings(vars(self))
        self.n_steps = 0
        self._last_refresh = 0
        self._slots = [_Slot(as_partition(p), bool(aligned)) for p in partitions]

    @property
    def partition(self) -> Partition | list[Partition]:
        """The blocks, or a list of them for several arrays."""
        partitions = [slot.partition for slot in self._slots]
        return partitions if self._several else partitions[0]

    @property
    def aligned(self) -> bool:
        """Whether every square block has two numbers."""
        return self._slots[0].accumulator.aligned

    def step(self, x: Any, grad: Any) -> None:
        """Update the variables in place.

        Parameters
        ----------
        x : ndarray with n entries, or list of them
            The variables, of any shape. The partition numbers the entries in C order.
        grad : array_like, of the shape of `x`, or list of them
            The gradient at `x`. It is not changed.

        Raises
        ------
        TypeError
            If `x` is not a writable array of floating-point or complex numbers.
        ShapeError
            If `x` and `grad` differ in shape, or do not have n entries.
        NonFiniteError
            If `grad` contains NaN or infinity, or its squares overflow in double precision.
            Nothing is changed before an error.

        Examples
        --------
        >>> import numpy as np
        >>> import blockmat as bm
        >>> x = np.array([1.0, 1.0])
        >>> bm.optim.BlockAdaGrad([0, 1], lr=0.5).step(x, [4.0, 0.0])
        >>> x.round(2)
        array([0.5, 1. ])
        """
        _check_settings(vars(self))
        checked = self._checked(x, grad)
        self.n_steps += 1
        refresh = refresh_is_due(self.n_steps, self._last_refresh, self.update_interval)
        weight = total_weight(self.decay, self.n_steps)
        for slot, (variables, g, squares) in zip(self._slots, checked, strict=True):
            slot.add(g.ravel(), squares, self.decay)
            if refresh:
                slot.renew_root(self.damping, weight, g.dtype)
            update = slot.direction(g.ravel(), self.momentum).reshape(g.shape)
            np.subtract(variables, self.lr * update, out=variables, casting="same_kind")
        if refresh:
            self._last_refresh = self.n_steps

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the settings and of the state of the optimizer.

        Returns
        -------
        dict
            The state for `load_state_dict`. It can be pickled.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.optim.BlockAdaGrad([0, 0], lr=0.5).state_dict()["lr"]
        0.5
        """
        state = {name: getattr(self, name) for name in _SETTINGS}
        state |= {"n_steps": self.n_steps, "last_refresh": self._last_refresh}
        return state | {"arrays": [slot.state() for slot in self._slots]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the settings and the state of an optimizer.

        Parameters
        ----------
        state_dict : dict
            The result of `state_dict`. It is copied.

        Raises
        ------
        ValueError
            If an entry is missing, or a setting is out of range.
        PartitionMismatchError
            If it has other blocks.
        ShapeError
            If its momentum has another shape. Nothing is changed before an error.

        Examples
        --------
        >>> import blockmat as bm
        >>> saved = bm.optim.BlockAdaGrad([0, 0], lr=0.5).state_dict()
        >>> optimizer = bm.optim.BlockAdaGrad([0, 0])
        >>> optimizer.load_state_dict(saved)
        >>> optimizer.lr
        0.5
        """
        names = (*_SETTINGS, "n_steps", "last_refresh", "arrays")
        if missing := [name for name in names if name not in state_dict]:
            raise ValueError(f"state_dict has no {', '.join(missing)}; expected {', '.join(names)}")
        arrays = state_dict["arrays"]
        if len(arrays) != len(self._slots):
            raise PartitionMismatchError(
                f"state_dict is of {len(arrays)} arrays; expected {len(self._slots)}"
            )
        _check_settings(state_dict)
        for slot, state in zip(self._slots, arrays, strict=True):
            slot.check_state(state)
        for name in _SETTINGS:
            setattr(self, name, state_dict[name])
        self.n_steps, self._last_refresh = state_dict["n_steps"], state_dict["last_refresh"]
        for slot, state in zip(self._slots, arrays, strict=True):
            slot.load_state(state)

    def _checked(self, x: Any, grad: Any) -> list[tuple[Array, Array, float]]:
        """Check the arrays; return variables, gradients and the new sums of squares."""
        if not self._several:
            return [self._slots[0].checked(x, grad, "", self.damping, self.decay)]
        for name, given in (("x", x), ("grad", grad)):
            if not isinstance(given, list | tuple) or len(given) != len(self._slots):
                what = f"{len(given)} items" if hasattr(given, "__len__") else type(given).__name__
                raise ShapeError(f"{name} has {what}; expected a list of {len(self._slots)} arrays")
        return [
            slot.checked(variables, g, f"[{i}]", self.damping, self.decay)
            for i, (slot, variables, g) in enumerate(zip(self._slots, x, grad, strict=True))
        ]

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in _SETTINGS)
        return f"BlockAdaGrad({settings}, aligned={self.aligned})"


def _check_settings(settings: dict[str, Any]) -> None:
    """Raise `ValueError` at the first setting that is out of range."""
    lr, momentum, damping, update_interval, decay = (
        settings[name] for name in ("lr", "momentum", "damping", "update_interval", "decay")
    )
    if not (np.isfinite(lr) and lr >= 0):
        raise ValueError(f"lr is {lr!r}; expected a finite number of at least 0")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum!r}; expected a number from 0 to below 1")
    if not (np.isfinite(damping) and damping > 0):
        raise ValueError(f"damping is {damping!r}; expected a number above 0")
    if decay is not None and not 0 < decay < 1:
        raise ValueError(f"decay is {decay!r}; expected None or a number between 0 and 1")
    as_count(update_interval, "update_interval", 1)


class _Slot:
    """The state for one array: the sum, its inverse square root and the momentum."""

    def __init__(self, partition: Partition, aligned: bool) -> None:
        self.partition = partition
        self.accumulator = BlockAccumulator(partition, aligned)
        self.root = 0 * BlockConstantMatrix.identity(partition)
        self.velocity: Array | None = None
        self.squares = 0.0  # the trace of the accumulated matrix

    def checked(
        self, x: Any, grad: Any, index: str, damping: float, decay: float | None
    ) -> tuple[Array, Array, float]:
        if not isinstance(x, np.ndarray) or not x.flags.writeable:
            kind = "read-only array" if isinstance(x, np.ndarray) else type(x).__name__
            raise TypeError(f"x{index} is a {kind}; expected a writable NumPy array")
        if x.dtype.kind not in "fc":
            raise DtypeError(f"x{index} has dtype {x.dtype}; expected floating-point or complex")
        g = as_numeric(grad, f"grad{index}", (x.ndim,))
        if g.shape != x.shape or x.size != self.partition.n:
            raise ShapeError(
                f"x{index} has shape {x.shape} and grad{index} {g.shape}; "
                f"expected the same shape with {self.partition.n} entries"
            )
        if not np.can_cast(g.dtype, x.dtype, "same_kind"):
            raise DtypeError(f"grad{index} has dtype {g.dtype}; expected one that fits {x.dtype}")
        kept, added = factors(decay, 1)
        squares = kept * self.squares + added * _sum_of_squares(g)
        if not np.isfinite((1 + damping) * squares):  # no damped eigenvalue is larger
            require_finite(g, f"grad{index}")
            raise NonFiniteError(f"the squares of grad{index} overflow; expected smaller numbers")
        return x, g, squares

    def add(self, g: Array, squares: float, decay: float | None) -> None:
        kept, added = factors(decay, 1)
        if decay is not None:
            self.accumulator.decay(kept)
        # Squares of single precision do not overflow or underflow in double precision.
        self.accumulator.add_outer(g.astype(accumulator_dtype(g.dtype), copy=False), added)
        self.squares = squares

    def renew_root(self, damping: float, weight: float, dtype: np.dtype[Any]) -> None:
        matrix = self.accumulator.matrix()
        info = np.finfo(dtype)
        damping = max(damping, float(info.eps))
        if matrix.dtype.kind == "c":
            dtype = np.result_type(dtype, np.complex64)
        energy = _largest_mean_square(matrix)

        def root_of(w: Array) -> Array:
            scale = math.sqrt(weight) * pair.signal_share(w.max(), energy, float(info.eps))
            root: Array = np.minimum(scale * pair.damped_inverse_root(w, damping), info.max)
            return root

        root = matrix.funm(root_of)
        self.root = root if root.dtype == dtype else root.astype(dtype)

    def direction(self, g: Array, momentum: float) -> Array:
        update = self.root @ g
        if momentum == 0:
            self.velocity = None
            return update
        past = 0 if self.velocity is None else momentum * self.velocity
        self.velocity = past + update
        return self.velocity

    def state(self) -> dict[str, Any]:
        return {
            "accumulator": copy.deepcopy(self.accumulator),
            "root": self.root,
            "velocity": copy.copy(self.velocity),
        }

    def check_state(self, state: dict[str, Any]) -> None:
        names = tuple(self.state())
        if missing := [name for name in names if name not in state]:
            raise ValueError(f"state_dict has no {', '.join(missing)}; expected {', '.join(names)}")
        accumulator, root, velocity = (state[name] for name in names)
        same = all(self.partition.same_blocks(own.partition) for own in (accumulator, root))
        if not same or accumulator.aligned != self.accumulator.aligned:
            raise PartitionMismatchError(
                "state_dict is of another partition, or only one of the two is aligned"
            )
        if velocity is not None and velocity.shape != (self.partition.n,):
            raise ShapeError(
                f"state_dict has velocity of shape {velocity.shape}; expected ({self.partition.n},)"
            )

    def load_state(self, state: dict[str, Any]) -> None:
        self.accumulator = copy.deepcopy(state["accumulator"])
        self.root, self.velocity = state["root"], copy.copy(state["velocity"])
        self.squares = float(np.real(self.accumulator.matrix().trace()))


def _sum_of_squares(g: Array) -> float:
    """Return the sum of squared absolute values in double precision; infinity if it overflows."""
    with np.errstate(over="ignore", under="ignore"):
        squares = float(np.vdot(g, g).real)
        if np.isfinite(squares) and squares > np.finfo(g.dtype).tiny:
            return squares
        double = g.astype(accumulator_dtype(g.dtype))
        return float(np.vdot(double, double).real)


def _largest_mean_square(matrix: BlockConstantMatrix) -> float:
    """Return the largest of the means of the diagonal over each block."""
    within = np.diagonal(matrix.within) if matrix.is_aligned else matrix.within
    means = pair.diagonal_values(matrix.between, within, matrix.partition.sizes)
    return float(means.real.max())
