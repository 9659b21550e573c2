"""blockmat.optim.torch.BlockAdaGrad where gradients are rounding, or at the ends of their range."""

import copy
import math

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from blockmat.cores.pair import signal_share  # noqa: E402
from blockmat.exceptions import NonFiniteError  # noqa: E402
from blockmat.optim.torch import BlockAdaGrad  # noqa: E402

STRUCTURES = ["mean", "aligned"]
EPS = torch.finfo(torch.float32).eps


@pytest.fixture(autouse=True)
def one_thread():
    """Small models are slow with many."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def perceptron(activation=nn.Tanh):
    return nn.Sequential(
        nn.Linear(8, 16), activation(), nn.Linear(16, 12), activation(), nn.Linear(12, 5)
    )


def normalized(affine):
    """A layer before, between and after norms, so that sums of rows and of columns are zero."""
    return nn.Sequential(
        nn.Linear(8, 16), nn.LayerNorm(16, elementwise_affine=affine),
        nn.Linear(16, 12), nn.LayerNorm(12, elementwise_affine=affine), nn.GELU(),
        nn.Linear(12, 20), nn.LayerNorm(20), nn.Linear(20, 5),
    )  # fmt: skip


def convolutions():
    return nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 6, 3, padding=1), nn.GroupNorm(1, 6), nn.Tanh(),
        nn.Conv1d(6, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip


def with_dead_neurons():
    model = perceptron(nn.ReLU)
    model[0].bias.data[:6] = -100
    return model


def with_twins():
    """Two neurons of each layer are the same, so cores have lower rank."""
    model = perceptron()
    for layer, following in ((model[0], model[2]), (model[2], model[4])):
        layer.weight.data[1], layer.bias.data[1] = layer.weight.data[0], layer.bias.data[0]
        following.weight.data[:, 1] = following.weight.data[:, 0]
    return model


def with_rows_of_zeros():
    model = perceptron()
    model[2].weight.data[:, 3] = 0
    model[4].weight.data[:, 4] = 0
    return model


MODELS = {
    "layer norms": lambda: normalized(True),
    "layer norms without weights": lambda: normalized(False),
    "group norms": convolutions,
    "no norms": perceptron,
    "dead neurons": with_dead_neurons,
    "twins": with_twins,
    "rows of zeros": with_rows_of_zeros,
    "equal inputs": perceptron,  # no deviations from the mean of a row
}


def trained(model, is_permuted, seed, is_equal, **options):
    """Return where the parameters start and where they are after 30 steps."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(320, 8, generator=generator)
    x = x[:, :1].expand(-1, 8).contiguous() if is_equal else x
    y = torch.randint(5, (320,), generator=generator)
    optimizer = BlockAdaGrad(model, lr=0.03, **options)
    start = torch.cat([p.detach().flatten() for p in model.parameters()])
    for step in range(30):
        batch = torch.arange(32) + 32 * (step % 10)
        if is_permuted:
            batch = batch[torch.randperm(32, generator=generator)]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return start, torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("partition", ["shorter", "rows", "columns"])
@pytest.mark.parametrize("name", MODELS)
def test_the_order_of_a_batch_changes_a_trajectory_by_rounding_only(structure, partition, name):
    seed = len(name + partition)  # several over all cases
    torch.manual_seed(seed)
    model = MODELS[name]()
    options = {
        "seed": seed, "is_equal": name == "equal inputs",
        "structure": structure, "partition": partition,
    }  # fmt: skip
    start, end = trained(copy.deepcopy(model), False, **options)
    _, other = trained(model, True, **options)
    # Gradients differ by a few eps, and a root amplifies a part of them by no more than
    # damping^(-1/2) = 32; so does each of 30 steps
    assert (end - other).norm() <= 30 * 32 * EPS * (end - start).norm()


def updates(gradients, **options):
    """Return the updates of a parameter from these gradients."""
    p = nn.Parameter(torch.zeros_like(gradients[0]))
    optimizer = BlockAdaGrad([p], lr=1.0, **options)
    found = []
    for g in gradients:
        before, p.grad = p.detach().clone(), g
        optimizer.step()
        found.append(before - p.detach())
    return found


@pytest.mark.parametrize("structure", ["mean", "aligned"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("partition", ["rows", "columns"])
def test_sums_that_are_rounding_stay_a_small_share_of_the_update(structure, dtype, partition):
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(6, 40, generator=generator, dtype=torch.float64) for _ in range(20)]
    gradients = [g - g.mean(1, keepdim=True) for g in gradients]
    if partition == "columns":
        gradients = [g.T for g in gradients]
    for u in updates([g.to(dtype) for g in gradients], structure=structure, partition=partition):
        u = (u.T if partition == "columns" else u).double()
        # As short as rounding, which the sums of products and the parameters themselves have too
        assert u.sum(1).norm() / math.sqrt(40) <= 8 * torch.finfo(dtype).eps * u.norm()


@pytest.mark.parametrize("structure", ["mean", "aligned"])
@pytest.mark.parametrize("partition", ["rows", "columns"])
def test_deviations_that_are_rounding_stay_a_small_share_of_the_update(structure, partition):
    """Of half precision, whose rounding the sums of squares in single precision resolve."""
    generator = torch.Generator().manual_seed(0)
    dtype, gradients = torch.bfloat16, []
    for _ in range(20):
        noise = torch.finfo(dtype).eps * torch.randn(6, 40, generator=generator) / 2
        g = torch.randn(6, 1, generator=generator) * (1 + noise)
        gradients.append((g.T if partition == "columns" else g).to(dtype))
    for u in updates(gradients, structure=structure, partition=partition):
        u = (u.T if partition == "columns" else u).double()
        deviations = u - u.mean(1, keepdim=True)
        assert deviations.norm() <= 8 * torch.finfo(dtype).eps * u.norm()


@pytest.mark.parametrize("structure", ["mean", "aligned"])
def test_a_small_damping_does_not_amplify_rounding(structure):
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(6, 40, generator=generator) for _ in range(20)]
    for g in gradients:  # two rows that differ by rounding
        g[1] = g[0] * (1 + EPS * torch.randn(40, generator=generator))
    for u in updates(gradients, structure=structure, damping=1e-14):
        # No eigenvalue counts for less than eps of the largest, so nothing is amplified by
        # more than eps^(-1/2)
        assert (u[0] - u[1]).norm() <= 8 * math.sqrt(EPS) * u.norm()


@pytest.mark.parametrize("structure", ["mean", "aligned"])
@pytest.mark.parametrize("small", [1e-3, 1.0, 1e3])
def test_sums_that_are_no_rounding_are_whitened(structure, small):
    """Means of rows that are far smaller or larger than deviations have as long an update."""
    generator = torch.Generator().manual_seed(0)
    lengths = []
    deviations = [torch.randn(6, 40, generator=generator, dtype=torch.float64) for _ in range(20)]
    means = [torch.randn(6, 1, generator=generator, dtype=torch.float64) for _ in range(20)]
    for factor in (1.0, small):
        gradients = [
            (d - d.mean(1, keepdim=True) + factor * m).float()
            for d, m in zip(deviations, means, strict=True)
        ]
        lengths.append([u.mean(1).norm() for u in updates(gradients, structure=structure)])
    # Energies are 1e-6 of the whole or more, so shares are 1 - eps / 1e-6 or more. Entries are
    # rounded to eps / 2, of which a mean keeps 40^(-1/2) eps / 2, beside `small`.
    rtol = 1e-3 + 2 * EPS / min(small, 1) ** 2
    torch.testing.assert_close(*map(torch.tensor, lengths), rtol=rtol, atol=0)


def test_the_share_of_a_core_is_one_but_for_rounding_and_rounding_squared():
    largest = torch.tensor([1.0, 1e-3, EPS**2, 0.0], dtype=torch.float64)
    one, small, rounding, zero = signal_share(largest, 1.0, EPS).tolist()
    assert one == pytest.approx(1 - EPS, abs=2 * EPS**2)
    assert small == pytest.approx(1, abs=2e3 * EPS)
    assert rounding == pytest.approx(EPS, rel=1e-6)
    assert zero == 0


# The ends of the range of single precision

KINDS = [
    {"structure": structure, "partition": partition}
    for structure in STRUCTURES
    for partition in ("rows", "columns", "row scalars", "diagonal")
] + [{"decay": 0.9}, {"momentum": 0.9}]
over_kinds = pytest.mark.parametrize("options", KINDS, ids=lambda o: "-".join(map(str, o.values())))


def layer_and_gradients(n=12, seed=0):
    torch.manual_seed(seed)
    layer = nn.Linear(5, 3)
    generator = torch.Generator().manual_seed(seed)
    return layer, [[torch.randn(p.shape, generator=generator) for p in layer.parameters()]
                   for _ in range(n)]  # fmt: skip


def step(layer, optimizer, gradients, scale=1.0):
    for p, g in zip(layer.parameters(), gradients, strict=True):
        p.grad = scale * g
    optimizer.step()


def everything(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from everything(item)


def is_finite(layer, optimizer):
    tensors = [*layer.parameters(), *everything(dict(optimizer.state))]
    return all(bool(torch.isfinite(t).all()) for t in tensors)


@over_kinds
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("entries", ["one", "all", "opposite"])
def test_a_gradient_whose_squares_overflow_is_refused_or_left_out(options, place, entries):
    layer, gradients = layer_and_gradients(20)
    twin = copy.deepcopy(layer)
    optimizer = BlockAdaGrad(layer, lr=0.1, on_nonfinite="skip", statistics_interval=1, **options)
    other = BlockAdaGrad(twin, lr=0.1, statistics_interval=1, **options)
    for i, own in enumerate(gradients):
        step(layer, optimizer, own)
        step(twin, other, own)
        if i % 5 == 1:
            bad = [g.clone() for g in own]
            flat = bad[place].view(-1)
            flat[: 1 if entries == "one" else len(flat)] = 3e19
            if entries == "opposite":
                flat[1::2] *= -1
            step(layer, optimizer, bad)  # as if it had not been
            before = copy.deepcopy((twin.state_dict(), other.state_dict()))
            with pytest.raises(NonFiniteError, match="the squares of a gradient overflow"):
                step(twin, other, bad)
            for a, b in zip(
                everything([*before]), everything([twin.state_dict(), other.state_dict()]),
                strict=True,
            ):  # fmt: skip
                assert torch.equal(a, b)
        assert is_finite(layer, optimizer)
    for p, q in zip(layer.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


@over_kinds
@pytest.mark.parametrize("size", [1e17, 1e18, 4e18, 1e19, 1.8e19, 1e38, 3e38])
@pytest.mark.parametrize("intervals", [(1, 1), (50, 5)])
def test_no_finite_gradient_makes_a_state_that_is_not_finite(options, size, intervals):
    layer, gradients = layer_and_gradients(40)
    optimizer = BlockAdaGrad(
        layer, lr=1e-3, on_nonfinite="skip", update_interval=intervals[0],
        statistics_interval=intervals[1], **options,
    )  # fmt: skip
    for own in gradients[:30]:
        step(layer, optimizer, [g / g.abs().max() for g in own], size)
        assert is_finite(layer, optimizer)
    before = [p.detach().clone() for p in layer.parameters()]
    for own in gradients[30:]:  # and it still learns
        step(layer, optimizer, own, min(size, 1e17))
    assert all(not torch.equal(p, q) for p, q in zip(layer.parameters(), before, strict=True))


@over_kinds
@pytest.mark.parametrize("size", [1e-19, 1e-21, 1e-23, 1e-25, 1e-42])
def test_gradients_whose_squares_underflow_neither_blow_up_nor_freeze(options, size):
    layer, gradients = layer_and_gradients(40)
    optimizer = BlockAdaGrad(layer, lr=0.01, **options)
    before = [p.detach().clone() for p in layer.parameters()]
    for own in gradients[:20]:
        step(layer, optimizer, own, size)
    for p, q in zip(layer.parameters(), before, strict=True):
        # 20 updates of a length of at most (entries / damping)^(1/2)
        assert (p - q).norm() <= 20 * 0.01 * math.sqrt(15 / 1e-3) * 10
    assert is_finite(layer, optimizer)
    before = [p.detach().clone() for p in layer.parameters()]
    for own in gradients[20:]:
        step(layer, optimizer, own)
    for p, q in zip(layer.parameters(), before, strict=True):
        assert (p - q).abs().min() > 1e-6


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("partition", ["rows", "columns", "row scalars"])
@pytest.mark.parametrize("exponent", [-48, -20, 10, 48])
def test_a_factor_of_all_gradients_changes_nothing(structure, partition, exponent):
    ends = []
    for scale in (1.0, 2.0**exponent):
        layer, gradients = layer_and_gradients(40)
        optimizer = BlockAdaGrad(layer, lr=0.1, structure=structure, partition=partition,
                                 decay=0.9 if exponent == 10 else None)  # fmt: skip
        for own in gradients:
            # what has one number per entry or row adds 1e-10 to roots, as torch.optim.Adagrad
            scales = [1.0 if partition == "row scalars" and scale < 1 else scale, max(scale, 1.0)]
            step(layer, optimizer, [s * g for s, g in zip(scales, own, strict=True)]
                 if partition != "rows" else [scale * g for g in own])  # fmt: skip
        ends.append(torch.cat([p.detach().flatten() for p in layer.parameters()]))
    # Powers of two change no digit but in LAPACK, which may scale, and beside 1e-10
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-5)
