"""Pictures: what is drawn, where, and what is returned."""

import itertools
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure

import blockmat as bm
from blockmat import plot
from blockmat.covariance import BlockCovariance
from tests.cases import make


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def correlation(sizes=(5, 1, 3), names=("utilities", "telecom", "energy"), seed=0):
    p = bm.Partition.from_sizes(sizes, names=names)
    X = np.random.default_rng(seed).standard_normal((40, p.n)) + 1
    return bm.fit(np.corrcoef(X, rowvar=False), p)


EPS = np.finfo(np.float64).eps


def colour_bar(axes):
    return axes.collections[0].colorbar.ax


def drawn_values(axes):
    """The numbers of the blocks of a square matrix; NaN where nothing is drawn."""
    mesh = axes.collections[0]
    return mesh.get_array().filled(np.nan).reshape([len(mesh.get_coordinates()) - 1] * 2)


@pytest.mark.parametrize("given", [False, True])
def test_matrix_draws_the_numbers_to_scale_with_names(given):
    A = correlation()
    ax = Figure().subplots() if given else None
    axes = plot.matrix(A, ax)
    assert isinstance(axes, Axes)
    assert ax is None or axes is ax
    mesh = axes.collections[0]
    np.testing.assert_allclose(drawn_values(axes), means_of_blocks(A.toarray(), A.partition))
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
    assert plot.matrix(bm.BlockConstantMatrix([0], [[2.0]])).collections[0].get_clim() == (-1, 1)


def structured(seed=0):
    """A covariance matrix of each type whose variances differ, on the same blocks."""
    A, rng = correlation(), np.random.default_rng(seed)
    n, V = A.shape[0], rng.standard_normal((A.shape[0], 1))
    factor = bm.BlockFactorMatrix(A.partition, A.values, rng.uniform(1, 2, n), rng.uniform(1, 2, n))
    scaled = bm.ScaledBlockMatrix(A, rng.uniform(1, 2, n) * rng.choice([-1, 1], n))
    return [scaled, factor, *(B.add_low_rank(V) for B in (A, scaled, factor))]


def means_of_blocks(D, p):
    """The mean of each block without the diagonal of the matrix; NaN for one variable."""
    off = np.where(np.eye(len(D), dtype=bool), np.nan, D)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing
        return np.array([[np.nanmean(off[np.ix_(a, b)]) for b in p] for a in p])


def assert_draws(axes, D, p):
    """Assert that the picture has the means of the blocks, without the diagonal of the matrix."""
    atol = 100 * EPS * np.abs(D).max()  # sums over blocks, less the diagonal
    np.testing.assert_allclose(drawn_values(axes), means_of_blocks(D, p), rtol=1e-12, atol=atol)


SIGNS = np.array([1, -1, 1, 1, -1, -1, 1, 1, -1])


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("signs", [None, SIGNS])
def test_of_unequal_variances_the_mean_correlations_of_turned_variables_are_drawn(which, signs):
    A = structured()[which]
    D, p = A.toarray(), A.partition
    scale = (1 if signs is None else signs) / np.sqrt(D.diagonal())
    axes = plot.matrix(A, signs=signs)
    assert_draws(axes, D * np.outer(scale, scale), p)
    assert colour_bar(axes).get_ylabel() == "correlation"


@pytest.mark.parametrize("which", range(5))
def test_of_matrices_that_are_no_covariance_the_mean_entries_are_drawn(which):
    A = structured()[which]
    A = -1 * A if which == 0 else A.add_low_rank(np.eye(9)[:, :1], [[-100.0]])
    D, p = A.toarray(), A.partition
    axes = plot.matrix(A, signs=SIGNS)
    assert_draws(axes, D * np.outer(SIGNS, SIGNS), p)
    assert colour_bar(axes).get_ylabel() == "value"


def test_signs_turn_the_variables_of_a_block_constant_matrix():
    p = bm.Partition.from_sizes([4, 4, 1])
    for A in (correlation(), make(p, np.complex128, aligned=True, hermitian=False)):
        D, signs = np.real(A.toarray()), SIGNS
        if A.is_aligned:  # the paired entries are left out
            D = np.real(A.values)[A.partition.labels][:, A.partition.labels]
            signs = np.repeat([1, -1, 1], [4, 4, 1])  # of a whole block: the pairs stay alike
        axes = plot.matrix(A, signs=signs)
        assert_draws(axes, D * np.outer(signs, signs), A.partition)
        assert colour_bar(axes).get_ylabel() == "value"


def test_pictures_of_an_estimator_agree_with_and_without_shrinkage():
    rng = np.random.default_rng(0)
    labels, flips = np.repeat([0, 1, 2], 5), rng.choice([-1, 1], 15)
    flips[::5] = 1
    X = rng.standard_normal((200, 3))[:, labels] + rng.standard_normal((200, 15))
    X *= flips * rng.uniform(1, 9, 15)
    for shrinkage in (None, "nonlinear"):
        model = BlockCovariance(labels, signs=True, shrinkage=shrinkage).fit(X)
        np.testing.assert_array_equal(model.signs_, flips)
        drawn = drawn_values(plot.matrix(model.operator_, signs=model.signs_))
        assert drawn.diagonal().min() > 0.3  # the correlations of the samples are near 0.5
        assert np.abs(drawn - np.diag(drawn.diagonal())).max() < 0.2


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
    with pytest.raises(
        TypeError, match=r"A is a BlockRectangularMatrix of shape \(2, 3\); expected a square"
    ):
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


def test_without_a_finite_criterion_the_loss_is_drawn():
    X = np.random.default_rng(0).standard_normal((3, 6))
    result = bm.partition_path(X, samples=True)
    assert not np.isfinite(result.criterion).any()
    axes = plot.path(result)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.c_[result.n_blocks, result.loss])
    assert axes.get_ylabel() == "loss"
    axes.figure.draw_without_rendering()


def path_of(criterion):
    numbers = np.arange(1, len(criterion) + 1)
    return bm.PartitionPath(numbers, np.zeros(len(criterion)), np.array(criterion), ())


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
def test_the_path_shows_the_region_around_the_best(unit):
    rises = np.array([165, 115, 65, 15, 0, 45, 205, 125, 160, 215, 360, 550, 3215])
    axes = plot.path(path_of(unit * (rises - 615.0)))
    bottom, top = np.array(axes.get_ylim()) / unit + 615
    assert top == pytest.approx(3 * 215)  # three times the third quartile
    assert -0.1 * top < bottom < 0
    arrows = axes.lines[-1]
    assert arrows.get_marker() == "^"
    np.testing.assert_array_equal(arrows.get_xdata(), [13])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), unit * (rises - 615.0))  # all of them


@pytest.mark.parametrize("criterion", [[3.0, 1.0, 2.0], [1.0], [0.0] * 9 + [5.0]])
def test_a_path_without_far_points_is_drawn_whole(criterion):
    axes = plot.path(path_of(criterion))
    assert len(axes.lines) == 3
    bottom, top = axes.get_ylim()
    assert bottom <= min(criterion)
    assert top >= max(criterion)


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
    assert written == ["0.25", "0.25", "1", "1"]  # none in the first two blocks


def test_only_zero_is_written_as_0():
    values = np.array([[1.0, 0.0], [-0.001, 0.5]])
    axes = plot.matrix(bm.BlockConstantMatrix.from_values([0] * 5 + [1] * 5, values))
    assert {text.get_text() for text in axes.texts} == {"1", "0", "0.00", "0.5"}


SECTORS = ["Consumer Discretionary", "Consumer Staples", "Energy", "Financials", "Health Care"]
SECTORS += ["Industrials", "Information Technology", "Materials", "Telecommunications", "Utilities"]
SIZES = [29, 17, 15, 30, 18, 24, 25, 13, 2, 13]


@pytest.mark.parametrize(
    ("n_panels", "unit", "engine"),
    [(1, 1.0, "constrained"), (2, 1e-4, None), (2, 1e3, "constrained"), (1, 1e3, None)],
)
def test_names_and_numbers_do_not_overlap(n_panels, unit, engine):
    p = bm.Partition.from_sizes(SIZES, names=SECTORS)
    X = np.random.default_rng(0).standard_normal((60, p.n)) + 1
    A = bm.fit_samples(np.random.default_rng(1).standard_normal((60, 1)) + X, p) * unit
    figure = pyplot.figure(figsize=(6.4 if n_panels == 1 else 10, 4.8), layout=engine)
    every = np.ravel(figure.subplots(1, n_panels))
    for axes in every:
        plot.matrix(A, axes)
    figure.draw_without_rendering()
    for axes in every:
        box = axes.get_tightbbox()
        assert engine is None or (box.x0 >= 0 and box.y0 >= 0)
        boxes = [text.get_window_extent() for text in axes.texts]
        assert boxes
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels]
            assert len(boxes) > 5
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_names_of_many_variables_do_not_overlap():
    p = bm.Partition.uniform(5, 10)
    axes = plot.matrix(
        bm.BlockConstantMatrix.identity(p), names=[f"variable {i}" for i in range(50)]
    )
    axes.figure.draw_without_rendering()
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) == 50
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(
    ("largest", "label", "written"),
    [
        (0.5, "value", {"0.5", "-0.12", "0.01"}),
        (5e-5, "value / 1e-5", {"5", "-1.2", "0.1"}),
        (5e4, "value / 1e4", {"5", "-1.2", "0.1"}),
        (9.0, "value", {"9", "-2.2", "0.1"}),
        (20.0, "value", {"20", "-4.9", "0.2"}),
    ],
)
def test_numbers_are_short(largest, label, written):
    values = largest * np.array([[1, -0.2468], [-0.2468, 0.01234]])
    axes = plot.matrix(bm.BlockConstantMatrix.from_values([0] * 5 + [1] * 5, values))
    assert {text.get_text() for text in axes.texts} == written
    assert colour_bar(axes).get_ylabel() == label
    ticks = [
        float(t.get_text().replace("\N{MINUS SIGN}", "-"))
        for t in colour_bar(axes).get_yticklabels()
    ]
    places = colour_bar(axes).get_yticks()
    unit = float(label.partition("/")[2] or 1)
    np.testing.assert_allclose(np.array(ticks) * unit, places, rtol=1e-9, atol=1e-9 * largest)


def stability(n_blocks=None, signs=False, n=9, **options):
    """The stability of three blocks of samples, of which some variables are reversed."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n) % 3)
    X = rng.standard_normal((60, 3))[:, labels] + 1.5 * rng.standard_normal((60, n))
    if signs:
        X[:, ::4] *= -1
    return bm.partition_stability(
        X, n_blocks, samples=True, signs=signs, n_resamples=10, random_state=0, **options
    )


def test_stability_draws_the_sorted_matrix_with_outlined_blocks():
    result = stability(3)
    axes = plot.stability(result)
    assert axes.shape == (3,)
    p = result.partition
    assert len(np.unique(result.of_variable)) > 3
    order = [int(label.get_text()) for label in axes[0].get_yticklabels()]
    assert sorted(order) == list(range(9))
    np.testing.assert_array_equal(np.diff(p.labels[order]) >= 0, True)
    for members in p:
        values = result.of_variable[[i for i in order if i in members]]
        assert (np.diff(values) <= 0).all()
    drawn = axes[0].collections[0].get_array().reshape(9, 9)
    np.testing.assert_allclose(drawn, result.coassignment.toarray()[np.ix_(order, order)])
    assert axes[0].collections[0].get_clim() == (0, 1)
    corners = [(line.get_xdata().min(), line.get_xdata().max()) for line in axes[0].lines]
    ends = np.cumsum(p.sizes).tolist()
    assert corners == list(zip([0, *ends[:-1]], ends, strict=True))
    bars = axes[1].patches
    np.testing.assert_allclose([bar.get_width() for bar in bars], result.of_variable[order])
    assert axes[1].get_ylim() == axes[0].get_ylim() == (9, 0)
    heights = [bar.get_height() for bar in axes[2].patches]
    np.testing.assert_allclose(heights, result.of_block)
    given = Figure().subplots(1, 3)
    assert plot.stability(result, given)[2] is given[2]
    with pytest.raises(ValueError, match="ax has 2 axes; expected 3"):
        plot.stability(result, given[:2])


def test_stability_draws_how_often_each_number_was_chosen():
    result = stability()
    axes = plot.stability(result)[2]
    for bar in axes.patches:
        k = round(bar.get_x() + bar.get_width() / 2)
        assert bar.get_height() == result.of_n_blocks[result.n_blocks == k]
    assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(1)
    numbers, agreement = axes.lines[0].get_data()
    expected = result.agreement[np.searchsorted(result.n_blocks, numbers)]
    np.testing.assert_array_equal(agreement, expected)
    assert axes.lines[1].get_xdata()[0] == result.partition.n_blocks


def test_reversed_variables_are_shown_with_a_minus():
    result = stability(3, signs=True)
    minus = "\N{MINUS SIGN}"
    names = [f"item {i}" for i in range(9)]
    expected = sorted(
        minus + name if s < 0 else name for name, s in zip(names, result.signs, strict=True)
    )
    texts = [label.get_text() for label in plot.stability(result, names=names)[0].get_yticklabels()]
    assert sorted(texts) == expected
    assert any(text.startswith(minus) for text in texts)
    ones = plot.stability(result, names=names, signs=np.ones(9))
    assert sorted(label.get_text() for label in ones[0].get_yticklabels()) == names
    named = result._replace(names=tuple(names))
    texts = [label.get_text() for label in plot.stability(named)[0].get_yticklabels()]
    assert sorted(texts) == expected
    A = correlation()
    signs = np.array([1, 1, -1, 1, 1, 1, 1, -1, 1])
    axes = plot.matrix(A, signs=signs, names=names)
    texts = [label.get_text() for label in axes.get_yticklabels()]
    assert texts == [minus + name if s < 0 else name for name, s in zip(names, signs, strict=True)]
    assert [label.get_text() for label in axes.get_xticklabels()] == texts
    marked = plot.matrix(A, signs=signs)
    np.testing.assert_array_equal(marked.get_yticks(minor=True), [2.5, 7.5])
    np.testing.assert_array_equal(marked.get_xticks(minor=True), [2.5, 7.5])
    assert [label.get_text() for label in marked.get_yticklabels()] == list(A.partition.names)
    assert len(plot.matrix(A).get_yticks(minor=True)) == 0


def test_many_variables_are_marked_and_their_blocks_are_named():
    result = stability(3, signs=True, n=60)
    axes = plot.stability(result)[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1", "2"]
    assert len(axes.get_yticks(minor=True)) == (result.signs < 0).sum()
    many = stability(3, n=450)
    drawn = plot.stability(many)
    assert drawn[0].get_ylim() == (400, 0)
    assert len(drawn[1].patches) == 400
    A = bm.BlockConstantMatrix.identity(bm.Partition.uniform(3, 20))
    axes = plot.matrix(A, names=[f"item {i}" for i in range(60)])
    assert len(axes.get_yticklabels()) == 3


def test_the_tree_has_a_leaf_for_each_block():
    A = correlation()
    labels = A.partition.labels
    source = A.toarray() + 3 * np.eye(3)[labels][:, labels] + np.arange(1, 10) % 2 * np.eye(9)
    path = bm.partition_path(source)
    axes = plot.tree(path)
    texts = [label.get_text() for label in axes.get_yticklabels()]
    p = path.best
    assert p.n_blocks > 1
    assert sorted(texts) == [
        f"{b} ({size} variable{'s' if size > 1 else ''})" for b, size in enumerate(p.sizes)
    ]
    names = [f"x{i}" for i in range(9)]
    texts = [label.get_text() for label in plot.tree(path.tree, names=names).get_yticklabels()]
    assert sorted(texts) == sorted(", ".join(f"x{i}" for i in members) for members in p)
    largest = max(x for line in axes.collections[0].get_segments() for x, _ in line)
    assert largest == pytest.approx(path.tree.links[-1, 2])
    given = Figure().subplots()
    assert plot.tree(path, given) is given


def test_the_tree_shows_the_best_signs():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 4)
    blocks = rng.standard_normal((300, 3))
    blocks[:, 1] -= blocks[:, 0]  # a merged block has negative correlations
    flips = rng.choice([-1, 1], 12)
    X = (blocks[:, labels] + 0.5 * rng.standard_normal((300, 12))) * flips
    path = bm.partition_path(X, samples=True, signs=True)
    assert (path.best.labels == labels).all()
    assert (path.best_signs != path.tree.signs).any()
    names = np.array([f"x{i}" for i in range(12)])
    minus = np.where(path.best_signs < 0, "\N{MINUS SIGN}", "")
    expected = sorted(", ".join(minus[i] + names[i] for i in members) for members in path.best)
    for drawn in (path, path.tree):
        texts = [label.get_text() for label in plot.tree(drawn, names=names).get_yticklabels()]
        assert sorted(texts) == expected


def test_the_tree_has_the_names_of_a_data_frame():
    pandas = pytest.importorskip("pandas")
    X = np.random.default_rng(0).standard_normal((100, 3))[:, [0, 0, 0, 1, 1, 2, 2]]
    X = X + 0.5 * np.random.default_rng(1).standard_normal(X.shape)
    frame = pandas.DataFrame(X, columns=list("abcdefg"))
    for source, options in ((frame, {"samples": True}), (frame.corr(), {"n_samples": 100})):
        path = bm.partition_path(source, **options)
        assert path.names == tuple("abcdefg")
        texts = [label.get_text() for label in plot.tree(path).get_yticklabels()]
        assert sorted(texts) == ["a, b, c", "d, e", "f, g"]
        others = plot.tree(path, names=range(7)).get_yticklabels()
        assert sorted(label.get_text() for label in others) == ["0, 1, 2", "3, 4", "5, 6"]
    assert bm.partition_path(X, samples=True).names is None


DOLLARS = ["$x_{$", "a$b$c", "$", r"\$x$", "US$", *"defg"]


def drawn_names(axes):
    """The texts beside an axis as matplotlib draws them, none of which is a formula."""
    axes.figure.draw_without_rendering()
    texts = [label.get_text() for label in axes.get_yticklabels()]
    assert not any(map(is_math_text, texts))
    return [text.replace(r"\$", "$") for text in texts]


def test_names_with_dollars_are_no_formulas():
    A, p = correlation(), bm.Partition.from_sizes([5, 1, 3], names=DOLLARS[:3])
    assert drawn_names(plot.matrix(A, names=DOLLARS)) == DOLLARS
    assert drawn_names(plot.matrix(bm.fit(A.toarray(), p))) == DOLLARS[:3]
    result = stability(3)._replace(names=DOLLARS)
    assert sorted(drawn_names(plot.stability(result)[0])) == sorted(DOLLARS)
    path = bm.partition_path(np.kron(np.eye(3), np.ones((3, 3))) + 0.1 * np.eye(9))
    leaves = sorted(", ".join(DOLLARS[i : i + 3]) for i in (0, 3, 6))
    assert sorted(drawn_names(plot.tree(path, names=DOLLARS))) == leaves


def test_axes_are_axes():
    A, result = correlation(), stability(3)
    path, figure = bm.partition_path(A.toarray()), Figure()
    for draw in (
        lambda ax: plot.path(path, ax),
        lambda ax: plot.tree(path, ax),
        lambda ax: plot.matrix(A, ax),
        lambda ax: plot.spectrum(A, ax=ax),
        lambda ax: plot.stability(result, [ax] * 3),
        lambda ax: plot.approximation(A.toarray(), A, [ax] * 3),
    ):
        for wrong, name in ((figure, "Figure"), ("x", "str"), (3, "int")):
            with pytest.raises(
                TypeError, match=rf"ax is a {name}\w*; expected matplotlib.axes.Axes"
            ):
                draw(wrong)


def test_what_the_pictures_refuse():
    A, result = correlation(), stability(3)
    wide = bm.BlockRectangularMatrix.from_values([0, 0], ["a", "a", "b"], [[1, 2]])
    n_figures = len(pyplot.get_fignums())
    for f in (lambda **x: plot.matrix(A, **x), lambda **x: plot.stability(result, **x)):
        with pytest.raises(bm.exceptions.ShapeError, match="signs has length 2; expected 9"):
            f(signs=[1, -1])
        with pytest.raises(ValueError, match=r"signs has 0.* at index 3; expected 1 or -1"):
            f(signs=[1, -1, 1, 0, 1, 1, 1, 1, 1])
        with pytest.raises(bm.exceptions.ShapeError, match="names has length 1; expected 9"):
            f(names=["x"])
    with pytest.raises(ValueError, match="signs and names are for square matrices"):
        plot.matrix(wide, signs=[1, 1])
    with pytest.raises(TypeError, match="path is a ndarray; expected a PartitionPath with a tree"):
        plot.tree(np.eye(3))
    with pytest.raises(TypeError, match="result is a PartitionPath; expected a PartitionStability"):
        plot.stability(bm.partition_path(A.toarray()))
    with pytest.raises(TypeError, match="result is a PartitionStability; expected a PartitionPath"):
        plot.path(result)
    model = BlockCovariance(A.partition).fit(np.random.default_rng(0).standard_normal((20, 9)))
    with pytest.raises(TypeError, match=r"A is a BlockCovariance; .*: pass its operator_"):
        plot.matrix(model)
    with pytest.raises(ValueError, match="path has one block as its best partition"):
        plot.tree(bm.partition_path(np.ones((3, 3))))
    assert len(pyplot.get_fignums()) == n_figures


def test_a_notebook_shows_the_figure_of_a_fit():
    S = np.eye(4) + 1
    figure = plot.plot_fit(S, bm.fit(S, [0, 0, 1, 1]))
    assert not pyplot.get_fignums()
    assert figure._repr_png_().startswith(b"\x89PNG")
