"""Dask arrays: the same fits and products as in memory, by every scheduler, and what is sent."""

import os
import signal
import subprocess
import sys
import time

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from dask.callbacks import Callback
from distributed import Client, LocalCluster
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import blockmat as bm
from blockmat.blocks import chunked
from blockmat.covariance import BlockCovariance
from blockmat.testing import partitions
from tests.cases import DTYPES, random_array

RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.repeat(np.arange(5), [12, 12, 1, 20, 15]))
N = len(LABELS)
ORDERS = {"shuffled": LABELS, "contiguous": np.sort(LABELS)}


def same(A, B, rtol=1e-12):
    assert type(A) is type(B) is bm.BlockConstantMatrix
    assert A.dtype == B.dtype
    assert A.partition == B.partition
    size = np.abs(B.between).max()
    np.testing.assert_allclose(A.between, B.between, rtol=rtol, atol=rtol * size)
    np.testing.assert_allclose(A.within, B.within, rtol=rtol, atol=10 * rtol * size)


@st.composite
def chunks(draw, n):
    """A way to cut n into runs."""
    cuts = draw(st.sets(st.integers(1, n - 1), max_size=4)) if n > 1 else set()
    return tuple(np.diff([0, *sorted(cuts), n]).tolist())


@given(partitions(min_n=1, max_n=12), st.booleans(), st.sampled_from(DTYPES), st.data())
@settings(max_examples=25)
def test_a_fit_does_not_depend_on_the_chunks(p, aligned, dtype, data):
    S = random_array(np.random.default_rng(data.draw(st.integers(0, 99))), (p.n, p.n), dtype)
    source = da.from_array(S, chunks=(data.draw(chunks(p.n)), data.draw(chunks(p.n))))
    rtol = (
        1e-5 if S.dtype.itemsize <= 8 and S.dtype.kind in "fc" and S.real.itemsize == 4 else 1e-12
    )
    same(bm.fit(source, p, aligned=aligned), bm.fit(S, p, aligned=aligned), rtol)
    same(bm.fit(source, p, numbers=1), bm.fit(S, p, numbers=1), rtol)


@given(
    partitions(min_n=1, max_n=12), st.booleans(), st.booleans(), st.sampled_from(DTYPES), st.data()
)
@settings(max_examples=25)
def test_a_fit_of_samples_does_not_depend_on_the_chunks(p, aligned, centered, dtype, data):
    X = random_array(np.random.default_rng(data.draw(st.integers(0, 99))), (11, p.n), dtype) + 3
    X = X.astype(dtype)
    source = da.from_array(X, chunks=(data.draw(chunks(11)), data.draw(chunks(p.n))))
    options = {"aligned": aligned, "assume_centered": centered, "ddof": 0}
    rtol = 1e-5 if X.real.itemsize == 4 else 1e-12
    same(bm.fit_samples(source, p, **options), bm.fit_samples(X, p, **options), rtol)


@st.composite
def filtered(draw, n):
    """Chunks of which some are filtered away whole: which of the numbers of an axis stay, and its chunks."""
    sizes = draw(chunks(n))
    lengths = []
    for size in sizes:
        lengths += [(0, 1)] * draw(st.integers(0, 2)) + [(size, draw(st.integers(0, 2)))]
    kept = np.concatenate([np.repeat([True, False], pair) for pair in lengths])
    return kept, tuple(size + more for size, more in lengths)


def filter_chunks(x, axes, kind=None):
    """Hide an array between other numbers, cut it into chunks, and filter the others away."""
    larger = np.full([len(kept) for kept, _ in axes], np.nan, dtype=x.dtype)
    larger[np.ix_(*(kept for kept, _ in axes))] = x
    lazy = da.from_array(larger, chunks=tuple(sizes for _, sizes in axes))
    for axis, (kept, sizes) in enumerate(axes):
        lazy = lazy[(slice(None),) * axis + (da.from_array(kept, chunks=(sizes,)),)]
        lazy = lazy.compute_chunk_sizes()
    return lazy if kind is None else lazy.map_blocks(kind)


@given(partitions(min_n=1, max_n=8), st.booleans(), st.data())
@settings(max_examples=20)
def test_chunks_of_length_zero_change_nothing(p, aligned, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    S, X = rng.standard_normal((p.n, p.n)), rng.standard_normal((7, p.n)) + 1
    rows, cols, samples = (data.draw(filtered(n)) for n in (p.n, p.n, 7))
    A = bm.fit(S, p, aligned=aligned)
    kinds = (None,) if p.n == 1 else (None, sp.csr_matrix)  # map_blocks repeats what has length 1
    for kind in kinds:
        source = filter_chunks(S, (rows, cols), kind)
        assume(source.shape == S.shape)  # Dask takes an axis of length 1 for one to broadcast
        same(bm.fit(source, p, aligned=aligned), A)
        if aligned and kind is not None:
            continue
        product = A @ source
        assert aligned or product.chunks == source.chunks
        np.testing.assert_allclose(np.asarray(product), A @ S, atol=1e-12)
    vector = filter_chunks(S[0], (rows,))
    np.testing.assert_allclose(np.asarray(A @ vector), A @ S[0], atol=1e-12)
    lazy = filter_chunks(X, (samples, cols))
    for centred in (False, True):
        options = {"aligned": aligned, "assume_centered": centred}
        same(bm.fit_samples(lazy, p, **options), bm.fit_samples(X, p, **options))
    whole = lazy.rechunk({1: -1})
    same(bm.fit_samples(whole, p, aligned=aligned), bm.fit_samples(X, p, aligned=aligned))
    accumulator = bm.BlockAccumulator(p, aligned)
    accumulator.add_samples(lazy)
    same(accumulator.covariance(), bm.fit_samples(X, p, aligned=aligned))


def test_products_with_no_columns():
    A = bm.fit(RNG.standard_normal((N, N)), LABELS)
    assert (A @ da.zeros((N, 0), chunks=(17, 1))).compute().shape == (N, 0)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("kind", ["csr", "coo", "pydata"])
def test_chunks_may_be_sparse(kind, aligned, order):
    S = RNG.standard_normal((N, N)) * (RNG.random((N, N)) < 0.2)
    source = da.from_array(S, chunks=(25, 17))
    if kind == "pydata":
        sparse = pytest.importorskip("sparse")
        source = source.map_blocks(sparse.COO)
    else:
        source = source.map_blocks({"csr": sp.csr_matrix, "coo": sp.coo_matrix}[kind])
    same(bm.fit(source, ORDERS[order], aligned=aligned), bm.fit(S, ORDERS[order], aligned=aligned))


def test_integers_and_half_precision():
    S = RNG.integers(-9, 9, (N, N))
    same(bm.fit(da.from_array(S, chunks=20), LABELS), bm.fit(S, LABELS))
    half = RNG.standard_normal((N, N)).astype(np.float16)
    assert bm.fit(da.from_array(half, chunks=20), LABELS).dtype == np.float32


@pytest.mark.parametrize("scheduler", ["threads", "processes", "sync"])
def test_every_scheduler_gives_the_same(scheduler):
    S, X = RNG.standard_normal((N, N)), RNG.standard_normal((40, N))
    with dask.config.set(scheduler=scheduler, num_workers=2):
        same(bm.fit(da.from_array(S, chunks=30), LABELS), bm.fit(S, LABELS))
        same(bm.fit_samples(da.from_array(X, chunks=20), LABELS), bm.fit_samples(X, LABELS))


def test_a_fit_may_wait():
    S, X = RNG.standard_normal((N, N)), RNG.standard_normal((40, N))
    later = bm.fit(da.from_array(S, chunks=30), LABELS, compute=False)
    samples = bm.fit_samples(da.from_array(X, chunks=(10, 30)), LABELS, compute=False)
    assert type(later).__name__ == type(samples).__name__ == "Delayed"
    A, B = dask.compute(later, samples)
    same(A, bm.fit(S, LABELS))
    same(B, bm.fit_samples(X, LABELS))
    result = bm.fit(da.from_array(S, chunks=30), LABELS, return_stderr=True)
    assert type(result).__name__ == "FitResult"
    assert (result.stderr == 0).all()
    for function, source in ((bm.fit, S), (bm.fit_samples, X)):
        with pytest.raises(ValueError, match="compute is False; expected only with a Dask array"):
            function(source, LABELS, compute=False)


@pytest.mark.parametrize("store", ["zarr", "hdf5"])
def test_stores_on_disk(tmp_path, store):
    S = RNG.standard_normal((N, N))
    if store == "zarr":
        zarr = pytest.importorskip("zarr")
        kept = zarr.create_array(
            str(tmp_path / "S.zarr"), shape=S.shape, chunks=(20, 20), dtype=float
        )
        kept[:] = S
        source = da.from_zarr(str(tmp_path / "S.zarr"))
        same(bm.fit(source, LABELS), bm.fit(S, LABELS))
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "S.h5", "w") as file:
            kept = file.create_dataset("S", data=S, chunks=(20, 20))
            same(bm.fit(da.from_array(kept, chunks=(40, 20)), LABELS), bm.fit(S, LABELS))


@pytest.mark.parametrize(
    ("dtype", "shape"), list(zip(DTYPES, [(N,), (N, 1), (N, 5), (N,)], strict=True))
)
def test_a_product_stays_a_dask_array(dtype, shape):
    A = bm.fit(RNG.standard_normal((N, N)).astype(dtype), LABELS)
    x = random_array(RNG, shape, dtype)
    lazy = da.from_array(x, chunks=(17, 2)[: len(shape)])
    for product in (A @ lazy, A.dot(lazy), A * lazy):
        assert isinstance(product, da.Array)
        assert product.chunks == lazy.chunks
        assert product.dtype == dtype
        np.testing.assert_allclose(product.compute(), A @ x, rtol=1e-4, atol=1e-4)
    single = A.astype(np.result_type(dtype, np.complex64))
    assert (single @ lazy).dtype == (single @ lazy).compute().dtype == np.result_type(single, x)


def test_products_of_other_matrices():
    S, x = RNG.standard_normal((N, N)), RNG.standard_normal(N)
    A = bm.fit(S @ S.T, LABELS)
    lazy = da.from_array(x, chunks=17)
    scaled = bm.ScaledBlockMatrix(A, RNG.uniform(1, 2, N))
    np.testing.assert_allclose(np.asarray(scaled @ lazy), scaled @ x)
    np.testing.assert_allclose(np.asarray(A.inv() @ lazy), A.solve(x))
    aligned = bm.fit(S, LABELS, aligned=True)
    np.testing.assert_allclose(np.asarray(aligned @ lazy), aligned @ x)


def test_many_chunks_are_joined_in_several_turns():
    S, X = RNG.standard_normal((N, N)), RNG.standard_normal((200, N))
    assert chunked.joined_at_a_time(10**7) == 4
    assert chunked.joined_at_a_time(10) == 64
    same(bm.fit(da.from_array(S, chunks=5), LABELS), bm.fit(S, LABELS))
    same(bm.fit_samples(da.from_array(X, chunks=(2, N)), LABELS), bm.fit_samples(X, LABELS))


class Sizes(Callback):
    """The bytes of every result that is not a chunk of the source, and their number."""

    def __init__(self, source):
        self.largest, self.count = 0, 0
        self.source = source

    def _posttask(self, key, result, dsk, state, worker_id):
        name = key[0] if isinstance(key, tuple) else key
        if name == self.source or isinstance(result, bm.Partition) or "original" in str(name):
            return
        size = sum(
            getattr(x, "nbytes", 0) for x in (result if isinstance(result, tuple) else [result])
        )
        self.largest, self.count = max(self.largest, size), self.count + 1


def test_what_moves_is_small():
    n, k, m = 400, 4, 10
    p = bm.Partition.uniform(k, n // k)
    source = da.random.default_rng(0).normal(size=(n, n), chunks=n // m).persist()
    with dask.config.set(scheduler="sync"), Sizes(source.name) as sizes:
        bm.fit(source, p)
    assert sizes.count >= m * m
    assert sizes.largest <= 8 * 64 * (k * k + k)
    X = da.random.default_rng(0).normal(size=(100 * m, n), chunks=(100, n)).persist()
    with dask.config.set(scheduler="sync"), Sizes(X.name) as sizes:
        bm.fit_samples(X, p)
    assert sizes.count >= m
    assert sizes.largest <= 8 * (k * k + k + n)
    cut = X.rechunk((100, n // 4)).persist()
    with dask.config.set(scheduler="sync"), Sizes(cut.name) as sizes:
        bm.fit_samples(cut, p)
    assert sizes.largest <= 8 * (100 * k + k + n // 4) + 8 * n
    x = da.random.default_rng(0).normal(size=n, chunks=n // m).persist()
    A = bm.BlockConstantMatrix.identity(p)
    with dask.config.set(scheduler="sync"), Sizes(x.name) as sizes:
        (A @ x).persist()
    assert sizes.largest <= 8 * max(n // m, 64 * k)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_chunk_is_named(bad):
    S = np.ones((N, N))
    S[40, 10] = bad
    source = da.from_array(S, chunks=20)
    message = "source contains NaN or infinity in row 40 and column 10; expected"
    with pytest.raises(np.linalg.LinAlgError, match=message):
        bm.fit(source, LABELS)
    assert not np.isfinite(bm.fit(source, LABELS, check_finite=False).between).all()
    for width in (N, 20):
        with pytest.raises(
            np.linalg.LinAlgError, match="X contains NaN or infinity in row 40 and column 10"
        ):
            bm.fit_samples(da.from_array(S, chunks=(20, width)), LABELS)


def unknown():
    x = da.from_array(np.ones((6, 3)), chunks=2)
    return x[x[:, 0] > 0]


BAD = [
    (lambda: bm.fit(da.ones((4, 6)), [0] * 4), ValueError, r"source has shape \(4, 6\)"),
    (lambda: bm.fit(da.ones(4), [0] * 4), ValueError, "source is 1-d"),
    (lambda: bm.fit(da.ones((4, 4)), [0] * 3), ValueError, "partition has 3 labels"),
    (lambda: bm.fit(da.ones((4, 4), dtype="U1"), [0] * 4), TypeError, "source has dtype <U1"),
    (
        lambda: bm.fit(da.ones((4, 4)), [0] * 4, diagonal=np.ones(4)),
        ValueError,
        "diagonal is given",
    ),
    (
        lambda: bm.fit_samples(unknown(), [0] * 3),
        ValueError,
        "X has chunks of unknown sizes.*compute_chunk_sizes",
    ),
    (
        lambda: bm.fit(unknown(), [0] * 3),
        ValueError,
        "source has chunks of unknown sizes.*compute_chunk_sizes",
    ),
    (
        lambda: bm.BlockConstantMatrix.identity([0] * 3) @ unknown().T,
        ValueError,
        "x has chunks of unknown sizes.*compute_chunk_sizes",
    ),
    (
        lambda: bm.fit_samples(da.eye(4, chunks=2).map_blocks(sp.csr_array), [0] * 4),
        TypeError,
        "X is a sparse matrix",
    ),
    (
        lambda: bm.fit(da.full((4, 4), 1e308), [0] * 4),
        ValueError,
        "rows 0 to 4 and columns 0 to 4 overflow",
    ),
    (lambda: bm.fit_samples(da.ones((1, 4)), [0] * 4), ValueError, "ddof is 1"),
    (lambda: bm.fit_samples(da.ones((0, 4)), [0] * 4, ddof=0), ValueError, "ddof is 0"),
    (
        lambda: bm.BlockConstantMatrix.identity([0, 0]) @ da.ones(3),
        ValueError,
        r"x has shape \(3,\)",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_dask_is_named_where_it_is_missing(monkeypatch):
    source = da.ones((4, 4))
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r"dask, which is not .*blockmat\[dask\]"):
        bm.fit(source, [0] * 4)


def test_blocks_are_found_and_covariances_estimated_from_dask_arrays():
    labels = np.repeat([0, 1, 2], 10)
    X = RNG.standard_normal((80, 3))[:, labels] + RNG.standard_normal((80, 30))
    source = da.from_array(X, chunks=(30, 20))
    assert bm.find_partition(source, samples=True) == bm.find_partition(X, samples=True)
    for options in ({}, {"labels": labels, "shrinkage": 0.5}):
        model, expected = (BlockCovariance(**options).fit(x) for x in (source, X))
        np.testing.assert_allclose(model.covariance_, expected.covariance_)
        assert model.score(source) == pytest.approx(expected.score(X))


def slowly(chunk, seconds):
    time.sleep(seconds)
    return chunk


def test_a_worker_that_is_killed_changes_nothing():
    """Two processes, one of which dies in the middle of a fit; the other tests of a cluster too."""
    S, X = RNG.standard_normal((N, N)), RNG.standard_normal((40, N))
    options = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "processes": True,
        "dashboard_address": None,
    }
    with LocalCluster(host="127.0.0.1", **options) as cluster, Client(cluster) as client:
        assert len(client.run(os.getpid)) == 2
        same(bm.fit_samples(da.from_array(X, chunks=(7, 25)), LABELS), bm.fit_samples(X, LABELS))
        lazy = da.from_array(X[0], chunks=17)
        A = bm.fit(S, LABELS)
        np.testing.assert_allclose((A @ lazy).compute(), A @ X[0])
        source = da.from_array(S, chunks=12).map_blocks(slowly, 0.1, dtype=float)
        future = client.compute(bm.fit(source, LABELS, compute=False))
        time.sleep(1)
        before = set(client.run(os.getpid).values())
        assert not future.done()
        os.kill(min(before), signal.SIGKILL)
        same(future.result(timeout=60), A)
        assert min(before) not in set(client.run(os.getpid).values())


def test_importing_blockmat_does_not_import_dask():
    script = "import sys, blockmat; assert 'dask' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
