"""One suite for all matrix types: every operation, compared with dense arrays.

A matrix type is a subclass of `MatrixSuite` in test_matrices.py. It says how the arguments of the
constructor are drawn, what the dense matrix is by the definition, and which operations the type
lacks. An operation that is missing and not declared, or declared and not missing, is an error;
so is a public name that no test here has in its list.

Tolerances. Let u be the eps of the dtype of a result. A sum of m rounded numbers errs by at most
m u times the sum of their sizes (Higham, Accuracy and Stability of Numerical Algorithms,
section 4.2). No matrix here has a sum of more than m = 16 numbers, and no operation has more
than 8 such sums in a row, so errors are below ``128 u`` times the size of what is summed, in the
Frobenius norm. An operation that inverts, or is a function with a derivative bounded by the
inverse (roots, logarithms, negative powers), multiplies this by the condition number. A test that
needs another bound says why.
"""

from pathlib import Path

from tests.matrix_suite.algebra import Algebra
from tests.matrix_suite.copies import Copies
from tests.matrix_suite.covariances import Covariances
from tests.matrix_suite.entries import Entries
from tests.matrix_suite.errors import Errors
from tests.matrix_suite.functions import Functions
from tests.matrix_suite.parts import Parts
from tests.matrix_suite.products import Products
from tests.matrix_suite.spectra import Spectra

__all__ = ["MatrixSuite"]

# Tested where the sources are.
ELSEWHERE = {
    "fit": "test_fitting.py", "fit_samples": "test_fitting.py", "from_effects": "test_effects.py",
    "factor_scores": "test_factor.py",
}  # fmt: skip
# What Python and SciPy need a class to have.
NO_OPERATIONS = {
    "__annotations__", "__class_getitem__", "__dict__", "__firstlineno__", "__module__",
    "__setstate__", "__signature__", "__static_attributes__", "__weakref__",
}  # fmt: skip


def tests_of(suite):
    """Yield the tests of operations, with their names."""
    for name in dir(suite):
        if hasattr(getattr(suite, name), "names"):
            yield name, getattr(suite, name)


class MatrixSuite(
    Entries, Products, Algebra, Functions, Spectra, Covariances, Copies, Parts, Errors
):
    """All tests of a matrix type."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name, test in tests_of(cls):
            if not cls.lacks.isdisjoint(test.names):
                setattr(cls, name, None)

    def test_every_public_name_is_tested(self):
        known, tested = (
            {*self.parts}.union(*(test.names for _, test in tests_of(suite)))
            for suite in (MatrixSuite, type(self))
        )
        public = {"ndim"} | {  # which SciPy 1.18 sets on instances
            name
            for name in dir(self.type)
            if not name.startswith("_") or (name.startswith("__") and name not in dir(object))
        }
        assert public - NO_OPERATIONS - ELSEWHERE.keys() == tested
        assert known - public == self.lacks
        for name, file in ELSEWHERE.items():
            assert f".{name}(" in (Path(__file__).parents[1] / file).read_text()
