"""Pictures: what is drawn, where, and what is returned."""

import itertools
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import blockmat as bm
from blockmat import plot
from tests.cases import make


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def correlation(sizes=(5, 1, 3), names=("utilities", "telecom", "energy"), seed=0):
    p = bm.Partition.from_sizes(sizes, names=names)
    X = np.random.default_rng(seed).standard_normal((40, p.n)) + 1
    return bm.fit(np.corrcoef(X, rowvar=False), p)


def drawn_values(axes):
    return (
        axes.collections[0]
        .get_array()
        .reshape([len(axes.collections[0].get_coordinates()) - 1] * 2)
    )


@pytest.mark.parametrize("given", [False, True])
def test_matrix_draws_the_numbers_to_scale_with_names(given):
    A = correlation()
    ax = Figure().subplots() if given else None
    axes = plot.matrix(A, ax)
    assert isinstance(axes, Axes)
    assert ax is None or axes is ax
    mesh = axes.collections[0]
    np.testing.assert_allclose(drawn_values(axes), A.values)
    np.testing.assert_array_equal(np.unique(mesh.get_coordinates()), [0, 5, 6, 9])
    assert axes.get_ylim() == (9, 0)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["utilities", "telecom", "energy"]
    np.testing.assert_allclose(axes.get_yticks(), [2.5, 5.5, 7.5])
    assert {text.get_text() for text in axes.texts} >= {f"{A.values[0, 2]:.2g}"}


def test_colours_are_centred_at_zero_and_leave_out_blocks_of_one():
    A = correlation()
    mesh = plot.matrix(A).collections[0]
    largest = np.abs(A.values[[0, 0, 0, 1, 2], [0, 1, 2, 2, 2]]).max()
    assert mesh.get_clim() == pytest.approx((-largest, largest))
    assert plot.matrix(0 * A).collections[0].get_clim() == (-1, 1)
    assert plot.matrix(bm.BlockConstantMatrix([0], [[2.0]])).collections[0].get_clim() == (-2, 2)


def test_of_a_scaled_matrix_the_correlations_are_drawn():
    A = correlation()
    scaled = bm.ScaledBlockMatrix(A, np.arange(1.0, 10))
    np.testing.assert_allclose(drawn_values(plot.matrix(scaled)), A.values)


def structured(seed=0):
    """A matrix of each type that has no numbers of blocks, on the same blocks."""
    A, rng = correlation(), np.random.default_rng(seed)
    n, V = A.shape[0], rng.standard_normal((A.shape[0], 1))
    factor = bm.BlockFactorMatrix(A.partition, A.values, rng.uniform(1, 2, n), rng.uniform(1, 2, n))
    scaled = bm.ScaledBlockMatrix(A, rng.uniform(1, 2, n))
    return [factor, *(B.add_low_rank(V) for B in (A, scaled, factor))]


def test_of_other_square_matrices_the_means_of_the_blocks_are_drawn():
    for A in structured():
        D, p = A.toarray(), A.partition
        drawn = drawn_values(plot.matrix(A))
        for a, rows in enumerate(p):
            for b, columns in enumerate(p):
                entries = D[np.ix_(rows, columns)]
                if a == b and len(rows) > 1:
                    entries = entries[~np.eye(len(rows), dtype=bool)]
                assert drawn[a, b] == pytest.approx(entries.mean())


def test_a_rectangular_matrix_is_drawn_to_scale_with_names_on_both_sides():
    rows = bm.Partition.from_sizes([2, 1], names=["up", "down"])
    B = bm.BlockRectangularMatrix.from_values(
        rows, ["a", "a", "b", "c", "c"], [[1, 2, 3], [4, 5, 6]]
    )
    axes = plot.matrix(B)
    mesh = axes.collections[0]
    np.testing.assert_array_equal(mesh.get_array(), B.values)
    np.testing.assert_array_equal(mesh.get_coordinates()[0, :, 0], [0, 2, 3, 5])
    np.testing.assert_array_equal(mesh.get_coordinates()[:, 0, 1], [0, 2, 3])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["up", "down"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert mesh.get_clim() == (-6, 6)
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert places["1"] == (1, 1)
    assert places["6"] == (4, 2.5)


def test_the_spectrum_of_every_type():
    wide = bm.BlockRectangularMatrix.from_values([0, 0], ["a", "a", "b"], [[1, 2]])
    for A in (*structured(), wide, bm.ScaledBlockMatrix(correlation(), np.arange(1.0, 10))):
        D = A.toarray()
        axes = plot.spectrum(A, D)
        source, line = axes.lines
        exact = np.linalg.svd(D, compute_uv=False)
        np.testing.assert_allclose(source.get_ydata(), exact, rtol=0, atol=1e-12 * exact[0])
        drawn = np.interp(np.arange(1, len(exact) + 1), *line.get_data(), right=0)
        np.testing.assert_allclose(drawn, exact, rtol=0, atol=1e-12 * exact[0])
        assert line.get_label().endswith("blocks")
    n_figures = len(pyplot.get_fignums())
    big = bm.BlockFactorMatrix(np.zeros(3001, int), [1.0], 1.0)
    with pytest.raises(ValueError, match="A has 3001 variables, and the singular values"):
        plot.spectrum(big)
    for f in (plot.spectrum, plot.matrix):
        with pytest.raises(TypeError, match="A is a ndarray; expected a matrix"):
            f(np.eye(3))
    with pytest.raises(TypeError, match="A is a BlockRectangularMatrix; expected a square"):
        plot.approximation(wide.toarray(), wide)
    assert len(pyplot.get_fignums()) == n_figures  # none for what is refused


def test_the_approximation_by_every_square_type_is_drawn():
    for A in structured():
        axes = plot.approximation(A.toarray(), A)
        order = A.partition.order
        np.testing.assert_allclose(axes[1].images[0].get_array(), A.toarray()[np.ix_(order, order)])
        np.testing.assert_allclose(axes[2].images[0].get_array(), 0, atol=1e-14)


@pytest.mark.parametrize("k", [3, 12, 40, 300])
def test_labels_do_not_overlap(k):
    sizes = np.random.default_rng(0).integers(1, 9, k)
    A = bm.BlockConstantMatrix.identity(
        bm.Partition.from_sizes(sizes, names=[f"sector {i}" for i in range(k)])
    )
    axes = plot.matrix(A)
    axes.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert len(boxes) >= min(k, 12) - 4
    overlaps = [max(a.y0, b.y0) < min(a.y1, b.y1) - 3 for a, b in itertools.pairwise(boxes)]
    assert not any(overlaps)


def test_long_names_are_cut():
    A = correlation(names=("x" * 80, "y", "z"))
    assert len(plot.matrix(A).get_yticklabels()[0].get_text()) == 28


@pytest.mark.parametrize("kind", [np.array, sp.csr_array])
def test_approximation_draws_source_model_and_error(kind):
    A = correlation()
    order = np.random.default_rng(0).permutation(9)
    A = bm.BlockConstantMatrix(A.partition.labels[order], A.between, A.within)
    source = A.toarray() + 0.1 * np.arange(81).reshape(9, 9)
    axes = plot.approximation(kind(source), A)
    assert axes.shape == (3,)
    images = [ax.images[0].get_array() for ax in axes]
    sort = A.partition.order
    np.testing.assert_allclose(images[0], source[sort][:, sort])
    np.testing.assert_allclose(images[1], A.toarray()[sort][:, sort])
    np.testing.assert_allclose(images[2], (A.toarray() - source)[sort][:, sort])
    for ax in axes:
        low, high = ax.images[0].get_clim()
        assert low == -high < 0
    given = Figure().subplots(1, 3)
    assert plot.approximation(source, A, given)[1] is given[1]
    with pytest.raises(ValueError, match="ax has 2 axes; expected 3"):
        plot.approximation(source, A, given[:2])


def test_approximation_of_many_variables_aligned_complex_and_scaled():
    A = make(bm.Partition.uniform(50, 10), np.complex128, aligned=True, hermitian=True)
    images = [ax.images[0].get_array() for ax in plot.approximation(A.toarray(), A)]
    assert images[0].shape == (400, 400)
    np.testing.assert_allclose(images[2], 0, atol=1e-12)
    B = bm.ScaledBlockMatrix(correlation(), np.arange(1.0, 10))
    images = [ax.images[0].get_array() for ax in plot.approximation(B.toarray(), B)]
    np.testing.assert_allclose(images[2], 0, atol=1e-12)


def test_spectrum_draws_each_value_as_wide_as_it_is_multiple():
    A = correlation()
    source = A.toarray() + 0.1 * np.eye(9)
    axes = plot.spectrum(A, source)
    values, multiplicities = A.svdvals()
    reference, model = axes.lines
    np.testing.assert_allclose(
        reference.get_ydata(), np.linalg.svd(source, compute_uv=False), rtol=1e-10
    )
    np.testing.assert_allclose(model.get_ydata()[::2], values)
    widths = model.get_xdata()[1::2] - model.get_xdata()[::2] + 1
    np.testing.assert_array_equal(widths, multiplicities)
    assert axes.get_yscale() == "log"
    assert plot.spectrum(0 * A).get_yscale() == "linear"
    assert len(plot.spectrum(A).lines) == 1
    lopsided = source.copy()
    lopsided[0, 1] += 1
    np.testing.assert_allclose(
        plot.spectrum(A, lopsided).lines[0].get_ydata(), np.linalg.svd(lopsided, compute_uv=False)
    )


def test_path_marks_the_best():
    result = bm.PartitionPath(np.array([1, 2, 5]), np.zeros(3), np.array([3.0, 1.0, np.inf]), ())
    axes = plot.path(result)
    assert axes.get_title() == "best: 2 blocks"
    curve, mark, _ = axes.lines
    np.testing.assert_array_equal(curve.get_xydata(), [[1, 3], [2, 1]])
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (2, 1)


@pytest.mark.parametrize(
    "draw",
    [lambda A: plot.matrix(A), lambda A: plot.approximation(A, A), lambda A: plot.spectrum(A)],
)
def test_matplotlib_is_named_where_it_is_missing(monkeypatch, draw):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"matplotlib, which is not .*blockmat\[plot\]"):
        draw(correlation())


def test_numbers_are_written_where_they_fit():
    values = np.full((4, 4), 0.25) + np.diag([0.75, 0.75, 0.75, 0.75])
    A = bm.BlockConstantMatrix.from_values(np.repeat([0, 1, 2, 3], [2, 4, 40, 40]), values)
    written = sorted(text.get_text() for text in plot.matrix(A).texts)
    assert written == [
        "0.25",
        "0.25",
        "1",
        "1",
        "1",
    ]  # none in the first block, a short one in the second
