"""Partitions, dtypes and matrices that several test files use."""

import mpmath
import numpy as np

import blockmat as bm
from blockmat.blocks import passes, segments
from blockmat.sources import chunks, dense_samples, operator

DTYPES = (np.float32, np.float64, np.complex64, np.complex128)

PARTITIONS = {
    "contiguous": bm.Partition.from_sizes([3, 1, 4, 3]),
    "shuffled": bm.Partition.from_labels([2, 0, 1, 2, 0, 2, 3, 1, 3, 2, 3]),
    "one block": bm.Partition.trivial(5),
    "singletons": bm.Partition.singletons(4),
    "uniform": bm.Partition.uniform(3, 3),
}


def random_array(rng, shape, dtype):
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def core(rng, size, dtype, hermitian):
    """A well-conditioned core: positive definite, or far from normal and singular."""
    x = random_array(rng, (size, size), np.result_type(dtype, np.float64))
    if hermitian:
        return x @ x.conj().T / size + np.eye(size)
    return 0.3 * x / np.sqrt(size) + np.diag(1 + rng.random(size))


def pair(rng, partition, dtype, aligned, hermitian):
    """The arrays `between` and `within` of a well-conditioned matrix."""
    between = core(rng, partition.n_blocks, dtype, hermitian)
    if aligned:
        within = np.zeros((partition.n_blocks,) * 2, dtype=between.dtype)
        for members, _ in partition.size_classes:
            within[np.ix_(members, members)] = core(rng, len(members), dtype, hermitian)
    else:
        within = 0.5 + rng.random(partition.n_blocks)
        if not hermitian and np.dtype(dtype).kind == "c":
            within = within + 0.5j * rng.standard_normal(partition.n_blocks)
    return between.astype(dtype), within.astype(dtype)


def make(partition, dtype, aligned, hermitian, seed=0):
    rng = np.random.default_rng(seed)
    return bm.BlockConstantMatrix(partition, *pair(rng, partition, dtype, aligned, hermitian))


def exact(A):
    """The dense matrix of a real canonical pair, as mpmath has its stored numbers."""
    p = A.partition
    M, D = (x if x.ndim == 2 else np.diag(x) for x in (A.between, A.within))
    k = range(p.n_blocks)
    values = [
        [
            (mpmath.mpf(float(M[a, b])) - mpmath.mpf(float(D[a, b])))
            / mpmath.sqrt(int(p.sizes[a]) * int(p.sizes[b]))
            for b in k
        ]
        for a in k
    ]
    dense = mpmath.matrix(p.n)
    for i in range(p.n):
        for j in range(p.n):
            a, b = p.labels[i], p.labels[j]
            paired = p.positions[i] == p.positions[j]
            dense[i, j] = values[a][b] + (float(D[a, b]) if paired else 0)
    return dense


def in_small_parts(monkeypatch, n_bytes=None):
    """Make small arrays be worked on as large ones are: cut into parts, by several threads.

    With `n_bytes`, also read in chunks of so many bytes.
    """
    monkeypatch.setattr(segments, "_SHARED_FROM", 0)
    monkeypatch.setattr(passes, "_ONE_CALL_UP_TO", 0)
    monkeypatch.setattr(segments, "_SEGMENT", 3)
    monkeypatch.setattr(passes, "_PIECE", 7)
    monkeypatch.setattr(passes, "_PIECE_PER_BLOCK", 1)
    monkeypatch.setattr(passes, "_SHORT_BLOCK", 0)
    monkeypatch.setattr(dense_samples, "_NARROWEST", 3)
    monkeypatch.setattr(dense_samples, "_PIECE_PER_BLOCK", 0)
    monkeypatch.setattr(segments, "_SHORT_SEGMENT", 2)
    if n_bytes is not None:
        monkeypatch.setattr(chunks, "_CONVERTED_BYTES", n_bytes)
        monkeypatch.setattr(chunks, "_VIEWED_BYTES", n_bytes)
        monkeypatch.setattr(operator, "_INDICATOR_BYTES", n_bytes)
