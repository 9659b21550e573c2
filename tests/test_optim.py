"""BlockAdaGrad, minimize and newton_preconditioner against the dense formulas."""

import copy
import pickle

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, cg

import blockmat as bm
from blockmat.exceptions import NonFiniteError
from blockmat.optim import BlockAdaGrad, minimize, newton_preconditioner
from blockmat.testing import partitions, project_dense
from tests.cases import random_array


def dense_root(total, p, aligned, damping):
    """The damped inverse square root of the projection, with one damping for each core."""
    k, labels = p.n_blocks, p.labels
    U = np.zeros((p.n, k))
    U[np.arange(p.n), labels] = 1 / np.sqrt(p.sizes[labels])
    A = project_dense(total, p, aligned=aligned)
    root = damped(U.T @ A @ U, damping)
    root = U @ root @ U.T
    sizes = p.sizes[labels]
    classes = np.unique(p.sizes) if aligned else [None]  # each size is a core of its own
    for size in classes:
        members = sizes > 1 if size is None else sizes == size
        inside = np.diag(members.astype(float))
        deviations = inside @ (np.eye(p.n) - U @ U.T)
        w, v = np.linalg.eigh(deviations)
        basis = v[:, w > 0.5]
        root = root + basis @ damped(basis.T @ A @ basis, damping) @ basis.T
    return root


def damped(A, damping):
    if A.size == 0 or np.linalg.eigvalsh(A)[-1] <= 0:
        return np.zeros_like(A)
    w, v = np.linalg.eigh(A)
    w = np.maximum(w, 0)
    return (v / np.sqrt(w + damping * w.max())) @ v.conj().T


class DenseAdaGrad:
    """Full-matrix AdaGrad on the projected matrix, written out."""

    def __init__(self, p, lr, momentum, damping, aligned, decay=None):
        self.p, self.lr, self.momentum, self.damping = p, lr, momentum, damping
        self.aligned, self.decay = aligned, decay
        self.total, self.velocity, self.weight = np.zeros((p.n, p.n)), np.zeros(p.n), 0.0

    def step(self, x, g):
        kept, added = (1, 1) if self.decay is None else (self.decay, 1 - self.decay)
        self.total = kept * self.total + added * np.outer(g, g)
        self.weight = 1 if self.decay is None else kept * self.weight + added
        root = dense_root(self.total / self.weight, self.p, self.aligned, self.damping)
        self.velocity = self.momentum * self.velocity + root @ g
        return x - self.lr * self.velocity


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [None, 0.95])
@pytest.mark.parametrize("sizes", [[4, 4, 4], [3, 1, 4, 3], [5], [1, 1, 1]])
def test_fifty_steps_are_dense_adagrad_on_the_projection(aligned, momentum, decay, sizes):
    rng = np.random.default_rng(3)
    p = bm.Partition.from_labels(rng.permutation(np.repeat(np.arange(len(sizes)), sizes)))
    H = rng.standard_normal((p.n, p.n))
    H = H @ H.T / p.n + np.eye(p.n)
    x = rng.standard_normal(p.n)
    expected = x.copy()
    ours = BlockAdaGrad(p, lr=0.05, momentum=momentum, damping=1e-2, aligned=aligned, decay=decay)
    dense = DenseAdaGrad(p, 0.05, momentum, 1e-2, aligned, decay)
    for _ in range(50):
        noise = 0.1 * rng.standard_normal(p.n)
        ours.step(x, H @ x + noise)
        expected = dense.step(expected, H @ expected + noise)
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-9)
    assert np.abs(expected).max() < 10


@given(partitions(max_n=8), st.sampled_from([np.float32, np.float64, np.complex128]), st.booleans())
def test_a_step_does_not_depend_on_the_scale_of_the_gradient(p, dtype, aligned):
    g = random_array(np.random.default_rng(0), p.n, dtype)
    results = []
    for scale in (1, 1024):
        x = np.zeros(p.n, dtype)
        BlockAdaGrad(p, lr=1.0, aligned=aligned).step(x, scale * g)
        assert x.dtype == dtype
        results.append(x)
    np.testing.assert_allclose(*results, rtol=1e-4)
    assert np.vdot(results[0], g).real < 0  # downhill


def test_updates_are_in_place_for_any_layout_and_shape():
    rng = np.random.default_rng(0)
    g = rng.standard_normal((4, 6))
    flat = np.zeros(24)
    BlockAdaGrad(np.arange(24) // 6).step(flat, g.ravel())
    fortran, strided = np.zeros((4, 6), order="F"), np.zeros((8, 12))[::2, ::2]
    for x in (fortran, strided):
        BlockAdaGrad(bm.Partition.uniform(4, 6)).step(x, g)
        np.testing.assert_array_equal(x.ravel(), flat)
    assert np.abs(flat).min() > 0


def test_gradients_are_not_changed():
    g = np.random.default_rng(0).standard_normal(4)
    g.flags.writeable = False
    optimizer = BlockAdaGrad([0, 0, 1, 1], momentum=0.5)
    x = np.zeros(4)
    for _ in range(3):
        optimizer.step(x, g)


def test_several_arrays_are_updated_like_each_alone():
    rng = np.random.default_rng(0)
    ps = [bm.Partition.uniform(2, 3), bm.Partition.trivial(2)]
    together = [np.zeros((2, 3)), np.zeros(2, np.float32)]
    alone = copy.deepcopy(together)
    joint = BlockAdaGrad(ps, momentum=0.9)
    separate = [BlockAdaGrad(p, momentum=0.9) for p in ps]
    assert joint.partition == ps
    for _ in range(3):
        grads = [rng.standard_normal((2, 3)), rng.standard_normal(2).astype(np.float32)]
        joint.step(together, grads)
        for optimizer, x, g in zip(separate, alone, grads, strict=True):
            optimizer.step(x, g)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_zero_gradients_move_nothing():
    x = np.ones(4)
    optimizer = BlockAdaGrad([0, 0, 1, 1])
    optimizer.step(x, np.zeros(4))
    np.testing.assert_array_equal(x, 1)
    optimizer.step(x, [1.0, 1.0, 0.0, 0.0])  # no deviation from block means, as yet
    np.testing.assert_array_equal(x[2:], 1)
    assert (x[:2] < 1).all()


@pytest.mark.parametrize("interval", [1, 10, 1000])
def test_roots_are_renewed_at_the_steps_that_the_interval_says(interval, monkeypatch):
    renewed = []
    original = bm.BlockConstantMatrix.funm
    optimizer = BlockAdaGrad([0, 0, 1], update_interval=interval)

    def counted(A, f):
        renewed.append(optimizer.n_steps)
        return original(A, f)

    monkeypatch.setattr(bm.BlockConstantMatrix, "funm", counted)
    x, rng = np.zeros(3), np.random.default_rng(0)
    for _ in range(200):
        optimizer.step(x, rng.standard_normal(3))
    expected, last = [], 0
    for t in range(1, 201):
        if t - last >= interval or t - last >= max(1, t // 8):
            expected.append(t)
            last = t
    assert renewed == expected
    assert expected[:15] == list(range(1, 16))


@pytest.mark.parametrize("several", [False, True])
def test_resuming_is_exact(several):
    rng = np.random.default_rng(0)
    p = [bm.Partition.uniform(2, 3)] * 2 if several else bm.Partition.uniform(2, 3)

    def run(optimizer, x, seeds):
        for seed in seeds:
            g = np.random.default_rng(seed).standard_normal((2, 6))
            optimizer.step(*((list(x), list(g)) if several else (x[0], g[0])))

    x = rng.standard_normal((2, 6))
    first = BlockAdaGrad(p, lr=0.1, momentum=0.9, update_interval=7, aligned=True, decay=0.9)
    run(first, x, range(21))  # the last of them renews the roots, the next one does not
    saved, start = pickle.loads(pickle.dumps(first.state_dict())), x.copy()
    run(first, x, range(21, 40))
    for _ in range(2):  # also a second time: what is loaded is a copy
        second, y = BlockAdaGrad(p, aligned=True), start.copy()
        second.load_state_dict(saved)
        assert repr(second) == repr(first)
        run(second, y, range(21, 40))
        np.testing.assert_array_equal(x, y)


def test_past_updates_are_forgotten_where_momentum_is_0():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((4, 6))
    optimizer, x = BlockAdaGrad(bm.Partition.uniform(2, 3), lr=0.1, momentum=0.9), np.zeros(6)
    past = np.zeros(6)
    for momentum, g in zip((0.9, 0.0, 0.9, 0.9), gradients, strict=True):
        optimizer.momentum = momentum
        before = x.copy()
        optimizer.step(x, g)
        past = momentum * past + optimizer._slots[0].root @ g
        np.testing.assert_allclose(before - x, 0.1 * past, rtol=1e-12, atol=1e-15)
        velocity = optimizer.state_dict()["arrays"][0]["velocity"]
        assert (velocity is None) == (momentum == 0)
        past = past if momentum else np.zeros(6)


# Rounding, and the ends of the range

LOSSES = {  # gradients whose block sums are zero, whose blocks are constant, and neither
    "sums": lambda z: z - z.mean(axis=1, keepdims=True),
    "constant": lambda z: np.repeat(z[:, :1], z.shape[1], axis=1),
    "neither": lambda z: z,
}


def batch_trajectory(kind, dtype, is_permuted, **options):
    """Forty steps along gradients that are sums over batches, in order or not."""
    rng, order = np.random.default_rng(0), np.random.default_rng(1)
    x = rng.standard_normal((5, 8)).astype(dtype)
    path, optimizer = [x.copy()], BlockAdaGrad(bm.Partition.uniform(5, 8), lr=0.03, **options)
    for _ in range(40):
        a = rng.standard_normal((32, 5)).astype(dtype)
        z = LOSSES[kind](rng.standard_normal((32, 8)).astype(dtype))
        rows = order.permutation(32) if is_permuted else np.arange(32)
        residuals = np.tanh(np.einsum("bi,ij,bj->b", a, x, z)).astype(dtype)
        g = (a * residuals[:, None])[rows].T @ z[rows]
        optimizer.step(x, g)
        path.append(x.copy())
    return np.array(path)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_order_of_a_batch_changes_a_trajectory_by_rounding_only(kind, dtype, aligned, momentum):
    options = {"aligned": aligned, "momentum": momentum}
    one, other = (batch_trajectory(kind, dtype, p, **options) for p in (False, True))
    # Gradients differ by some eps, of which a root amplifies a part by at most damping^(-1/2).
    # Deviations from block means are a difference of sums, right to the rounding of double
    # precision: where they are all rounding, the root of their core is not below eps^(-1/2).
    bound = 40 * 32 * np.finfo(dtype).eps
    if kind == "constant":
        bound = max(bound, 40 * np.finfo(np.float64).eps ** 0.5)
    assert np.linalg.norm(one[-1] - other[-1]) <= bound * np.linalg.norm(one[-1] - one[0])
    assert one.dtype == dtype


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("decay", [None, 0.9])
@pytest.mark.parametrize("exponent", [-100, -40, 60, 110])
def test_a_factor_of_all_gradients_changes_nothing(aligned, dtype, decay, exponent):
    """Also where squares of single precision would overflow or underflow."""
    results = []
    for scale in (0, exponent):
        rng, x = np.random.default_rng(0), np.zeros((3, 4), dtype)
        optimizer = BlockAdaGrad(
            bm.Partition.uniform(3, 4), momentum=0.5, aligned=aligned, decay=decay
        )
        for _ in range(10):
            g = random_array(rng, 12, dtype).reshape(3, 4)
            optimizer.step(x, g * dtype(2.0**scale))
        results.append(x)
    # Powers of two change no digit but in LAPACK, which may scale
    np.testing.assert_allclose(*results, rtol=0, atol=64 * np.finfo(dtype).eps)
    assert results[0].dtype == dtype
    assert np.abs(results[0]).min() > 1e-4


@pytest.mark.parametrize("decay", [None, 0.9])
@pytest.mark.parametrize("size", [1e150, 3e153, 9e153, 1e154, 1e300])
def test_no_finite_gradient_makes_a_state_that_is_not_finite(decay, size):
    rng, x = np.random.default_rng(0), np.zeros(8)
    optimizer = BlockAdaGrad(bm.Partition.uniform(2, 4), decay=decay)
    messages = []
    for _ in range(30):
        before = x.copy(), pickle.dumps(optimizer.state_dict())
        try:
            optimizer.step(x, size * rng.uniform(-1, 1, 8))
        except NonFiniteError as error:
            messages.append(str(error))
            np.testing.assert_array_equal(x, before[0])
            assert pickle.dumps(optimizer.state_dict()) == before[1]
        assert np.isfinite(optimizer._slots[0].accumulator.matrix().toarray()).all()
        assert np.isfinite(optimizer._slots[0].root.toarray()).all()
    assert all("squares of grad overflow" in message for message in messages)
    least = 3e153 if decay is None else 9e153  # the sum of the squares of 8 entries
    assert bool(messages) == (size >= least)
    before = x.copy()
    optimizer.step(x, 1e150 * rng.uniform(1, 2, 8))
    assert (x != before).all()


def test_what_loads_an_old_state_counts_its_squares():
    saved = BlockAdaGrad([0, 0])
    saved.step(np.zeros(2), np.array([9e153, 0.0]))
    optimizer = BlockAdaGrad([0, 0])
    optimizer.load_state_dict(saved.state_dict())
    with pytest.raises(NonFiniteError, match="squares of grad overflow"):
        optimizer.step(np.zeros(2), np.array([0.0, 1.2e154]))


def good(**options):
    return BlockAdaGrad([0, 0, 1], **options)


def damaged(change):
    """The state of an optimizer with momentum after a step, damaged."""
    optimizer = good(momentum=0.5)
    optimizer.step(np.zeros(3), np.ones(3))
    state = optimizer.state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda o, x: o.step(x, [1.0, 2.0]), ValueError, r"x has shape \(3,\) and grad \(2,\)"),
        (lambda o, x: o.step(np.zeros(2), [1.0, 2.0]), ValueError, "with 3 entries"),
        (lambda o, x: o.step(x, [1.0, np.nan, 2.0]), np.linalg.LinAlgError, "grad contains nan at index 1"),
        (lambda o, x: o.step(x, [1e200, 1.0, 2.0]), ValueError, "squares of grad overflow"),
        (lambda o, x: o.step([0.0, 0.0, 0.0], np.ones(3)), TypeError, "x is a list"),
        (lambda o, x: o.step(np.zeros(3, int), np.ones(3)), TypeError, "x has dtype int64"),
        (lambda o, x: o.step(x, np.ones(3) * 1j), TypeError, "grad has dtype complex128"),
        (lambda o, x: o.step(np.broadcast_to(0.0, 3), np.ones(3)), TypeError, "read-only"),
        (lambda o, x: o.load_state_dict({}), ValueError, "state_dict has no lr"),
        (lambda o, x: o.load_state_dict(BlockAdaGrad([0, 1, 1]).state_dict()), ValueError, "another partition"),
        (lambda o, x: o.load_state_dict(good(aligned=True).state_dict()), ValueError, "aligned"),
        (lambda o, x: o.load_state_dict(BlockAdaGrad([[0], [0]]).state_dict()), ValueError, "2 arrays; expected 1"),
        (lambda o, x: o.load_state_dict(damaged(lambda s: s["arrays"][0].pop("root"))), ValueError, "state_dict has no root; expected acc"),
        (lambda o, x: o.load_state_dict(damaged(lambda s: s["arrays"][0].update(velocity=np.zeros(4)))), ValueError, r"velocity of shape \(4,\); expected \(3,\)"),
        (lambda o, x: o.load_state_dict(damaged(lambda s: s["arrays"][0].update(root=good()._slots[0].root.refine([0, 1, 2])))), ValueError, "another partition"),
        (lambda o, x: o.load_state_dict(damaged(lambda s: s.update(momentum=1.5))), ValueError, "momentum is 1.5"),
        (lambda o, x: (setattr(o, "lr", -1.0), o.step(x, np.ones(3))), ValueError, "lr is -1.0"),
    ],
)  # fmt: skip
def test_bad_input_changes_nothing(act, error, message):
    optimizer, x = good(), np.zeros(3)
    optimizer.step(x, [1.0, 2.0, 3.0])
    before, state = x.copy(), pickle.dumps(optimizer.state_dict()["arrays"])
    with pytest.raises(error, match=message):
        act(optimizer, x)
    np.testing.assert_array_equal(x, before)
    assert optimizer.n_steps == 1
    assert pickle.dumps(optimizer.state_dict()["arrays"]) == state


def test_bad_input_in_a_list_is_named_and_changes_nothing():
    optimizer = BlockAdaGrad([[0, 0], [0, 0]])
    x = [np.zeros(2), np.zeros(2)]
    with pytest.raises(ValueError, match=r"grad\[1\] contains inf"):
        optimizer.step(x, [np.ones(2), np.array([1.0, np.inf])])
    with pytest.raises(ValueError, match="grad has 1 items; expected a list of 2 arrays"):
        optimizer.step(x, [np.ones(2)])
    with pytest.raises(ValueError, match="x has 4 items"):
        optimizer.step(np.zeros(4), [np.ones(2), np.ones(2)])
    np.testing.assert_array_equal(x, 0)
    assert optimizer.n_steps == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, "lr is -1"),
        ({"lr": np.nan}, "lr is nan"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"damping": 0}, "damping is 0"),
        ({"decay": 1.0}, "decay is 1.0"),
        ({"update_interval": 0}, "update_interval is 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        good(**options)


# minimize


def quadratic(x):
    return float(x @ x), 2 * x


def test_minimize_is_the_loop_written_out():
    x, optimizer = np.arange(4.0), BlockAdaGrad([0, 0, 1, 1], lr=0.3, momentum=0.5)
    for _ in range(20):
        optimizer.step(x, quadratic(x)[1])
    result = minimize(
        quadratic, np.arange(4), partition=[0, 0, 1, 1], lr=0.3, momentum=0.5, maxiter=20
    )
    assert type(result) is scipy.optimize.OptimizeResult
    np.testing.assert_array_equal(result.x, x)
    assert result.fun == quadratic(x)[0]
    np.testing.assert_array_equal(result.jac, 2 * x)
    assert (result.nit, result.nfev, result.njev) == (20, 21, 21)
    assert (result.status, result.success) == (1, False)


def test_minimize_solves_rosenbrock_with_a_separate_jac_and_args():
    def fun(x, shift):
        return scipy.optimize.rosen(x - shift)

    def jac(x, shift):
        return scipy.optimize.rosen_der(x - shift)

    result = minimize(
        fun,
        np.zeros(4),
        (1.0,),
        partition=[0, 1, 2, 3],
        jac=jac,
        lr=1.0,
        momentum=0.9,
        gtol=1e-3,
        maxiter=3000,
    )
    assert result.success
    assert np.abs(result.jac).max() <= 1e-3
    np.testing.assert_allclose(result.x, 2, atol=0.01)


def test_minimize_starts_at_a_minimum_without_a_step():
    result = minimize(quadratic, np.zeros(2), partition=[0, 0])
    assert (result.nit, result.nfev, result.success) == (0, 1, True)


def test_callbacks_are_called_as_scipy_does():
    seen = []
    minimize(quadratic, [1.0, 2.0], partition=[0, 0], maxiter=3, callback=seen.append)
    assert len(seen) == 3
    assert all(type(x) is np.ndarray for x in seen)
    results = []

    def callback(intermediate_result):
        results.append(intermediate_result)
        if len(results) == 2:
            raise StopIteration

    result = minimize(quadratic, [1.0, 2.0], partition=[0, 0], maxiter=9, callback=callback)
    assert (result.nit, result.status, result.success) == (2, 99, False)
    np.testing.assert_array_equal(results[-1].x, result.x)
    assert not np.array_equal(results[0].x, results[1].x)
    assert results[-1].fun == result.fun


def test_minimize_stops_where_the_function_is_not_finite():
    def fun(x):
        return (np.nan if x[0] < 0.5 else x[0]), np.ones(2)

    result = minimize(fun, [1.0, 1.0], partition=[0, 0], lr=0.2)
    assert result.status == 3
    assert not result.success
    assert result.fun == result.x[0] >= 0.5
    assert minimize(fun, [0.0, 0.0], partition=[0, 0]).nit == 0


def test_minimize_returns_the_gradient_at_x_also_where_it_is_the_variables_themselves():
    def fun(x):
        return (np.nan if x[0] < 0.5 else x @ x / 2), x

    result = minimize(fun, [1.0, 1.0], partition=[0, 0], lr=0.2)
    assert result.status == 3
    assert result.fun == result.x @ result.x / 2
    np.testing.assert_array_equal(result.jac, result.x)


def test_minimize_shows_a_progress_bar(capsys):
    minimize(quadratic, [1.0, 2.0], partition=[0, 0], maxiter=3, progress=True)
    assert "minimize" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"x0": [[1.0]]}, ValueError, "x0 is 2-d"),
        ({"x0": [np.inf, 0.0]}, np.linalg.LinAlgError, "x0 contains inf"),
        ({"x0": [1.0, 2.0, 3.0]}, ValueError, "with 2 entries"),
        ({"jac": None}, TypeError, "jac is None; expected True or a function"),
        ({"jac": lambda x: np.ones(3)}, ValueError, r"the gradient has shape \(3,\)"),
        ({"maxiter": 0}, ValueError, "maxiter is 0"),
        ({"gtol": -1}, ValueError, "gtol is -1"),
    ],
)
def test_minimize_refuses_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        minimize(quadratic, **{"x0": [1.0, 2.0], "partition": [0, 0], **options})


# newton_preconditioner


def test_newton_preconditioner_is_the_clipped_inverse_of_the_fit():
    rng = np.random.default_rng(0)
    H = rng.standard_normal((6, 6))
    H = H + H.T
    p = bm.Partition.uniform(2, 3)
    P = newton_preconditioner(H, p, damping=0.1)
    w, v = np.linalg.eigh(project_dense(H, p))
    assert w[0] < 0
    np.testing.assert_allclose(P.toarray(), (v / np.maximum(w, 0.1 * w[-1])) @ v.T, atol=1e-12)
    assert P.is_positive_definite()


def test_products_with_the_hessian_and_its_diagonal_suffice():
    rng = np.random.default_rng(0)
    H = rng.standard_normal((6, 6))
    H = H @ H.T
    p = bm.Partition.uniform(2, 3)
    operator = LinearOperator(H.shape, matvec=lambda v: H @ v, dtype=float)
    exact = newton_preconditioner(operator, p, diagonal=np.diag(H))
    np.testing.assert_allclose(exact.toarray(), newton_preconditioner(H, p).toarray(), rtol=1e-9)
    estimated = newton_preconditioner(operator, p, n_probes=4000, random_state=0)
    fitted, stderr = bm.fit(operator, p, n_probes=4000, random_state=0, return_stderr=True)
    # The within numbers are estimated, and an entry of the inverse changes by no more than theirs
    atol = 4 * np.max(stderr / fitted.within**2)
    np.testing.assert_allclose(estimated.toarray(), exact.toarray(), rtol=0, atol=atol)


def test_it_saves_iterations_on_a_logistic_regression_with_groups():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(5), 40)
    X = 2 * rng.standard_normal((1000, 5))[:, group] + rng.standard_normal((1000, 200))
    weights = 1 / (1 + np.exp(-X @ (0.02 * rng.standard_normal(200))))
    weights *= 1 - weights

    def product(v):
        v = v.ravel()
        return X.T @ (weights * (X @ v)) + 0.1 * v

    H = LinearOperator((200, 200), matvec=product, dtype=float)
    diagonal = weights @ X**2 + 0.1
    P = newton_preconditioner(H, group, diagonal=diagonal)
    b = rng.standard_normal(200)
    counts = []
    for M in (None, P):
        count = []
        _, info = cg(H, b, rtol=1e-8, M=M, callback=count.append)
        assert info == 0
        counts.append(len(count))
    assert counts[1] < 0.7 * counts[0]


@pytest.mark.parametrize(
    ("hessian", "options", "error", "message"),
    [
        (-np.eye(2), {}, np.linalg.LinAlgError, "no positive curvature"),
        (np.eye(2), {"damping": 0}, ValueError, "damping is 0"),
        (np.eye(3), {}, ValueError, "partition"),
    ],
)
def test_newton_refuses_bad_input(hessian, options, error, message):
    with pytest.raises(error, match=message):
        newton_preconditioner(hessian, [0, 0], **options)


def test_newton_does_not_depend_on_the_unit_of_the_hessian():
    x = np.random.default_rng(0).standard_normal((6, 6))
    H, p = x @ x.T + np.eye(6), [0, 0, 0, 1, 1, 1]
    for unit in (1e-9, 1e9):
        scaled = newton_preconditioner(unit * H, p).toarray() * unit
        np.testing.assert_allclose(scaled, newton_preconditioner(H, p).toarray(), rtol=1e-9)
    with pytest.raises(np.linalg.LinAlgError, match="no positive curvature"):
        newton_preconditioner(np.zeros((6, 6)), p)


def test_minimize_says_that_it_has_converged():
    result = minimize(
        lambda x: x @ x, np.ones(3), jac=lambda x: 2 * x, partition=[0, 0, 1], gtol=1e-3, lr=0.1
    )
    assert (result.status, result.success) == (0, True)
