"""Cases, tolerances, and what a matrix type has to say about itself."""

from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cases import DTYPES, random_array

UNITS = 128  # of eps, see the docstring of the package
NORMS = (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf)
OPERANDS = (np.float32, np.float64, np.complex64, np.int64)  # dtypes of arrays in products


def operation(*names, examples=None):
    """Make a test of operations, of drawn cases; `MatrixSuite` keeps it where a type has them."""

    def decorate(check):
        inherited = HealthCheck.differing_executors  # one test, of several classes
        default = settings.get_profile("default")

        @settings(
            max_examples=max(1, default.max_examples * (examples or 8) // 50),
            suppress_health_check=[*default.suppress_health_check, inherited],
        )
        @given(st.data())
        def test(self, data):
            check(self, Case(self, *data.draw(cases(type(self))), data.draw))

        test.__name__, test.names = check.__name__, names
        return test

    return decorate


@cache
def cases(suite):
    """What a `Case` is made from: blocks, dtype, whether it is definite, and a seed."""
    dtypes = st.sampled_from(suite.dtypes)
    return st.tuples(suite.geometry, dtypes, st.booleans(), st.integers(0, 999))


def real(dtype):
    return np.zeros(0, dtype).real.dtype


def double(dtype):
    return np.result_type(dtype, np.float64)


def close(result, expected, size=None, condition=1.0):
    """Assert that an array or a number has the dtype's accuracy, relative to `size`."""
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.shape == expected.shape
    size = np.linalg.norm(expected) if size is None else size
    error = np.linalg.norm(result - expected)
    allowed = UNITS * np.finfo(result.dtype).eps * condition * size
    assert error <= allowed, f"error {error:.3g}; allowed {allowed:.3g}"


@dataclass(frozen=True)
class Case:
    """A matrix, its dense form in double precision, and what tolerances need."""

    suite: Any = field(repr=False)
    geometry: Any
    dtype: Any
    definite: bool
    seed: int
    draw: Any = field(default=None, repr=False)  # of other strategies

    @cached_property
    def arguments(self):
        rng = np.random.default_rng(self.seed)
        return self.suite.arguments(rng, self.geometry, self.dtype, self.definite)

    @cached_property
    def A(self):
        return self.suite.type(*self.arguments)

    @cached_property
    def D(self):
        return self.suite.dense(*self.arguments)

    @cached_property
    def size(self):
        return self.suite.size(self.D, *self.arguments)

    @cached_property
    def inverse(self):
        return np.linalg.inv(self.D)

    @cached_property
    def condition(self):
        return self.size * np.linalg.norm(self.inverse)

    @cached_property
    def is_hermitian(self):
        # Cores that are not Hermitian differ from their adjoints by a tenth and more.
        D, H = self.D, self.D.conj().T
        return D.shape == H.shape and bool(np.abs(D - H).max() < 1e-5 * self.size)

    @cached_property
    def is_definite(self):
        return self.is_hermitian and np.linalg.eigvalsh(self.D)[0] > 0

    @cached_property
    def is_symmetric(self):
        return self.is_hermitian and np.dtype(self.dtype).kind != "c"

    @property
    def rng(self):
        return np.random.default_rng(self.seed + 1)

    def another(self, **changes):
        """Make a case of the same type on the same blocks, with other numbers."""
        kept = {"dtype": self.dtype, "definite": self.definite, "seed": self.seed + 1}
        return Case(self.suite, self.geometry, **{**kept, **changes})


class MatrixType:
    """The tests of a matrix type.

    A subclass sets the class `type`, the names `parts` of its constructor's arguments, the
    strategy `geometry` of what its first argument is made from, and `arguments` and `dense`.
    """

    lacks: frozenset[str] = frozenset()  # public names that other types have
    lazy: frozenset[str] = frozenset()  # operations whose results are SciPy's lazy operators
    dtypes = DTYPES
    norms = NORMS
    has_eigenvalues = True  # or eigvalsh is there and refuses

    def arguments(self, rng, geometry, dtype, definite):
        """Return the arguments of the constructor, of a well-conditioned matrix."""
        raise NotImplementedError

    def dense(self, *arguments):
        """Return the matrix by the definition, in double precision, without blockmat's kernels."""
        raise NotImplementedError

    def size(self, dense, *arguments):
        """Bound the norms of what the matrix is a sum or a product of."""
        return np.linalg.norm(dense)

    def sum_with_diagonal(self, case, is_constant):
        """Return the type of the sum with a positive diagonal, or None if the sum is lazy.

        It may be lazy for every matrix that is not positive definite, unless it is block-constant.
        """

    def blocks(self, geometry):
        """Return the partitions of rows and of columns."""
        return geometry, geometry

    def structured(self, result, expected, dtype, size=None, condition=1.0):
        """Assert that a result is of this type and of the dtype, and has the right entries."""
        assert type(result) is self.type
        for part in self.parts:
            assert getattr(getattr(result, part), "dtype", dtype) in (dtype, real(dtype))
        array = result.toarray()
        assert result.dtype == array.dtype == dtype
        close(array, expected, size, condition)

    def composite(self, name, result, expected, dtype, size):
        """Assert the same of a sum or a product, or that it is lazy where that is declared."""
        if name not in self.lazy:
            return self.structured(result, expected, dtype, size)
        self.is_lazy(result, expected, dtype, size)

    def is_lazy(self, result, expected, dtype, size):
        assert type(result).__module__.startswith("scipy.")
        assert result.dtype == dtype
        close(result @ np.eye(result.shape[1], dtype=dtype), expected, size)

    def negative(self, A):
        """Return -A, or nothing if that is lazy."""
        return [] if "negative" in self.lazy else [-A]


def operand(rng, shape):
    dtype = rng.choice(OPERANDS)
    return rng.integers(-5, 5, shape) if dtype == np.int64 else random_array(rng, shape, dtype)


def product_dtype(A, x):
    return np.result_type(A.dtype, np.float64 if x.dtype == np.int64 else x.dtype)


def expanded(spectrum):
    """Repeat values as often as they occur."""
    values, multiplicities = spectrum
    assert multiplicities.dtype.kind == "i"
    assert (multiplicities > 0).all()
    return np.repeat(values, multiplicities)
