"""Large arrays: cut into parts, summed pairwise, shared among threads."""

import math
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blockmat as bm
from blockmat.blocks import threads as _threads
from blockmat.testing import assert_matches_dense, partitions, project_dense
from tests.cases import DTYPES, in_small_parts, random_array

over_dtypes = pytest.mark.parametrize("dtype", DTYPES)
over_labels = pytest.mark.parametrize("shuffled", [False, True], ids=["contiguous", "shuffled"])


@pytest.fixture(autouse=True)
def the_number_of_threads_is_restored():
    yield
    if _threads._chosen is not None:
        bm.set_num_threads(_threads._default())
        _threads._chosen = None


def partition(n, k, shuffled):
    labels = np.sort(np.random.default_rng(0).integers(0, k, n))
    labels[:k] = np.arange(k)
    if shuffled:
        return bm.Partition.from_labels(np.random.default_rng(1).permutation(labels))
    return bm.Partition.from_labels(np.sort(labels))


def matrix(p, dtype, aligned=False):
    rng = np.random.default_rng(0)
    k = p.n_blocks
    within = random_array(rng, k, dtype)
    if aligned:
        within = random_array(rng, (k, k), dtype) * (p.sizes[:, None] == p.sizes)
    return bm.BlockConstantMatrix(p, random_array(rng, (k, k), dtype), within)


# Parts: the same results as in one


@given(partitions(max_n=30), st.integers(1, 4), st.sampled_from("CFS"), st.integers(1, 3))
def test_products_in_small_parts(p, m, order, n_threads):
    bm.set_num_threads(n_threads)
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_small_parts(monkeypatch)
        A = matrix(p, np.float64)
        X = np.random.default_rng(0).standard_normal((p.n, m))
        X = {"C": X, "F": np.asfortranarray(X), "S": np.repeat(X, 2, axis=0)[::2]}[order]
        assert_matches_dense(A @ X, A.toarray() @ X, rtol=1e-10)
        assert_matches_dense(A @ X[:, 0], A.toarray() @ X[:, 0], rtol=1e-10)
        np.testing.assert_allclose(p.block_sums(X), p.indicator().T @ X, atol=1e-12)


@given(partitions(max_n=20), st.booleans(), st.integers(1, 3))
def test_fits_in_small_parts(p, aligned, n_threads):
    bm.set_num_threads(n_threads)
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_small_parts(monkeypatch, 8 * p.n * 5)
        rng = np.random.default_rng(0)
        S, X = rng.standard_normal((p.n, p.n)), rng.standard_normal((7, p.n))
        A = bm.fit(S, p, aligned=aligned)
        assert_matches_dense(A, project_dense(S, p, aligned=aligned), rtol=1e-10)
        error = np.linalg.norm(S - A.toarray()) / np.linalg.norm(S)
        np.testing.assert_allclose(bm.approximation_error(S, A), error, atol=1e-10)
        covariance = X.T @ X / 7
        B = bm.fit_samples(X, p, ddof=0, assume_centered=True, aligned=aligned)
        expected = project_dense(covariance, p, aligned=aligned)
        assert_matches_dense(B, expected, rtol=1e-10)


@over_dtypes
@over_labels
def test_results_are_bitwise_the_same_for_any_number_of_threads(monkeypatch, dtype, shuffled):
    in_small_parts(monkeypatch)
    p = partition(200, 9, shuffled)
    rng = np.random.default_rng(0)
    x, X = random_array(rng, 200, dtype), random_array(rng, (200, 3), dtype)
    S, samples = random_array(rng, (200, 200), dtype), random_array(rng, (20, 200), dtype)
    A = matrix(p, dtype)

    def results():
        fitted, covariance = bm.fit(S, p), bm.fit_samples(samples, p)
        return [
            A @ x, A @ X, A @ np.asfortranarray(X), p.block_sums(x), fitted.between, fitted.within,
            covariance.between, covariance.within, bm.approximation_error(S, fitted),
        ]  # fmt: skip

    bm.set_num_threads(1)
    serial = results()
    for n_threads in (2, 3, 7):
        bm.set_num_threads(n_threads)
        for result, expected in zip(results(), serial, strict=True):
            np.testing.assert_array_equal(result, expected)


def pairwise_bound(n):
    """The bound on the relative error of NumPy's pairwise sum of n numbers of one sign.

    Every number takes part in so many additions: 15 in one of eight accumulators of a
    block of 128, 3 to join them, and one for every halving of the rest (Higham 1993).
    """
    return np.finfo(float).eps / 2 * (15 + 3 + math.ceil(math.log2(max(1, n / 128))))


@over_labels
@pytest.mark.parametrize(
    ("layout", "terms"), [("vector", "a tenth"), ("rows", "a tenth"), ("columns", "random")]
)
def test_block_sums_are_as_accurate_as_pairwise_summation(shuffled, layout, terms):
    """Three million terms in three blocks, against exactly rounded sums."""
    n, k = 3 * 10**6, 3
    rng = np.random.default_rng(0)
    x = rng.random(n) if terms == "random" else np.full(n, 0.1)  # whose roundings add up
    sizes = np.array([n // 2, n - n // 2 - 1000, 1000])
    labels = np.repeat(np.arange(k), sizes)
    if shuffled:
        labels = rng.permutation(labels)
    p = bm.Partition.from_labels(labels)
    if layout == "vector":
        sums = p.block_sums(x)
    else:
        X = np.stack([x, x[::-1]], axis=1)
        sums = p.block_sums(X if layout == "rows" else np.asfortranarray(X))[:, 0]
    for b in range(k):
        exact = math.fsum(x[labels == b])
        assert abs(sums[b] - exact) <= pairwise_bound(sizes[b]) * exact
    if terms == "a tenth":  # and a sum in order would fail
        assert abs(np.cumsum(x)[-1] - n / 10) > pairwise_bound(n) * n / 10


# Layouts and `out`


@over_dtypes
@over_labels
@pytest.mark.parametrize("aligned", [False, True])
def test_out(dtype, shuffled, aligned):
    p = bm.Partition.from_labels([1, 0, 1, 2, 0, 2]) if shuffled else bm.Partition.uniform(3, 2)
    A = matrix(p, dtype, aligned)
    rng = np.random.default_rng(0)
    for x in (random_array(rng, 6, dtype), random_array(rng, (6, 2), dtype)):
        expected = A @ x
        for out in (np.full_like(x, 9), np.full_like(x, 9, order="F"), np.full((12, 2), 9, dtype)):
            out = out[::2] if len(out) == 12 else out
            out = out[:, 0] if x.ndim < out.ndim else out
            assert A.dot(x, out=out) is out
            np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
        assert A.dot(x, out=x) is x  # in place
        np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)


@over_labels
def test_out_that_overlaps(monkeypatch, shuffled):
    in_small_parts(monkeypatch)
    A = matrix(partition(50, 4, shuffled), np.float64)
    for place in (slice(0, 50), slice(1, 51), slice(10, 60), slice(None, 49, -1)):
        memory = np.random.default_rng(0).standard_normal(100)
        x, out = memory[1:51], memory[place][:50]
        expected = A @ x
        np.testing.assert_array_equal(A.dot(x, out=out), expected)


@over_labels
def test_products_with_no_vectors(shuffled):
    A = matrix(partition(20, 3, shuffled), np.float64)
    assert (A @ np.empty((20, 0))).shape == (20, 0)
    assert A.partition.block_sums(np.empty((20, 0))).shape == (3, 0)


def test_out_of_a_rectangular_matrix():
    B = bm.BlockRectangularMatrix([0, 0, 1], [0, 1], [[1.0, 2.0], [3.0, 4.0]])
    out = np.empty(3)
    assert B.dot([1.0, 2.0], out=out) is out
    np.testing.assert_array_equal(out, B @ np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("x", "out", "error", "message"),
    [
        ([1, 2], np.empty(3), bm.exceptions.ShapeError, r"out has shape \(3,\); expected \(2,\)"),
        ([1, 2], np.empty(2, "f"), bm.exceptions.DtypeError, "out has dtype float32; expected float64"),
        ([1, 2], [0, 0], TypeError, "out is a list; expected an array"),
        (2.0, np.empty(2), TypeError, "out is given and x is 2.0; expected an array as x"),
        ([1, 2], np.broadcast_to(0.0, 2), ValueError, "out is read-only"),
    ],
)  # fmt: skip
def test_wrong_out(x, out, error, message):
    with pytest.raises(error, match=message):
        bm.BlockConstantMatrix.identity([0, 1]).dot(x, out=out)


# The pool


def test_number_of_threads(monkeypatch):
    monkeypatch.delenv("BLOCKMAT_NUM_THREADS", raising=False)
    assert bm.get_num_threads() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("BLOCKMAT_NUM_THREADS", "3")
    assert bm.get_num_threads() == 3
    bm.set_num_threads(5)
    assert bm.get_num_threads() == 5
    for wrong, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="n is"):
            bm.set_num_threads(wrong)
    assert bm.get_num_threads() == 5


@pytest.mark.parametrize("wrong", ["0", "two", "", "-1"])
def test_wrong_environment_variable(monkeypatch, wrong):
    monkeypatch.setenv("BLOCKMAT_NUM_THREADS", wrong)
    with pytest.raises(ValueError, match=f"BLOCKMAT_NUM_THREADS is '{wrong}'; expected a positive"):
        bm.get_num_threads()


def test_every_range_is_done_once_and_by_several_threads():
    from threading import Barrier, get_ident

    bm.set_num_threads(3)
    done, idents = [], set()
    together = Barrier(3, timeout=60)

    def kernel(label, first, last):
        if first < 3:
            together.wait()  # passes only if three threads are at work
        idents.add(get_ident())
        done.append((label, first, last))

    _threads.run(kernel, ("a",), [(i, i + 1) for i in range(20)])
    assert sorted(done) == [("a", i, i + 1) for i in range(20)]
    assert len(idents) == 3


@pytest.mark.parametrize("failing", ["caller", "helper"])
def test_an_exception_reaches_the_caller_and_ends_the_work(failing):
    from threading import Barrier, get_ident

    bm.set_num_threads(2)
    caller, together, done = get_ident(), Barrier(2, timeout=60), []

    def kernel(first, last):
        if first < 2:
            together.wait()
        if (get_ident() == caller) == (failing == "caller"):
            raise KeyError("broken")
        done.append(first)

    with pytest.raises(KeyError, match="broken"):
        _threads.run(kernel, (), [(i, i + 1) for i in range(1000)])
    assert len(done) < 1000 or failing == "helper"  # the caller may do all that is left


def test_helpers_are_awaited_also_if_threads_run_out(monkeypatch):
    """The second helper cannot be had; the first is still at work when the caller has finished."""
    import time

    class Exhausted(ThreadPoolExecutor):
        submitted = 0

        def submit(self, work):
            if self.submitted:
                raise RuntimeError("can't start new thread")
            self.submitted = 1
            return super().submit(work)

    bm.set_num_threads(3)
    monkeypatch.setattr(_threads, "ThreadPoolExecutor", Exhausted)
    main, done = threading.get_ident(), []

    def kernel(first, last):
        time.sleep(0.01 if threading.get_ident() == main else 0.2)
        done.append(first)

    _threads.run(kernel, (), [(i, i + 1) for i in range(6)])
    assert sorted(done) == list(range(6))


def test_from_many_threads_at_once(monkeypatch):
    in_small_parts(monkeypatch)
    bm.set_num_threads(2)
    A = matrix(partition(300, 7, True), np.float64)
    x = np.random.default_rng(0).standard_normal((50, 300))
    expected = [A @ row for row in x]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for result, alone in zip(pool.map(A.dot, x), expected, strict=True):
                np.testing.assert_array_equal(result, alone)


def test_the_number_of_threads_may_change_while_others_multiply(monkeypatch):
    in_small_parts(monkeypatch)
    A = matrix(partition(300, 7, True), np.float64)
    x = np.random.default_rng(0).standard_normal(300)
    bm.set_num_threads(1)
    expected = A @ x
    started, interval = threading.Barrier(5, timeout=60), sys.getswitchinterval()

    def multiply(_):
        started.wait()
        return [A @ x for _ in range(300)]

    sys.setswitchinterval(1e-5)  # so that threads meet in few rounds
    try:
        with ThreadPoolExecutor(4) as pool:
            results = [pool.submit(multiply, i) for i in range(4)]
            started.wait()
            while not all(result.done() for result in results):
                bm.set_num_threads(3)
                bm.set_num_threads(1)
    finally:
        sys.setswitchinterval(interval)
    for result in results:
        for product in result.result():
            np.testing.assert_array_equal(product, expected)


def test_the_number_of_threads_is_read_once(monkeypatch):
    """It is 3 when it is read first, and 1 from then on: the ranges are done all the same."""
    numbers, done = iter([3]), []
    bm.set_num_threads(2)  # another pool is to be made
    monkeypatch.setattr(_threads, "get_num_threads", lambda: next(numbers, 1))
    _threads.run(lambda first, last: done.append(first), (), [(i, i + 1) for i in range(6)])
    assert sorted(done) == list(range(6))


def python(code, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


USE = """
import numpy as np, blockmat as bm
A = bm.BlockConstantMatrix.identity(bm.Partition.uniform(5, 10**6))
x = np.ones(A.shape[0])
def works():
    return bool((A @ x == x).all())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork():
    code = (
        USE
        + """
import os, warnings
warnings.simplefilter("ignore")  # Python warns of forks beside threads
bm.set_num_threads(3)
assert works()
child = os.fork()
if child == 0:
    os._exit(0 if works() else 1)
assert os.waitpid(child, 0)[1] == 0
assert works()
print("fine")
"""
    )
    done = python(code)
    assert done.stdout == "fine\n", done.stderr


def test_while_the_interpreter_shuts_down():
    code = (
        USE
        + """
import atexit
bm.set_num_threads(3)
class AtTheEnd:
    def __del__(self, works=works):
        print(works())
last = AtTheEnd()
import threading
threading._register_atexit(lambda: print(works()))
"""
    )
    done = python(code)
    assert set(done.stdout.split()) == {"True"}, done.stderr


# Kernels on disk


def test_without_a_place_for_compiled_kernels(tmp_path):
    """The package read-only and no home: kernels compile in memory, silently."""
    import shutil
    from pathlib import Path

    shutil.copytree(
        Path(bm.__file__).parent,
        tmp_path / "blockmat",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for folder in ("blocks", "sources"):  # a file, where a folder would have to be
        (tmp_path / "blockmat" / folder / "__pycache__").touch()
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file" / "cache")
    done = python(
        USE + "print(works(), bm.__file__)\n"
        "from blockmat.blocks import kernels\nprint(type(kernels.sum_segments._cache).__name__)",
        cwd=tmp_path, HOME=nowhere, XDG_CACHE_HOME=nowhere, NUMBA_CACHE_DIR=nowhere,
        PYTHONDONTWRITEBYTECODE="1",
    )  # fmt: skip
    assert done.stdout.split() == ["True", str(tmp_path / "blockmat" / "__init__.py"), "NullCache"]
    assert done.stderr == ""


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    """The folder disappears after the kernels were imported, and a file takes its place."""
    code = (
        USE
        + f"""
from blockmat.blocks import kernels
import shutil
shutil.rmtree({str(tmp_path / "cache")!r})
open({str(tmp_path / "cache")!r}, "w").close()
print(works())
"""
    )
    done = python(code, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert done.stdout == "True\n", done.stderr
    assert done.stderr == ""


def test_import_loads_no_scipy_module_that_operators_do_not_need():
    """Beside scipy.sparse.linalg, which itself imports scipy.linalg and scipy.sparse."""
    code = "import sys; import {}; print(*(m for m in sys.modules if m.startswith('scipy.')))"
    needed = set(python(code.format("scipy.sparse.linalg")).stdout.split())
    loaded = set(python(code.format("blockmat")).stdout.split())
    packages = {".".join(name.split(".")[:2]) for name in loaded - needed}
    assert packages <= {"scipy.linalg"}
