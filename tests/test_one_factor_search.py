"""Blocks of one factor each: the model against dense formulas, the search, and the number of blocks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import blockmat as bm
from bench.questionnaires import Design, answers, correlation
from blockmat.finding.correlations.given_correlation import GivenCorrelation
from blockmat.finding.correlations.leading_spectrum import leading_spectrum
from blockmat.finding.correlations.similarity import Correlation
from blockmat.finding.factor_blocks.accelerated_em import accelerated_em
from blockmat.finding.factor_blocks.factor_criteria import (
    FactorCriterion,
    MisfitCriterion,
    degrees_of_freedom,
    excess_optimism,
    pairs_penalty,
)
from blockmat.finding.factor_blocks.factor_merges import FactorMerges
from blockmat.finding.factor_blocks.factor_search import FactorSearch
from blockmat.finding.factor_blocks.one_factor import (
    MIN_NOISE,
    discrepancy,
    em,
    em_step,
    evaluate,
    moved,
    moves,
    starting_model,
)
from blockmat.finding.factor_blocks.split_merge import (
    cheapest_merge,
    merge,
    merge_costs,
    residual_directions,
    split,
)
from blockmat.finding.search.search import SearchOptions

EPS = np.finfo(np.float64).eps
SIX = Design(n_scales=3, n_items=6, loadings=(0.5, 0.8), n_alike=0)


def random_model(seed, n=9, k=3, n_samples=40):
    """A model with random parameters, in the correlations of random samples."""
    rng = np.random.default_rng(seed)
    R = Correlation(rng.standard_normal((n_samples, n)))
    labels = rng.permutation(np.arange(n) % k)
    s = rng.uniform(0.2, 0.9, n) * rng.choice([-1, 1], n)
    F = np.corrcoef(rng.standard_normal((k, 2 * k)))
    return R, evaluate(R, bm.Partition.from_labels(labels), s, rng.uniform(0.1, 1, n), F)


def dense(model):
    Z = np.eye(len(model.factors))[model.labels] * model.loadings[:, None]
    return np.diag(model.noise) + Z @ model.factors @ Z.T


def correlations(R):
    return R.factor.T @ R.factor


def agreement(labels, found):
    """The adjusted Rand index."""
    from sklearn.metrics import adjusted_rand_score

    return adjusted_rand_score(labels, found)


@given(st.integers(0, 999))
@settings(max_examples=25)
def test_the_loss_is_the_gaussian_deviance(seed):
    R, model = random_model(seed)
    M = dense(model)
    expected = np.linalg.slogdet(M)[1] + np.trace(np.linalg.solve(M, correlations(R))) - 9
    np.testing.assert_allclose(model.loss, expected, rtol=1e-10, atol=1e-10)


@given(st.integers(0, 999))
@settings(max_examples=25)
def test_the_discrepancy_is_that_of_whitened_variables(seed):
    R, model = random_model(seed)
    w, V = np.linalg.eigh(dense(model))
    root = (V / np.sqrt(w)) @ V.T
    expected = np.linalg.norm(root @ correlations(R) @ root - np.eye(9)) ** 2 / 2
    np.testing.assert_allclose(discrepancy(R, model), expected, rtol=1e-9)


@pytest.mark.parametrize("signs", [False, True])
@given(st.integers(0, 999))
@settings(max_examples=25)
def test_a_step_of_em_never_raises_the_loss(signs, seed):
    R, model = random_model(seed)
    if not signs:
        model = evaluate(R, model.partition, abs(model.loadings), model.noise, model.factors)
    for _ in range(5):
        after = em_step(R, model, signs)
        assert after.loss <= model.loss + 1e-12
        np.testing.assert_allclose(np.diag(after.factors), 1)
        assert signs or (after.loadings >= 0).all()
        model = after


def test_accelerated_em_ends_where_the_gradient_is_zero():
    """At the maximum of the likelihood the model has ones on its diagonal, and M^-1 R M^-1 = M^-1
    in the directions of the loadings and of the factors."""
    X, labels = answers(SIX, 300, 0)
    R = Correlation(X)
    model = accelerated_em(R, starting_model(R, labels, np.ones(18)), True, 3000, 1e-14)
    assert (model.noise > MIN_NOISE).all()
    M = np.linalg.inv(dense(model))
    gradient = M - M @ correlations(R) @ M
    Z = np.eye(3)[labels] * model.loadings[:, None]
    # The last steps changed the loss by 1e-14, and so the gradient by about its root
    assert abs(np.diag(gradient)).max() < 1e-5
    assert abs((gradient @ Z @ model.factors)[np.arange(18), labels]).max() < 1e-5
    assert abs(Z.T @ gradient @ Z).max() < 1e-5


@pytest.mark.parametrize("signs", [False, True])
@given(st.integers(0, 999))
@settings(max_examples=15)
def test_accelerated_em_never_raises_the_loss(signs, seed):
    R, model = random_model(seed)
    model = evaluate(R, model.partition, abs(model.loadings), model.noise, model.factors)
    losses = [accelerated_em(R, model, signs, steps, -np.inf).loss for steps in range(40)]
    assert (np.diff(losses) <= 1e-12).all()
    after = accelerated_em(R, model, signs, 200, -np.inf)
    assert (np.linalg.eigvalsh(after.factors) > 0).all()
    np.testing.assert_allclose(after.factors, after.factors.T, atol=4 * EPS)
    np.testing.assert_allclose(np.diag(after.factors), 1, atol=4 * EPS)
    assert signs or (after.loadings >= 0).all()


@pytest.mark.parametrize("signs", [False, True])
def test_accelerated_em_is_hardly_ever_behind_em(signs):
    """Both end at the same loss, or EM is not there yet; one start in a hundred has two optima."""
    behind = 0
    for seed in range(40):
        R, model = random_model(seed)
        model = evaluate(R, model.partition, abs(model.loadings), model.noise, model.factors)
        after, plain = accelerated_em(R, model, signs, 200, -np.inf), em(R, model, signs, 200)
        behind += after.loss > plain.loss + 1e-6
    assert behind <= 1


def test_accelerated_em_needs_few_steps():
    X, labels = answers(Design(), 1000, 1)
    R = Correlation(X)
    model = starting_model(R, labels, np.sign(X[:, 0] @ X))
    least = accelerated_em(R, model, True, 1000, -np.inf).loss
    assert accelerated_em(R, model, True, 15, -np.inf).loss - least < 1e-6
    assert em(R, model, True, 15).loss - least > 1e-6
    slow = accelerated_em(R, model, True, 1000, 1e-4)  # ends early
    assert 1e-12 < slow.loss - least < 1e-2


@given(st.integers(0, 99))
@settings(max_examples=10)
def test_a_cost_is_the_likelihood_given_the_expected_factors(seed):
    R, model = random_model(seed)
    C, M = correlations(R), dense(model)
    costs, loadings = moves(model, True)
    for i, b in itertools.product(range(9), range(3)):
        rest = np.arange(9) != i
        cross = model.factors[b, model.labels[rest]] * model.loadings[rest]
        beta = np.linalg.solve(M[np.ix_(rest, rest)], cross)  # f_b is about x[rest] @ beta
        r, v = C[i, rest] @ beta, cross @ beta
        np.testing.assert_allclose(loadings[i, b], r / v, rtol=1e-8)
        np.testing.assert_allclose(costs[i, b], np.log(max(1 - r * r / v, MIN_NOISE)), atol=1e-8)
    at_least = moves(model, False)
    assert (at_least.loadings >= 0).all()
    np.testing.assert_array_equal(at_least.costs[loadings > 0], costs[loadings > 0])
    assert (at_least.costs[loadings < 0] == 0).all()


def test_variables_that_move_get_the_loadings_of_their_new_blocks():
    R, model = random_model(0)
    labels = np.roll(model.labels, 1)
    to = moves(model, True)
    after = moved(R, model, labels, to)
    stays = labels == model.labels
    np.testing.assert_array_equal(after.loadings[stays], model.loadings[stays])
    wanted = to.loadings[np.arange(9), labels]
    np.testing.assert_array_equal(
        np.sign(after.loadings), np.where(stays, model.signs, np.sign(wanted))
    )
    np.testing.assert_allclose(after.noise[~stays], 1 - after.loadings[~stays] ** 2)


def test_the_residual_direction_tells_two_scales_in_one_block_apart():
    X, labels = answers(SIX, 500, 1)
    R = Correlation(X)
    together = np.minimum(labels, 1)  # the last two scales are one block
    signs = np.sign(np.linalg.eigh(correlations(R))[1][:, -1])
    model = em(R, starting_model(R, together, signs), True, 200)
    directions, gains = residual_directions(R, model)
    assert np.argmax(gains) == 1
    found = split(together, 1, directions * model.signs, 2)
    assert agreement(labels, found) == 1
    # The eigenvalue is that of the dense residual matrix
    block = np.flatnonzero(together == 1)
    M = dense(model)
    E = (correlations(R) - M)[np.ix_(block, block)] / np.sqrt(np.outer(*[model.noise[block]] * 2))
    np.fill_diagonal(E, 0)
    w = np.linalg.eigvalsh(E)[-1]
    np.testing.assert_allclose(gains[1], w - np.log1p(w), rtol=1e-3)  # of 12 power steps


def test_a_split_makes_two_blocks_that_are_not_empty():
    labels = np.array([0, 0, 1, 1, 1])
    for direction in (np.ones(5), -np.ones(5), np.zeros(5), np.arange(5.0)):
        found = split(labels, 1, direction, 2)
        assert np.bincount(found).tolist() in ([2, 1, 2], [2, 2, 1])
        assert labels.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("r", [0.0, 0.5, -0.9])
def test_a_merge_costs_the_divergence_of_the_weighted_sums(r):
    R, model = random_model(2, k=2)
    F = np.array([[1, r], [r, 1]])
    model = evaluate(R, model.partition, model.loadings, model.noise, F)
    x = np.sqrt(model.precision)
    S = np.eye(2) + np.outer(x, x) * np.array([[1, abs(r)], [abs(r), 1]])
    M = np.eye(2) + np.outer(x, x)
    expected = np.linalg.slogdet(M)[1] + np.trace(np.linalg.solve(M, S)) - 2
    expected -= np.linalg.slogdet(S)[1]
    np.testing.assert_allclose(merge_costs(model.precision, np.abs(model.factors))[0, 1], expected)
    assert np.isinf(np.diag(merge_costs(model.precision, np.abs(model.factors)))).all()
    assert cheapest_merge(model, True)[:2] == (0, 1)
    labels, signs = merge(model, 0, 1, True)
    assert (labels == 0).all()
    turned = model.signs[model.labels == 1] == signs[model.labels == 1]
    first = model.signs[model.labels == 0] == signs[model.labels == 0]
    assert (turned.all() and first.all()) == (r >= 0)
    assert (merge(model, 0, 1, False)[1] == 1).all()


def test_a_merge_keeps_the_other_blocks():
    _, model = random_model(3, k=4)
    labels, _ = merge(model, 1, 2, True)
    expected = np.array([0, 1, 1, 2])[model.labels]
    np.testing.assert_array_equal(labels, expected)
    costs = merge_costs(model.precision, np.abs(model.factors))
    a, b, _ = cheapest_merge(model, True)
    assert a < b
    assert costs[a, b] == costs.min()


def test_splits_and_merges_leave_a_poor_optimum():
    X, labels = answers(Design(n_scales=4, n_items=6, loadings=(0.5, 0.8)), 1000, 3)
    R = Correlation(X)
    search = FactorSearch(R, 8, SearchOptions(False, True, 0))
    # Two scales in one block, and one scale in two
    wrong = np.where(labels == 3, 2, labels)
    wrong[np.flatnonzero(labels == 0)[:3]] = 3
    poor = em(R, starting_model(R, wrong, np.ones(24)), True, 50)
    better = search.improve(poor)
    assert agreement(labels, better.labels) == 1
    assert better.loss < poor.loss


@pytest.mark.parametrize("n_blocks", [None, 3])
def test_scales_with_reversed_items_are_found(n_blocks):
    X, labels = answers(SIX, 300, 4)
    p, signs = bm.find_partition(X, n_blocks, samples=True, signs=True)
    assert agreement(labels, p.labels) == 1
    R = correlation(SIX, np.random.default_rng(4))[0]
    within = R[labels[:, None] == labels] * np.outer(signs, signs)[labels[:, None] == labels]
    assert (within > 0).all()


def test_without_signs_a_block_has_no_reversed_item():
    X, _ = answers(SIX, 400, 5)
    p = bm.find_partition(X, samples=True)
    R = np.corrcoef(X, rowvar=False)
    for block in p:
        assert (R[np.ix_(block, block)] > 0).all()
    assert p.n_blocks > 3  # reversed items are blocks of their own


@pytest.mark.parametrize("n_samples", [200, 500, 20_000])
def test_the_number_of_scales_stays_when_samples_are_many(n_samples):
    for seed in range(2):
        X, labels = answers(Design(), n_samples, seed)
        p, _ = bm.find_partition(X, samples=True, signs=True)
        assert abs(p.n_blocks - 5) <= 1
        assert agreement(labels, p.labels) > 0.9
    if n_samples == 20_000:  # the likelihood alone finds more
        assert bm.partition_path(X, True, signs=True, criterion="icl").best.n_blocks > 6


def test_the_number_of_blocks_of_an_exact_model_is_that_of_the_likelihood():
    """Without errors of the model, blocks that are hardly different are told apart by many samples."""
    labels = np.repeat([0, 1], 10)
    R = 0.3 * (labels[:, None] == labels) + 0.27 * (labels[:, None] != labels) + 0.7 * np.eye(20)
    rng = np.random.default_rng(0)
    few, many = (rng.standard_normal((T, 20)) @ np.linalg.cholesky(R).T for T in (100, 5000))
    assert bm.find_partition(few, samples=True).n_blocks == 1
    assert agreement(labels, bm.find_partition(many, samples=True).labels) == 1


def test_a_single_factor_and_noise_are_one_block():
    one = Design(n_scales=1, n_items=25, n_alike=0)
    for seed, n_samples in enumerate((100, 1000, 10_000)):
        assert (
            bm.find_partition(answers(one, n_samples, seed)[0], samples=True, signs=True)[
                0
            ].n_blocks
            == 1
        )
        noise = np.random.default_rng(seed).standard_normal((n_samples, 20))
        assert bm.find_partition(noise, samples=True).n_blocks == 1


def test_criteria_are_their_formulas():
    X, _ = answers(SIX, 200, 6)
    R = Correlation(X)
    search = FactorSearch(R, 4, SearchOptions(False, True, 0))
    found = [search.find(k) for k in (2, 3, 4)]
    T, n, C = 200, 18, correlations(R)
    deviances = [
        T * (np.linalg.slogdet(dense(m))[1] + np.trace(np.linalg.solve(dense(m), C)) - n)
        for m in found
    ]

    def penalty(m, effective):
        k, share = len(m.factors), m.sizes / n
        few = T * k / (T - k - 2) - k - k * (k + 2) / T
        return np.log(effective) * k * (k - 1) / 2 - 2 * n * share @ np.log(share) + effective * few

    icl = [d + penalty(m, T) for d, m in zip(deviances, found, strict=True)]
    np.testing.assert_allclose(FactorCriterion(R, True, False).values(found), icl)
    labels = [2 * n * (m.sizes / n) @ np.log(n / m.sizes) for m in found]
    bic = FactorCriterion(R, False, False).values(found)
    np.testing.assert_allclose(bic, np.array(icl) - labels)
    free = np.array([n * (n - 1) / 2 - n - k * (k - 1) / 2 for k in (2, 3, 4)])
    assert free.tolist() == [degrees_of_freedom(m) for m in found]
    absolute = np.array([discrepancy(R, m) for m in found])
    best = np.argmin(absolute / free)
    F = absolute[best] + (np.array(deviances) - deviances[best]) / T
    v = np.maximum(F / free, 1 / T)
    expected = n * (n - 1) / 2 * np.log(v) + F / v
    expected += [penalty(m, 1 / each) for m, each in zip(found, v, strict=True)]
    n_pairs = np.array([(m.sizes == 2).sum() for m in found])
    assert n_pairs.max() > 0
    expected -= n_pairs * np.log(v)
    np.testing.assert_allclose(MisfitCriterion(R, False).values(found), expected)


def test_a_true_model_has_no_misfit_also_with_fewer_samples_than_variables():
    """The discrepancy has the mean (degrees of freedom) / T, to about 1 / n."""
    design = Design(n_scales=4, n_items=15, loadings=(0.5, 0.8), n_alike=0)
    ratios = []
    for seed in range(10):
        X, labels = answers(design, 40, seed)
        R = Correlation(X)
        signs = np.sign(np.linalg.eigh(correlations(R))[1][:, -1])
        model = em(R, starting_model(R, labels, signs), True, 300)
        ratios.append(40 * discrepancy(R, model) / degrees_of_freedom(model))
    assert abs(np.mean(ratios) - 1) < 0.1


def test_the_small_sample_correction_vanishes_for_many_samples_and_forbids_many_blocks():
    assert excess_optimism(8, 10) == np.inf
    assert 0 < excess_optimism(5, 10**6) < 1e-9
    rng, T, k = np.random.default_rng(0), 30, 5
    lacks = []  # of the loss of k observed factors, by 2000 fits
    for _ in range(2000):
        fitted = np.cov(rng.standard_normal((T, k)), rowvar=False, ddof=0)
        lacks.append(np.trace(np.linalg.inv(fitted)) - k)
    error = np.std(lacks) / len(lacks) ** 0.5
    assert abs(np.mean(lacks) - excess_optimism(k, T) - k * (k + 2) / T) < 4 * error


def test_held_out_samples_have_the_likelihood_of_the_factor_model():
    X, _ = answers(SIX, 60, 7)
    path = bm.partition_path(X, True, criterion="cv", max_blocks=3, signs=True)
    expected = 0
    for fold in np.array_split(np.arange(60), 5):
        rest = np.delete(X, fold, axis=0)
        R = Correlation(rest)
        model = FactorSearch(R, 3, SearchOptions(False, True, None)).find(2)
        new = (X[fold] - rest.mean(0)) / rest.std(0)
        logpdf = multivariate_normal.logpdf(new, cov=dense(model)) + 18 / 2 * np.log(2 * np.pi)
        expected -= 2 * logpdf.sum()
    np.testing.assert_allclose(path.criterion[1], expected)


@given(st.integers(0, 99), st.integers(1, 12))
@settings(max_examples=15)
def test_there_are_as_many_blocks_as_asked_for(seed, k):
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.standard_normal((20, 4)), 3, axis=1)  # every variable three times
    p, signs = bm.find_partition(X * rng.choice([-1, 1], 12), k, samples=True, signs=True)
    assert p.n_blocks == k
    assert set(signs) <= {1, -1}
    assert bm.find_partition(X, k, samples=True).n_blocks == k


@pytest.mark.parametrize("n_samples", [4, 700])  # more samples are reduced to n rows
@pytest.mark.parametrize("given", [False, True])
def test_weighted_sums_are_products_with_the_dense_matrix(n_samples, given):
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((n_samples, 300)), rng.standard_normal(300)
    labels, M = rng.permutation(np.arange(300) % 7), rng.standard_normal((7, 7))
    C, W = np.corrcoef(X, rowvar=False), np.eye(7)[labels] * w[:, None]
    R = GivenCorrelation(C, leading_spectrum(C), n_samples) if given else Correlation(X)
    weighted = R.weighted_sums(bm.Partition.from_labels(labels), w)
    tolerance = (
        1000 * EPS * abs(W).sum()
    )  # sums of 300 correlations, each with an error of some EPS
    np.testing.assert_allclose(weighted.products(), C @ W, atol=tolerance)
    np.testing.assert_allclose(weighted.sums, W.T @ C @ W, atol=100 * tolerance)
    own = (C @ W @ M)[np.arange(300), labels]
    np.testing.assert_allclose(weighted.own(M), own, atol=10 * tolerance)
    assert weighted.products() is not weighted.products()


def test_weights_of_row_sums_are_those_of_columns():
    R = Correlation(np.random.default_rng(0).standard_normal((7, 5)))
    w, p = np.arange(1.0, 6), bm.Partition.from_labels([0, 1, 0, 1, 1])
    C = correlations(R)
    np.testing.assert_allclose(R.row_sums(p, w), (C * w) @ np.eye(2)[p.labels], atol=20 * EPS)
    np.testing.assert_allclose(R.squared_norm(w), (C**2 * np.outer(w, w)).sum(), rtol=1e-13)


@pytest.mark.parametrize("sign", [1, -1])
def test_merged_factors_have_the_correlations_of_their_weighted_sum(sign):
    _, model = random_model(3, n=12, k=4)
    order = np.argsort(np.unique(model.labels, return_index=True)[1])
    x, F = model.precision[order], model.factors[np.ix_(order, order)]
    merges = FactorMerges(model)
    merges.merge(1, 3, sign)
    weights = np.eye(4)[:3]
    weights[1] = [0, x[1], 0, sign * x[3]]
    weights /= np.sqrt(np.diag(weights @ F @ weights.T))[:, None]
    np.testing.assert_allclose(merges.factors, weights @ F @ weights.T, atol=64 * EPS)
    with_joined = (F @ weights[1])[[1, 3]]
    expected = [x[0], x[[1, 3]] @ with_joined**2, x[2]]
    np.testing.assert_allclose(merges.precision, expected, rtol=64 * EPS)


def test_only_blocks_of_two_variables_cost_one_more_parameter():
    R, model = random_model(0, n=10, k=3)
    labels = np.repeat([0, 1, 2, 3, 4], [1, 1, 2, 2, 4])
    model = evaluate(
        R, bm.Partition.from_labels(labels), np.full(10, 0.5), np.full(10, 0.75), np.eye(5)
    )
    assert pairs_penalty(model, 50.0) == 2 * np.log(50)
