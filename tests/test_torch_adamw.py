"""BlockAdamW for PyTorch: the contract of torch.optim, a dense oracle, and roles of parameters."""

import copy
import math
import re

import numpy as np
import pytest

from blockmat.exceptions import NonFiniteError
from tests.optimizer_contract import (
    Contract,
    assert_same,
    assert_same_state,
    filled,
    small_model,
    train,
    values,
)

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch._dynamo.testing import CompileCounter  # noqa: E402

from blockmat.optim.torch import BlockAdamW, directions, roots, whitened_step, whitening  # noqa: E402
from blockmat.optim.torch.stack import StackLayout  # noqa: E402

# Lists of tensors without a model are meant here.
pytestmark = pytest.mark.filterwarnings("ignore:params has . matrices and no model is given")

KWARGS = {
    "default": {},
    "non-default lr": {"lr": 0.01},
    "Tensor lr": {"lr": torch.tensor(0.003)},
    "betas": {"betas": (0.8, 0.9), "adam_betas": (0.5, 0.5)},
    "no momentum": {"betas": (0.0, 0.0), "nesterov": False},
    "weight_decay": {"weight_decay": 0.1},
    "decay of all": {"weight_decay": 0.1, "decay_all": True},
    "maximize": {"maximize": True, "weight_decay": 0.1},
    "no directions": {"n_directions": 0},
    "adam": {"roles": "adam"},
    "parts": {"max_blocks": 2},
}


def pytest_generate_tests(metafunc):
    if metafunc.cls is not None:
        metafunc.cls.generate(metafunc)


class TestBlockAdamW(Contract):
    optimizer, kwargs = BlockAdamW, KWARGS
    chosen, resolved = {"roles": "adam"}, "n_matrices"


# The dense oracle, in double precision, from the formulas of the theory page


def composed(x):
    """The composition of the polynomials at singular values."""
    for coefficients in roots.COEFFICIENTS:
        x = sum(c * x ** (2 * j + 1) for j, c in enumerate(coefficients))
    return x


def inverse_root(core, damping, norm=None):
    """The root as a function of the eigenvalues."""
    values, vectors = torch.linalg.eigh(core)
    norm = torch.linalg.matrix_norm(core, keepdim=True) if norm is None else norm.reshape(1, 1)
    x = ((values.clamp(min=0) / norm.squeeze(-1) + damping) / (1 + damping)).sqrt()
    factors = composed(x) / (x * (norm.squeeze(-1) * (1 + damping)).sqrt())
    return (vectors * factors.unsqueeze(-2)) @ vectors.mT


def relative_scales(scales, damping):
    relative = scales / scales.mean() if scales.any() else torch.ones_like(scales)
    return (relative + damping * relative.max()) ** -0.5


class Oracle:
    """One matrix (k, m), k <= m."""

    def __init__(self, k, m, n_directions):
        self.momentum, self.core, self.scales = (
            torch.zeros(k, m).double(),
            0,
            torch.zeros(m).double(),
        )
        r = min(n_directions, k // 4)
        waves = torch.arange(m).double() + 0.5
        waves = torch.cos(waves[:, None] * (math.pi / m) * torch.arange(1, r + 1))
        self.V = torch.linalg.qr(waves)[0] if r else torch.zeros(m, 0).double()
        self.variances, self.rest, self.norm, self.t = torch.zeros(r).double(), 0.0, 0.0, 0

    def update(self, g, b1, b2, damping, nesterov):
        k, m = g.shape
        self.t += 1
        self.momentum = b1 * self.momentum + (1 - b1) * g
        ahead = b1 * self.momentum + (1 - b1) * g if nesterov else self.momentum
        u = ahead / (1 - b1 ** (self.t + nesterov))
        x = u * relative_scales(self.scales, damping)
        self.core = b2 * self.core + (1 - b2) * x @ x.T / m
        core = self.core / (1 - b2**self.t)
        self.norm = 0.99 * self.norm + 0.01 * core.norm()
        h = inverse_root(core, damping, torch.maximum(core.norm(), 0.01 * self.norm)) @ u
        self.scales = b2 * self.scales + (1 - b2) * (h**2).mean(0)
        h = h * relative_scales(self.scales, damping)
        if self.V.shape[1] == 0:
            return h
        along = h @ self.V
        variances = (along**2).mean(0)
        rest = ((h**2).sum() / k - variances.sum()) / (m - len(variances))
        self.variances = 0.8 * self.variances + 0.2 * variances
        self.rest = 0.8 * self.rest + 0.2 * rest
        change = 0.2 * h.T @ along / k
        new = self.V * torch.maximum(0.8 * self.variances, change.norm(dim=0) / 3) + change
        ratio = self.rest / self.variances.clamp(min=0.1 * self.rest, max=4 * self.rest)
        length = h.norm()
        h = h + along * (ratio**0.5 - 1) @ self.V.T
        h = h * (length / h.norm())
        q, upper = torch.linalg.qr(new)
        self.V = q * upper.diagonal().sign()
        return h


@pytest.mark.parametrize("n_directions", [0, 2, 16])
@pytest.mark.parametrize("betas", [(0.9, 0.5), (0.0, 0.5), (0.95, 0.9)])
@pytest.mark.parametrize("nesterov", [True, False])
def test_it_equals_its_formula(n_directions, betas, nesterov):
    """To the rounding of decompositions in double precision, for 20 steps."""
    shapes = [(8, 20), (20, 8), (12, 12), (8, 20), (5, 40), (6, 2, 3, 3)]
    params = [nn.Parameter(filled(s, i, torch.float64)) for i, s in enumerate(shapes)]
    start = values(params)
    optimizer = BlockAdamW(
        params, lr=1e-2, betas=betas, n_directions=n_directions, nesterov=nesterov
    )
    oracles = [Oracle(*sorted((s[0], math.prod(s[1:]))), n_directions) for s in shapes]
    expected = values(params)
    for seed in range(20):
        for i, (p, oracle) in enumerate(zip(params, oracles, strict=True)):
            rows, columns = len(p), p.numel() // len(p)
            g = filled(p.shape, 100 * seed + i, torch.float64).reshape(rows, columns)
            g = g * torch.logspace(0, 2, columns)
            p.grad = g.reshape(p.shape)
            h = oracle.update(g if rows <= columns else g.T, *betas, 1e-6, nesterov)
            h = h if rows <= columns else h.T
            scale = 18.0 * math.sqrt(min(1, rows / columns) / max(rows, columns))
            expected[i] -= 1e-2 * scale * h.reshape(p.shape)
        optimizer.step()
    for p, e, s in zip(params, expected, start, strict=True):
        error = (p.detach() - e).norm() / (e - s).norm()
        assert error < 1e-9, error


# Roots


def test_the_polynomials_are_as_accurate_as_they_say():
    inside = composed(np.geomspace(3e-3, 1, 100_001))
    assert 0.12 < np.abs(1 - inside).max() < 0.125
    below = np.geomspace(1e-6, 3e-3, 10_001)
    assert (composed(below) / below).max() < 342
    assert (composed(below) < 0.9).all()


@pytest.mark.parametrize("k", [1, 2, 16, 96])
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6, 1e9, np.inf])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_roots_are_functions_of_the_eigenvalues(k, condition, scale, dtype):
    """Errors of rounding grow with the slope of ``f(x) / x`` at a damping of 1e-6.

    An entry of X is rounded to eps. Its root is at most 341, and changes by at most 1e6 / 2 per unit
    of an eigenvalue, relative to itself.
    """
    basis = torch.linalg.qr(filled((3, k, k), 0, torch.float64))[0]
    w = torch.zeros(k).double()
    w[: 1 if np.isinf(condition) else k] = 1
    if not np.isinf(condition):
        w = torch.logspace(0, -math.log10(condition), k).double()
    cores = (basis * w) @ basis.mT
    given = (scale * cores).to(dtype)
    norms = roots.frobenius_norms(given)
    expected = torch.linalg.matrix_norm(cores)
    torch.testing.assert_close(
        norms.double() / scale,
        expected,
        rtol=k * torch.finfo(dtype).eps + 1e-6 * (dtype != torch.float64),
        atol=0,
    )
    root = roots.inverse_root(given, norms, 1e-6).double()
    expected = inverse_root(cores, 1e-6) / math.sqrt(scale)
    error = torch.linalg.matrix_norm(root - expected) / torch.linalg.matrix_norm(expected)
    assert error.max() < 5e5 * torch.finfo(dtype).eps, error


def test_the_root_of_zero_is_zero():
    cores = torch.stack([torch.zeros(3, 3), torch.eye(3)])
    root = roots.inverse_root(cores, roots.frobenius_norms(cores), 1e-6)
    assert not root[0].any()
    torch.testing.assert_close(root[1], torch.eye(3), rtol=0.13, atol=1e-5)


# Directions


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("condition", [1, 2, 1e6])
def test_directions_are_orthonormal_and_span_the_same(dtype, condition):
    """One Cholesky factorization loses the square of the condition of the scaled columns."""
    x = torch.linalg.qr(filled((2, 50, 6), 0, torch.float64))[0]
    mixed = torch.eye(6).double() + (1 - 1 / condition) * torch.ones(6, 6)
    x = x @ torch.linalg.cholesky(mixed).mT * torch.logspace(0, 3, 6)
    v = directions.orthonormal(x.to(dtype))
    eps = torch.finfo(dtype).eps
    assert (v.mT @ v - torch.eye(6)).abs().max() < 100 * eps
    outside = x / x.norm(dim=-2, keepdim=True)
    outside = outside - v.double() @ (v.double().mT @ outside)
    assert outside.norm() < 100 * eps


def test_directions_find_what_varies():
    """A stream of whitened gradients with three strong directions of the long side."""
    strong = torch.linalg.qr(filled((40, 3), 0))[0]
    state = whitening.SecondMoment.zeros(1, 12, 40, 3, torch.zeros(())).directions
    for seed in range(100):
        h = filled((1, 12, 40), seed)
        h = h + 5 * (h @ strong) @ strong.T
        treated, state = directions.treat(h, torch.ones(1, 40), h.square().mean(-2), state)
    overlap = torch.linalg.svdvals(strong.T @ state.vectors[0])
    assert overlap.min() > 0.95
    assert 20 < state.variances.mean() < 60  # 6^2
    assert 0.5 < state.rest < 2
    along = treated @ strong
    beyond = (treated - along @ strong.T).square().sum() / (12 * 37)
    # A ratio of 36, divided by 4 at most; the mean of 36 squares has a standard deviation of 24 %.
    assert 9 / 2 < along.square().mean() / beyond < 9 * 2


@pytest.mark.parametrize(
    ("shape", "scale"), [((32, 48), 1.0), ((32, 32), 1e-3), ((16, 3, 3, 3), 1e6), ((3, 2), 1.0)]
)
def test_updates_fade_when_gradients_become_zero(shape, scale):
    p = nn.Parameter(torch.zeros(shape))
    optimizer = BlockAdamW([p], lr=1.0)
    lengths = []
    for step in range(600):
        p.grad = scale * filled(shape, step) if step < 20 or step > 500 else torch.zeros(shape)
        before = p.detach().clone()
        optimizer.step()
        lengths.append((p.detach() - before).norm().item())
    lengths = np.array(lengths)
    assert np.isfinite(lengths).all()
    assert lengths[20:501].max() <= 1.5 * lengths[:20].max()
    assert lengths[170:501].max() < 1e-2 * lengths[:20].max()
    assert lengths[520:].min() > 0.3 * lengths[:20].min()


STREAMS = {
    "one direction": lambda t, shape: filled((shape[0], 1), t) @ filled((1, shape[1]), 99),
    "one vector": lambda t, shape: filled((shape[0], 1), 98) @ filled((1, shape[1]), 99),
    "constant": lambda t, shape: torch.ones(shape),
    "now and then": lambda t, shape: torch.ones(shape) * (t % 100 == 0),
    "large mean": lambda t, shape: filled(shape, t) + 1e4,
    "one entry": lambda t, shape: nn.functional.one_hot(
        torch.tensor(t % math.prod(shape)), math.prod(shape)
    ).float().reshape(shape),
    "columns of all sizes": lambda t, shape: filled(shape, t) * torch.logspace(-12, 12, shape[1]),
    "small": lambda t, shape: 1e-21 * filled(shape, t),
    "large": lambda t, shape: 1e13 * filled(shape, t),
}  # fmt: skip


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((8, 40), torch.float32),
        ((24, 100), torch.bfloat16),
        ((4, 4), torch.bfloat16),
        ((33, 17), torch.float32),
    ],
)
def test_updates_stay_short_and_directions_orthonormal(stream, shape, dtype):
    """A matrix with k singular values of sqrt(m), scaled to rate times 18, times 4 for what varies."""
    p = nn.Parameter(torch.zeros(shape, dtype=dtype))
    optimizer = BlockAdamW([p], lr=1e-3)
    k = min(shape)
    longest = 4 * 18e-3 * math.sqrt(k)
    for t in range(250):
        p.grad = STREAMS[stream](t, shape).to(dtype)
        before = p.detach().clone()
        optimizer.step()
        assert (p.detach() - before).float().norm() <= longest, t
        v = optimizer.state[p]["directions"][0]
        if t % 20 == 0:
            assert (v.T @ v - torch.eye(v.shape[1])).abs().max() < 2e-3, t


def test_other_parameters_get_adam_with_five_times_the_rate():
    for dtype in (torch.float32, torch.float64):
        p, q = (nn.Parameter(filled((7,), 0, dtype)) for _ in range(2))
        options = {"weight_decay": 0.0, "eps": 1e-4}
        optimizer = BlockAdamW([p], lr=0.01, adam_betas=(0.8, 0.99), **options)
        expected = torch.optim.Adam([q], lr=0.05, betas=(0.8, 0.99), **options)
        for t in range(20):
            p.grad = filled((7,), t, dtype)
            q.grad = p.grad.clone()
            optimizer.step()
            expected.step()
        torch.testing.assert_close(p, q, rtol=50 * torch.finfo(dtype).eps, atol=0)


def test_parts_of_a_weight_step_as_weights_of_their_own():
    for options, split in (
        ({"roles": 3}, lambda x: x.chunk(3)),
        ({"max_blocks": 4}, lambda x: x.chunk(3)),
    ):
        whole = nn.Parameter(filled((12, 30)))
        parts = [nn.Parameter(x.clone()) for x in split(whole.detach())]
        optimizers = [BlockAdamW([whole], **options), BlockAdamW(parts)]
        before = whole.detach().clone()
        for t in range(5):
            whole.grad = filled((12, 30), t)
            for p, g in zip(parts, split(whole.grad), strict=True):
                p.grad = g.clone()
            for optimizer in optimizers:
                optimizer.step()
        # parts by max_blocks are scaled by the shape of the whole weight
        factor = 1.0 if "roles" in options else math.sqrt(3)
        moved = torch.cat([p.detach() for p in parts]) - before
        torch.testing.assert_close(whole.detach() - before, factor * moved, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("options", KWARGS.values(), ids=KWARGS)
def test_a_first_step_that_is_skipped_on_a_device_changes_no_parameter(options):
    params = [nn.Parameter(filled((4, 6))), nn.Parameter(filled((4,)))]
    optimizer = BlockAdamW(params, **options)
    before = values(params)
    for p in params:
        p.grad = torch.full_like(p, math.nan)
    from unittest.mock import patch

    with patch("torch.compiler.is_compiling", return_value=True):
        optimizer.step()
    assert_same(params, before)
    for t in range(3):
        for p in params:
            p.grad = filled(p.shape, t)
        optimizer.step()
    fresh = [nn.Parameter(x.clone()) for x in before]
    other = BlockAdamW(fresh, **options)
    for t in range(3):
        for p in fresh:
            p.grad = filled(p.shape, t)
        other.step()
    assert_same(params, fresh)


def test_the_wish_of_the_group_with_the_gradient_counts():
    a, b = nn.Parameter(filled((4, 6))), nn.Parameter(filled((4, 6)))
    groups = [{"params": [a], "on_nonfinite": "raise"}, {"params": [b], "on_nonfinite": "skip"}]
    optimizer = BlockAdamW(groups)
    for bad, good in ((a, b), (b, a)):
        bad.grad, good.grad = torch.full((4, 6), math.nan), torch.ones(4, 6)
        if bad is a:
            with pytest.raises(
                np.linalg.LinAlgError, match="of parameter 0 of group 0 contains NaN"
            ):
                optimizer.step()
        else:
            optimizer.step()
        assert not any(optimizer.state.values())


def test_the_error_names_the_first_gradient_that_is_not_finite():
    model = small_model()
    names = [name for name, _ in model.named_parameters()]
    for bad, name in enumerate(names):
        optimizer = BlockAdamW(model)
        for i, p in enumerate(model.parameters()):
            p.grad = torch.full_like(p, math.inf if i >= bad else 1.0)
        with pytest.raises(NonFiniteError, match=f"gradient of {re.escape(name)} contains NaN"):
            optimizer.step()


def test_options_may_change_between_steps():
    model = small_model()
    optimizer = BlockAdamW([{"params": [p]} for p in model.parameters()], n_directions=1)
    train(model, optimizer, 2)
    optimizer.param_groups[0]["n_directions"] = 0
    optimizer.param_groups[0]["lr"] = torch.tensor([0.01])
    train(model, optimizer, 2)
    saved = optimizer.state_dict()
    BlockAdamW([{"params": [p]} for p in model.parameters()]).load_state_dict(saved)


@pytest.mark.parametrize("is_copied", [False, True])
def test_max_blocks_cannot_change_a_layout_after_the_first_step(is_copied):
    """A copy and a loaded state have no layouts until the next step."""
    p, q = nn.Parameter(filled((12, 20))), nn.Parameter(filled((12,)))
    optimizer = BlockAdamW([p, q])
    optimizer.param_groups[0]["max_blocks"] = 6
    for seed in range(2):
        p.grad, q.grad = filled((12, 20), seed), filled((12,), seed)
        optimizer.step()
    assert optimizer.state[p]["core"].shape == (2, 6, 6)
    if is_copied:
        optimizer.load_state_dict(optimizer.state_dict())
    before, state = values([p, q]), copy.deepcopy(optimizer.state_dict()["state"])
    optimizer.param_groups[0]["max_blocks"] = 1024
    with pytest.raises(ValueError, match="max_blocks is 1024; expected what it was at the first"):
        optimizer.step()
    assert_same([p, q], before)
    assert_same_state(optimizer.state_dict()["state"], state)
    optimizer.param_groups[0]["max_blocks"] = 7  # which gives the same parts
    optimizer.step()
    assert not torch.equal(p, before[0])


def test_norms_get_adam_whatever_their_shape():
    model = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm([4, 6]), nn.Linear(6, 4), nn.Linear(4, 2))
    found = roles(BlockAdamW(model))
    assert [name for name, n in found.items() if n] == ["0.weight", "2.weight"]


def test_directions_survive_gradients_of_zero():
    p = nn.Parameter(filled((8, 20)))
    optimizer = BlockAdamW([p])
    for seed in range(6):
        p.grad = torch.zeros(8, 20) if seed < 4 else filled((8, 20), seed)
        optimizer.step()
    vectors = optimizer.state[p]["directions"][0]
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(2))
    assert torch.isfinite(p).all()


# Layouts and roles


@pytest.mark.parametrize(
    ("shape", "groups", "most", "expected"),
    [
        ((6, 10), 1, 99, (1, 6, 10)),
        ((10, 6), 1, 99, (1, 6, 10)),
        ((12, 4), 3, 99, (3, 4, 4)),
        ((8, 3, 5, 5), 1, 99, (1, 8, 75)),
        ((6, 10), 1, 3, (2, 3, 10)),
        ((10, 6), 1, 4, (2, 3, 10)),
        ((7, 9), 1, 3, (1, 7, 9)),
    ],
)
def test_layouts(shape, groups, most, expected):
    layout = StackLayout(shape, groups, most)
    x = filled(shape)
    stack = layout.stack(x)
    assert stack.shape == (layout.n, layout.k, layout.m) == expected
    assert torch.equal(layout.parameter(stack), x)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.qkv = nn.Linear(4, 12)
        self.other = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(4)
        self.conv = nn.Conv1d(4, 4, 3)
        self.thin = nn.Linear(4, 1)
        self.head = nn.Linear(4, 7)


def roles(optimizer):
    group = optimizer.param_groups[0]
    return dict(zip(group["param_names"], group["n_matrices"], strict=True))


def test_roles_by_module_and_by_name():
    found = roles(BlockAdamW(Attention()))
    assert {name: n for name, n in found.items() if n} == {
        "qkv.weight": 1, "other.in_proj_weight": 1, "other.out_proj.weight": 1, "conv.weight": 1,
    }  # fmt: skip
    model = Attention()
    found = roles(
        BlockAdamW(model, roles={"qkv.weight": 6, "conv.weight": "adam", "head.weight": "matrix"})
    )
    assert (found["qkv.weight"], found["conv.weight"], found["head.weight"]) == (6, 0, 1)
    found = roles(BlockAdamW(model, roles=lambda name, p: "adam"))
    assert not any(found.values())
    group = [{"params": [model.qkv.weight], "roles": "adam"}, {"params": [model.embed.weight]}]
    groups = BlockAdamW(group).param_groups
    assert [g["n_matrices"] for g in groups] == [[0], [1]]
    assert "roles" not in groups[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roles": {"qkv.weigth": 3}}, "roles is for 'qkv.weigth', which no parameter is; expected 'qkv.weight'"),
        ({"roles": {"qkv.weight": 5}}, "roles of qkv.weight is 5; expected a divisor of its 12 rows"),
        ({"roles": {"qkv.weight": "rows"}}, "roles of qkv.weight is 'rows'; expected 'adam', 'matrix'"),
        ({"roles": {"qkv.weight": True}}, "roles of qkv.weight is True"),
        ({"roles": {"norm.bias": "matrix"}}, r"its shape is \(4,\); expected 'adam' or None"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"betas": (0.9, 1.0)}, "betas is"),
        ({"betas": 0.9}, "betas is 0.9; expected two numbers"),
        ({"betas": ("0.9", 0.5)}, "betas is"),
        ({"lr": "0.01"}, "lr is '0.01'; expected a finite number"),
        ({"weight_decay": "0.1"}, "weight_decay is '0.1'"),
        ({"n_directions": 2.0}, "n_directions is 2.0; expected an integer"),
        ({"max_blocks": None}, "max_blocks is None"),
        ({"maximize": "no"}, "maximize is 'no'; expected True or False"),
        ({"nesterov": 1}, "nesterov is 1; expected True or False"),
        ({"eps": math.nan}, "eps is nan"),
        ({"damping": 0.0}, "damping is 0.0"),
        ({"n_directions": -1}, "n_directions is -1"),
        ({"on_nonfinite": "stop"}, "on_nonfinite is 'stop'"),
    ],
)  # fmt: skip
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        BlockAdamW(Attention(), **options)


def test_one_role_for_all_is_that_of_matrices():
    model = small_model()
    for role, expected in (("matrix", [1, 0, 1, 0]), (1, [1, 0, 1, 0]), ("adam", [0, 0, 0, 0])):
        assert BlockAdamW(model, roles=role).param_groups[0]["n_matrices"] == expected


def test_weight_decay_is_that_of_matrices():
    for decay_all in (False, True):
        params = [nn.Parameter(torch.ones(4, 6)), nn.Parameter(torch.ones(4))]
        optimizer = BlockAdamW(params, lr=0.1, weight_decay=0.5, decay_all=decay_all)
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
        torch.testing.assert_close(params[0].detach(), torch.full((4, 6), 0.95))
        torch.testing.assert_close(params[1].detach(), torch.full((4,), 0.95 if decay_all else 1.0))


def test_every_entry_of_a_state_is_checked():
    model = small_model()
    optimizer, other = BlockAdamW(model), BlockAdamW(model)
    train(model, optimizer)
    saved = optimizer.state_dict()
    before = copy.deepcopy(other.state_dict())
    for i, state in saved["state"].items():
        for name in state:
            for wrong in (torch.zeros(99, 99), 3, None):
                damaged = copy.deepcopy(saved)
                damaged["state"][i][name] = wrong
                if wrong is None:
                    del damaged["state"][i][name]
                with pytest.raises(ValueError, match=r"state_dict has \w+ of shape .*; expected"):
                    other.load_state_dict(damaged)
                assert_same_state(other.state_dict(), before)


def test_equal_shapes_step_as_one_stack():
    """Together or alone, in one group or in two, a weight takes the same steps."""
    results = []
    for together in (True, False):
        params = [nn.Parameter(filled((6, 10), i)) for i in range(3)]
        groups = [params] if together else [[p] for p in params]
        optimizers = [BlockAdamW(group) for group in groups]
        for seed in range(5):
            for i, p in enumerate(params):
                p.grad = filled((6, 10), 10 * seed + i) if (seed + i) % 3 else None
            for optimizer in optimizers:
                optimizer.step()
        results.append(values(params))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_steps_that_are_skipped_on_a_device_change_nothing():
    """What compiled code and accelerators do, where nothing is read from the device."""
    model = small_model()
    optimizer = BlockAdamW(model, weight_decay=0.1, decay_all=True)
    train(model, optimizer, 2)
    before, state = values(model.parameters()), copy.deepcopy(optimizer.state_dict())
    next(model.parameters()).grad[0, 0] = math.nan
    from unittest.mock import patch

    with patch("torch.compiler.is_compiling", return_value=True):
        optimizer.step()
    assert_same(model.parameters(), before)
    assert_same_state(optimizer.state_dict(), state)
    train(model, optimizer, 1)
    assert not torch.equal(next(model.parameters()), before[0])


@pytest.mark.parametrize("lr", [3e-3, torch.tensor(3e-3)])
def test_a_step_compiles_as_one_graph(lr):
    """Also the first one, which makes the state; a new rate in a tensor compiles nothing again."""
    results = []
    for compiled in (False, True):
        model = nn.Sequential(
            nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)
        )
        for i, p in enumerate(model.parameters()):
            p.data = 0.3 * filled(p.shape, i)
        optimizer = BlockAdamW(model, lr=lr, weight_decay=0.1)
        update = optimizer.update
        counted = CompileCounter()
        if compiled:
            torch._dynamo.reset()
            update = torch.compile(update, backend=counted, fullgraph=True)
        for seed in range(5):
            optimizer.zero_grad()
            model(filled((8, 6), seed)).square().mean().backward()
            update()
            if isinstance(lr, torch.Tensor):
                optimizer.param_groups[0]["lr"].mul_(0.9)
        results.append(values(model.parameters()))
        if isinstance(lr, torch.Tensor):
            lr.fill_(3e-3)
    assert counted.frame_count <= 2  # the first step, and all others
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_a_step_makes_no_tensor_a_number():
    """Nothing in a step waits for a device, on which reading a number does."""
    model = small_model()
    optimizer = BlockAdamW(model)
    train(model, optimizer, 1)
    from unittest.mock import patch

    def refuse(*args):
        raise AssertionError("a tensor was read")

    with (
        patch("torch.compiler.is_compiling", return_value=True),
        patch.object(torch.Tensor, "item", refuse),
        patch.object(torch.Tensor, "__bool__", refuse),
        patch.object(torch.Tensor, "__float__", refuse),
        patch.object(torch.Tensor, "__int__", refuse),
        patch.object(torch.Tensor, "tolist", refuse),
    ):
        optimizer.update()


@pytest.mark.parametrize("compiled", [False, True])
def test_autocast_does_not_change_a_step(compiled):
    results = []
    for inside in (False, True):
        model = small_model()
        optimizer = BlockAdamW(model)
        update = optimizer.update
        if compiled:
            torch._dynamo.reset()
            update = torch.compile(update, backend="eager", fullgraph=True)
        for seed in range(3):
            optimizer.zero_grad()
            model(filled((8, 6), seed)).square().mean().backward()
            with torch.autocast("cpu", torch.bfloat16, enabled=inside):
                update()
        results.append(values(model.parameters()))
    assert_same(*results)


@pytest.mark.parametrize("setting", ["bf16", "none", "ieee"])
def test_the_precision_of_products_is_switched_and_switched_back(setting, monkeypatch):
    settings = torch.backends.mkldnn.matmul
    if not hasattr(settings, "fp32_precision"):
        pytest.skip("this PyTorch has one setting for all")
    before, seen = settings.fp32_precision, []
    model = small_model()
    optimizer = BlockAdamW(model)
    original = whitened_step.inverse_root

    def recorded(*args):
        seen.append(settings.fp32_precision)
        return original(*args)

    monkeypatch.setattr(whitened_step, "inverse_root", recorded)
    try:
        settings.fp32_precision = setting
        train(model, optimizer, 1)
        assert settings.fp32_precision == setting
        assert seen
        assert "bf16" not in seen
    finally:
        settings.fp32_precision = before


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (3,), (16, 64)])
def test_squares_that_overflow_change_nothing(shape):
    p = nn.Parameter(torch.zeros(shape))
    optimizer = BlockAdamW([p])
    p.grad = filled(shape)
    optimizer.step()
    before, state = p.detach().clone(), copy.deepcopy(optimizer.state[p])
    p.grad = torch.full(shape, 1e25)
    with pytest.raises(NonFiniteError, match="squares overflow"):
        optimizer.step()
    assert torch.equal(p.detach(), before)
    assert all(torch.equal(own, state[name]) for name, own in optimizer.state[p].items())


@pytest.mark.parametrize("largest", [1e6, 1e12, 1e14, 1e16, 1e18])
def test_a_column_that_was_zero_gives_finite_updates_or_an_error(largest):
    p = nn.Parameter(torch.zeros(16, 64))
    optimizer = BlockAdamW([p])
    for step in range(4):
        g = filled((16, 64), step)
        g[:, 0] = 0 if step < 2 else largest
        p.grad = g
        if largest > 1e15 and step >= 2:
            with pytest.raises(NonFiniteError):
                optimizer.step()
        else:
            optimizer.step()
    assert p.isfinite().all()
    assert all(own.isfinite().all() for own in optimizer.state[p].values())


def test_factors_that_round_to_one_are_refused():
    for name in ("betas", "adam_betas"):
        with pytest.raises(
            ValueError, match=f"{name} is .*; expected two numbers from 0 to below 1"
        ):
            BlockAdamW([nn.Parameter(torch.zeros(2))], **{name: (0.9, 1 - 1e-16)})
