"""Conversions, copies, files, and how matrices are shown."""

import copy
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest

import blockmat as bm
from blockmat.exceptions import (
    DtypeError,
    PartitionMismatchError,
    ShapeError,
)
from tests.cases import DTYPES
from tests.matrix_suite.base import (
    MatrixType,
    close,
    operation,
)


class Copies(MatrixType):
    @operation("astype")
    def test_conversion_to_another_dtype(self, case):
        A = case.A
        for dtype in DTYPES:
            if dtype not in self.dtypes:
                with pytest.raises(DtypeError):
                    A.astype(dtype)
            elif A.dtype.kind == "c" and np.dtype(dtype).kind != "c":
                with pytest.raises(DtypeError, match="converts only to complex"):
                    A.astype(dtype)
            else:
                coarse = np.finfo(np.result_type(case.dtype, dtype)).eps
                fine = np.finfo(dtype).eps
                self.structured(A.astype(dtype), case.D, dtype, case.size, max(1, coarse / fine))
        for dtype in (int, np.float16, np.longdouble):
            with pytest.raises(DtypeError, match=r"dtype (is|has dtype)"):
                A.astype(dtype)

    @operation("refine")
    def test_a_finer_partition_changes_no_entry(self, case):
        A, n = case.A, len(case.D)
        order = case.rng.permutation(n)
        other = bm.Partition.from_labels([names[0] for names in order[:, None] // 2])
        finest = bm.Partition.from_labels([(int(i),) for i in order])
        fine = A.partition.meet(other)
        for p in (finest, A.partition, *(() if A.is_aligned else (fine,))):
            B = A.refine(p)
            assert B.partition is p
            self.structured(B, case.D, case.dtype, case.size)
        with pytest.raises(ShapeError, match="partition has"):
            A.refine([0] * (n + 1))
        if A.partition.n_blocks > 1:
            with pytest.raises(PartitionMismatchError, match="not a refinement"):
                A.refine(bm.Partition.trivial(n))

    @operation("identity")
    def test_identity(self, case):
        for dtype in self.dtypes:
            eye = self.type.identity(case.geometry, dtype)
            assert type(eye) is self.type
            assert eye.dtype == dtype
            np.testing.assert_array_equal(eye.toarray(), np.eye(case.geometry.n))
            close((case.A + eye).toarray(), case.D + np.eye(len(case.D)), case.size + len(case.D))

    @operation("toarray")
    def test_copies_are_equal(self, case):
        A = case.A
        copies = [pickle.loads(pickle.dumps(A, p)) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)]
        for again in (*copies, copy.copy(A), copy.deepcopy(A)):
            self.same(again, A)

    @operation("save", examples=5)
    def test_saved_matrices_are_equal(self, case):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "any name")
            case.A.save(path)
            assert [file.name for file in Path(folder).iterdir()] == ["any name"]
            self.same(bm.load(path), case.A)
            self.same(bm.load(str(path)), case.A)

    def same(self, first, second):
        """Assert that two matrices have equal stored numbers, which nobody can change."""
        assert type(first) is type(second) is self.type
        assert first.dtype == second.dtype
        assert first.shape == second.shape
        for name in self.parts:
            ours, theirs = getattr(first, name), getattr(second, name)
            assert type(ours) is type(theirs)
            if isinstance(ours, bm.Partition):
                assert ours == theirs
                assert ours.names == theirs.names
            else:
                np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
                assert getattr(ours, "flags", None) is None or not ours.flags.writeable

    @operation(examples=12)
    def test_the_stored_arrays_are_read_only_copies(self, case):
        given_arrays = [
            argument.copy() if isinstance(argument, np.ndarray) else argument
            for argument in case.arguments
        ]
        A = self.type(*given_arrays)
        self.same(A, case.A)
        derived = [A, A.T, A.conj(), 2 * A, A.astype(A.dtype), pickle.loads(pickle.dumps(A))]
        for name, argument in zip(self.parts, given_arrays, strict=True):
            if isinstance(argument, np.ndarray):
                argument[...] = 7  # ours, not the matrix's
                for matrix in derived:
                    with pytest.raises(ValueError, match="read-only"):
                        getattr(matrix, name)[0] = 1
            with pytest.raises(AttributeError):
                setattr(A, name, argument)
        self.same(A, case.A)

    @operation(examples=5)
    def test_how_it_is_shown(self, case):
        A = case.A
        shape = "x".join(map(str, A.shape))
        assert repr(A).startswith(f"<{shape} {self.type.__name__} of ")
        assert repr(A).endswith(f", dtype={A.dtype}>")
        html = A._repr_html_()
        assert html.startswith("<div")
        assert f"&lt;{repr(A)[1:-1]}&gt;" in html
        assert "<svg" in html
        assert hash(A) == hash(A)
        assert A in {A, A.T}
        assert self.type(*case.arguments) != A  # entries are not compared
