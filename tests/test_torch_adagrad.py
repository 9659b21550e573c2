"""blockmat.optim.torch.BlockAdaGrad against the dense formula, and which blocks it makes."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import blockmat as bm
from tests.test_optim import dense_root

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from blockmat.optim.torch import BlockAdaGrad  # noqa: E402
from blockmat.optim.torch.cores import Cores  # noqa: E402
from blockmat.optim.torch.symmetric import Symmetric, decompose  # noqa: E402
from blockmat.optim.torch.within import DiagonalWithin  # noqa: E402

# Lists of tensors without a model are meant here.
pytestmark = pytest.mark.filterwarnings("ignore:params has . matrices and no model is given")

LABELS = {
    "rows": lambda m, n: np.arange(m * n) // n,
    "columns": lambda m, n: np.arange(m * n) % n,
}


class DenseAdaGrad:
    """Full-matrix AdaGrad on the projected matrix, with the optimizer's schedule."""

    def __init__(self, labels, lr, momentum, damping, structure, decay, intervals):
        self.p = bm.Partition.from_labels(labels)
        self.lr, self.momentum, self.damping = lr, momentum, damping
        self.aligned = structure == "aligned"
        self.decay, self.intervals = decay, intervals
        self.total = np.zeros((self.p.n, self.p.n))
        self.velocity = np.zeros(self.p.n)
        self.t = self.measured = self.refreshed = 0

    def due(self, last, interval):
        return self.t - last >= min(interval, max(1, self.t // 8))

    def step(self, x, g):
        self.t += 1
        refresh = self.due(self.refreshed, self.intervals[0])
        if refresh or self.due(self.measured, self.intervals[1]):
            gap, self.measured = self.t - self.measured, self.t
            if self.decay is None:
                self.total = self.total + gap * np.outer(g, g)
            else:
                kept = self.decay**gap
                self.total = kept * self.total + (1 - kept) * np.outer(g, g)
        if refresh:
            self.refreshed = self.t
            weight = 1 if self.decay is None else 1 - self.decay**self.t
            self.root = dense_root(self.total / weight, self.p, self.aligned, self.damping)
        self.velocity = self.momentum * self.velocity + self.root @ g
        return x - self.lr * self.velocity


def trajectories(shape, labels, structure, partition, steps=20, bias=False, **options):
    """Minimize a random quadratic function both ways; return both paths, (steps, n)."""
    rng = np.random.default_rng(0)
    n = int(np.prod(shape)) + shape[0] * bias
    H = rng.standard_normal((n, n))
    H = H @ H.T / n
    start = rng.standard_normal(n)
    split = int(np.prod(shape))
    weight = nn.Parameter(torch.tensor(start[:split].reshape(shape)))
    params = [("0.weight", weight)]
    if bias:
        params.append(("0.bias", nn.Parameter(torch.tensor(start[split:]))))
        # a row's block is its weights and its bias
        labels = np.concatenate([labels, np.arange(shape[0])])
    settings = {"momentum": 0.0, "damping": 1e-2, "decay": None, "update_interval": 1,
                "statistics_interval": 1} | options  # fmt: skip
    ours = BlockAdaGrad(params, lr=0.1, structure=structure, partition=partition, **settings)
    dense = DenseAdaGrad(
        labels, 0.1, settings["momentum"], settings["damping"], structure,
        settings["decay"], (settings["update_interval"], settings["statistics_interval"]),
    )  # fmt: skip
    x, paths = start.copy(), ([], [])
    for t in range(steps):
        noise = 0.3 * np.random.default_rng(t).standard_normal(n)
        flat = torch.cat([p.detach().reshape(-1) for _, p in params]).numpy()
        g = H @ flat + noise
        for (_, p), own in zip(params, np.split(g, [split]), strict=False):
            p.grad = torch.tensor(own.reshape(p.shape))
        ours.step()
        x = dense.step(x, H @ x + noise)
        paths[0].append(torch.cat([p.detach().reshape(-1) for _, p in params]).numpy().copy())
        paths[1].append(x)
    return np.array(paths[0]), np.array(paths[1])


STRUCTURES = ["mean", "aligned"]


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("partition", ["rows", "columns"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("shape", [(3, 5), (6, 2), (1, 4), (4, 1)])
def test_the_trajectory_is_dense_adagrad_on_the_projection(structure, partition, momentum, shape):
    labels = LABELS[partition](*shape)
    ours, dense = trajectories(shape, labels, structure, partition, momentum=momentum)
    np.testing.assert_allclose(ours, dense, rtol=0, atol=1e-10)
    assert np.abs(np.diff(dense, axis=0)).min() > 0


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("decay", [None, 0.9])
def test_the_trajectory_with_schedules_and_decay(structure, decay):
    ours, dense = trajectories(
        (3, 4), LABELS["rows"](3, 4), structure, "rows", steps=120, momentum=0.5, decay=decay,
        update_interval=9, statistics_interval=4,
    )  # fmt: skip
    np.testing.assert_allclose(ours, dense, rtol=0, atol=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("decay", [None, 0.9])
def test_the_bias_joins_the_blocks_of_its_weight(structure, decay):
    ours, dense = trajectories(
        (3, 4), LABELS["rows"](3, 4), structure, "rows", bias=True, momentum=0.9, decay=decay
    )
    np.testing.assert_allclose(ours, dense, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("structure", "labels"),
    [
        ("mean", [0, 2, 2, 1, 0, 2, 1, 3, 2, 0, 0, 2]),  # unequal, with a block of one
        ("mean", [0, 1] * 6),
        ("aligned", [0, 2, 2, 1, 0, 2, 1, 0, 2, 0, 1, 1]),
    ],
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_any_labels_make_blocks(structure, labels, momentum):
    labels = np.array(labels)
    for given in (labels, labels.reshape(3, 4).tolist(), bm.Partition.from_labels(labels)):
        ours, dense = trajectories(
            (3, 4), labels, structure, {"0.weight": given}, momentum=momentum
        )
        np.testing.assert_allclose(ours, dense, rtol=0, atol=1e-10)


def filled(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def stepped(p, grads, **options):
    optimizer = BlockAdaGrad([p], **options)
    for g in grads:
        p.grad = g
        optimizer.step()
    return p.detach(), optimizer


def gradients(shape, n=6, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, **options) for _ in range(n)]


@pytest.mark.parametrize("options", [{}, {"structure": "mean"}, {"partition": "columns"}])
def test_a_filter_is_a_block_of_its_flattened_entries(options):
    grads = gradients((4, 3, 2, 2))
    conv, _ = stepped(nn.Parameter(torch.zeros(4, 3, 2, 2)), grads, **options)
    linear, _ = stepped(nn.Parameter(torch.zeros(4, 12)), [g.flatten(1) for g in grads], **options)
    torch.testing.assert_close(conv.flatten(1), linear, rtol=0, atol=0)


def test_the_shorter_side_has_the_blocks_and_ties_are_rows():
    wide, square, tall = (nn.Parameter(torch.zeros(s)) for s in ((3, 8), (5, 5), (8, 3)))
    optimizer = BlockAdaGrad([wide, square, tall])
    assert optimizer.param_groups[0]["kinds"] == ["rows", "rows", "columns"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.conv = nn.Conv1d(4, 4, 3)
        self.hidden = nn.Linear(5, 4)
        self.norm = nn.LayerNorm(4)
        self.gru = nn.GRU(4, 16)
        self.out = nn.Linear(16, 7)


def test_a_module_tells_the_role_of_its_parameters():
    net = Net()
    optimizer = BlockAdaGrad(net)
    group = optimizer.param_groups[0]
    kinds = dict(zip(group["param_names"], group["kinds"], strict=True))
    index = {name: i for i, name in enumerate(group["param_names"])}
    assert kinds == {
        "embedding.weight": "row scalars",
        "conv.weight": "rows",
        "conv.bias": "diagonal",  # whose gradients are sums over positions
        "hidden.weight": "rows",
        "hidden.bias": index["hidden.weight"],
        "norm.weight": "diagonal",
        "norm.bias": "diagonal",
        "gru.weight_ih_l0": "columns",
        "gru.weight_hh_l0": "columns",
        "gru.bias_ih_l0": "diagonal",
        "gru.bias_hh_l0": "diagonal",
        "out.weight": "diagonal",  # the output layer
        "out.bias": "diagonal",
    }
    chosen = BlockAdaGrad(net, partition={"out.weight": "rows", "embedding.weight": "columns"})
    kinds = dict(zip(group["param_names"], chosen.param_groups[0]["kinds"], strict=True))
    assert kinds["out.weight"] == "rows"
    assert kinds["out.bias"] == index["out.weight"]
    assert kinds["embedding.weight"] == "columns"


def test_the_only_layer_has_blocks():
    optimizer = BlockAdaGrad(nn.Linear(5, 3))
    assert optimizer.param_groups[0]["kinds"] == ["rows", 0]


def test_names_join_biases_without_a_module():
    net = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 4))
    named = BlockAdaGrad(net.named_parameters())
    assert named.param_groups[0]["kinds"] == ["rows", 0, "rows", 2]
    unnamed = BlockAdaGrad(net.parameters())
    assert unnamed.param_groups[0]["kinds"] == ["rows", "diagonal", "rows", "diagonal"]


def test_a_callable_or_dict_chooses_the_blocks():
    net = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 5))
    seen = []

    def choose(name, p):
        seen.append((name, tuple(p.shape)))
        return "columns" if name == "0.weight" else "diagonal"

    optimizer = BlockAdaGrad(net, partition=choose)
    assert seen[0] == ("0.weight", (3, 5))
    assert optimizer.param_groups[0]["kinds"] == ["columns", "diagonal", "diagonal", "diagonal"]
    by_index = BlockAdaGrad(list(net.parameters()), partition={0: "row scalars"})
    assert by_index.param_groups[0]["kinds"] == ["row scalars", "diagonal", "columns", "diagonal"]


class Words(nn.Module):
    """A model with an embedding, a joined bias, a norm and an output layer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.hidden = nn.Linear(4, 5)
        self.norm = nn.LayerNorm(5)
        self.out = nn.Linear(5, 3)

    def forward(self, words):
        return self.out(self.norm(torch.tanh(self.hidden(self.embedding(words)))))


class Wrapped(nn.Module):
    """Names parameters as DistributedDataParallel does."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, words):
        return self.module(words)


FORMS = {
    "model": lambda m, **o: BlockAdaGrad(m, **o),
    "model twice": lambda m, **o: BlockAdaGrad(m, model=m, **o),
    "names": lambda m, **o: BlockAdaGrad(m.named_parameters(), model=m, **o),
    "list of names": lambda m, **o: BlockAdaGrad(list(m.named_parameters()), model=m, **o),
    "parameters": lambda m, **o: BlockAdaGrad(m.parameters(), model=m, **o),
    "list": lambda m, **o: BlockAdaGrad(list(m.parameters()), model=m, **o),
    "group": lambda m, **o: BlockAdaGrad([{"params": m.parameters()}], model=m, **o),
    "group of names": lambda m, **o: BlockAdaGrad(
        [{"params": list(m.named_parameters())}], model=m, **o
    ),
    "group for each layer": lambda m, **o: BlockAdaGrad(
        [{"params": list(layer.parameters())} for layer in layers(m)], model=m, **o
    ),
    "named group for each layer": lambda m, **o: BlockAdaGrad(
        [
            {"params": [(name, p) for name, p in m.named_parameters() if f"{i}." in name]}
            for i in ("embedding", "hidden", "norm", "out")
        ],
        model=m,
        **o,
    ),
}
WRAPPERS = {
    "plain": lambda m: m,
    "compiled": lambda m: torch.compile(m, backend="eager"),
    "parallel": Wrapped,
    "both": lambda m: torch.compile(Wrapped(m), backend="eager"),
    "both, the other way": lambda m: Wrapped(torch.compile(m, backend="eager")),
}


def layers(model):
    return [m for m in model.modules() if list(m.parameters(recurse=False))]


def learned(form, wrapper, **options):
    """Return parameters after some steps, and the kinds by name."""
    torch.manual_seed(0)
    words = Words()
    model = WRAPPERS[wrapper](words)
    optimizer = FORMS[form](model, lr=0.1, **options)
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        optimizer.zero_grad()
        x = torch.randint(7, (16,), generator=generator)
        nn.functional.cross_entropy(words(x), x % 3).backward()
        optimizer.step()
    return [p.detach() for p in words.parameters()]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "options", [{}, {"partition": {"out.weight": "rows", "embedding.weight": "columns"}}]
)
def test_every_form_of_parameters_is_trained_as_the_model(form, wrapper, options):
    expected = learned("model", "plain", **options)
    for p, q in zip(learned(form, wrapper, **options), expected, strict=True):
        assert torch.equal(p, q)


def kinds_of(optimizer, model):
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: group["kinds"][i]
        for group in optimizer.param_groups
        for i, p in enumerate(group["params"])
    }


@pytest.mark.parametrize("named", [False, True])
def test_groups_by_weight_decay_keep_the_roles_of_the_model(named):
    model = Words()
    wanted = kinds_of(BlockAdaGrad(model), model)
    groups = [
        {"params": [(name, p) if named else p for name, p in model.named_parameters() if choose(p)],
         "weight_decay": decay}
        for decay, choose in ((0.1, lambda p: p.ndim > 1), (0.0, lambda p: p.ndim == 1))
    ]  # fmt: skip
    kinds = kinds_of(BlockAdaGrad(groups, model=model), model)
    assert kinds == wanted | {"hidden.bias": "diagonal"}  # whose weight is in another group
    assert kinds["embedding.weight"] == "row scalars"
    assert kinds["out.weight"] == "diagonal"
    later = BlockAdaGrad(groups[:1], model=model)
    later.add_param_group(groups[1])
    assert kinds_of(later, model) == kinds


def test_parameters_that_are_not_of_the_model_are_as_without_one():
    model, other = Words(), nn.Linear(5, 3)
    optimizer = BlockAdaGrad([*model.out.parameters(), *other.parameters()], model=model)
    assert optimizer.param_groups[0]["kinds"] == ["diagonal", "diagonal", "rows", "diagonal"]


@pytest.mark.parametrize(
    ("make", "key", "expected"),
    [
        (lambda m, q: BlockAdaGrad(m, partition=q), "out.weigth", r"expected 'out\.weight'"),
        (lambda m, q: BlockAdaGrad(Wrapped(m), partition=q), "out.weigth", r"expected 'out\.weight'"),
        (lambda m, q: BlockAdaGrad(m, partition=q), "head", "expected names of parameters, such as 'embedding"),
        (lambda m, q: BlockAdaGrad(m, partition=q), 0, "expected names of parameters"),
        (lambda m, q: BlockAdaGrad(m.named_parameters(), partition=q), "module.ou.weight", r"'out\.weight'"),
        (lambda m, q: BlockAdaGrad(m.parameters(), partition=q), "out.weight", "no names .or give model."),
        (lambda m, q: BlockAdaGrad(m.parameters(), partition=q), 7, "expected indices in a group"),
        (lambda m, q: BlockAdaGrad(m.parameters(), partition=q, model=m), "out.weigth", r"'out\.weight'"),
        (lambda m, q: BlockAdaGrad([{"params": m.parameters(), "partition": q}], model=m), "out.weigth", r"'out\.weight'"),
    ],
)  # fmt: skip
def test_a_key_that_no_parameter_is_is_refused(make, key, expected):
    model = Words()
    with pytest.raises(
        ValueError, match=f"partition is for {key!r}, which no parameter is; .*{expected}"
    ):
        make(model, {key: "rows"})
    optimizer = BlockAdaGrad(model.hidden, model=model)
    with pytest.raises(ValueError, match=r"partition is for 'out\.weigth', which .*'out\.weight'"):
        optimizer.add_param_group(
            {"params": list(model.out.named_parameters("out")), "partition": {"out.weigth": "rows"}}
        )
    assert len(optimizer.param_groups) == 1


def test_a_name_that_occurs_with_and_without_a_prefix_is_meant_exactly():
    model = nn.Module()
    model.layer, model.module = nn.Linear(3, 4), nn.Module()
    model.module.layer = nn.Linear(3, 4)
    choose = {"layer.weight": "columns", "module.layer.weight": "rows"}
    kinds = kinds_of(BlockAdaGrad(model, partition=choose), model)
    assert (kinds["layer.weight"], kinds["module.layer.weight"]) == ("columns", "rows")
    kinds = kinds_of(BlockAdaGrad(model, partition={"layer.weight": "row scalars"}), model)
    assert kinds["module.layer.weight"] != "row scalars"


def test_too_many_blocks_fall_back_with_one_warning():
    params = [nn.Parameter(torch.zeros(6, 9)), nn.Parameter(torch.zeros(9, 6)),
              nn.Parameter(torch.zeros(2, 6))]  # fmt: skip
    with pytest.warns(
        UserWarning, match=r"max_blocks=4 blocks in parameter 0 \(6 blocks\), parameter 1"
    ):
        optimizer = BlockAdaGrad(params, max_blocks=4)
    assert optimizer.param_groups[0]["kinds"] == ["row scalars", "row scalars", "rows"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()


@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (3, 0), (0,)])
def test_parameters_without_rows_are_diagonal(shape):
    grads = gradients(shape, dtype=torch.float64)
    p, _ = stepped(nn.Parameter(torch.zeros(shape, dtype=torch.float64)), grads, lr=0.1)
    q = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    adagrad = torch.optim.Adagrad([q], lr=0.1)
    for g in grads:
        q.grad = g
        adagrad.step()
    torch.testing.assert_close(p, q.detach())


def test_the_diagonal_partition_is_torchs_adagrad():
    grads = gradients((4, 3))
    p, _ = stepped(nn.Parameter(torch.ones(4, 3)), grads, lr=0.1, partition="diagonal")
    q = nn.Parameter(torch.ones(4, 3))
    adagrad = torch.optim.Adagrad([q], lr=0.1)
    for g in grads:
        q.grad = g
        adagrad.step()
    torch.testing.assert_close(p, q.detach())


@pytest.mark.parametrize("partition", ["row scalars", "diagonal"])
@pytest.mark.parametrize("decay", [None, 0.8])
def test_single_numbers_are_adagrad_or_an_average(partition, decay):
    grads = gradients((4, 3), dtype=torch.float64)
    zeros = torch.zeros(4, 3, dtype=torch.float64)
    p, _ = stepped(nn.Parameter(zeros.clone()), grads, lr=0.1, partition=partition, decay=decay)
    kept, added = (1, 1) if decay is None else (decay, 1 - decay)
    x, total, weight = zeros, 0, 0
    for g in grads:
        square = g.square()
        if partition == "row scalars":
            square = square.mean(1, keepdim=True)
        total, weight = kept * total + added * square, kept * weight + added
        x = x - 0.1 * g / (total / (1 if decay is None else weight)).sqrt()
    torch.testing.assert_close(p, x)


@pytest.mark.parametrize("partition", ["rows", "diagonal"])
def test_nesterov_looks_ahead(partition):
    grads = gradients((3, 4), dtype=torch.float64)
    zeros = torch.zeros(3, 4, dtype=torch.float64)
    plain, _ = stepped(nn.Parameter(zeros.clone()), [], partition=partition)
    p, q = nn.Parameter(zeros.clone()), nn.Parameter(zeros.clone())
    options = {"lr": 1.0, "partition": partition}
    first = BlockAdaGrad([p], **options)
    second = BlockAdaGrad([q], momentum=0.9, nesterov=True, **options)
    x, buffer = plain.clone(), torch.zeros_like(plain)
    for g in grads:
        before = p.detach().clone()
        p.grad, q.grad = g, g
        first.step()
        second.step()
        u = before - p.detach()
        buffer = 0.9 * buffer + u
        x = x - (u + 0.9 * buffer)
    torch.testing.assert_close(q.detach(), x)


@pytest.mark.parametrize("partition", ["rows", "diagonal"])
def test_weight_decay_is_coupled_or_decoupled(partition):
    grads = gradients((3, 4), dtype=torch.float64)
    start = torch.ones(3, 4, dtype=torch.float64)
    coupled, _ = stepped(
        nn.Parameter(start.clone()), grads[:1], weight_decay=0.1, partition=partition
    )
    by_hand, _ = stepped(nn.Parameter(start.clone()), [grads[0] + 0.1 * start], partition=partition)
    torch.testing.assert_close(coupled, by_hand)
    plain, _ = stepped(nn.Parameter(start.clone()), grads[:1], lr=0.5, partition=partition)
    decoupled, _ = stepped(nn.Parameter(start.clone()), grads[:1], lr=0.5, weight_decay=0.1,
                           decoupled_weight_decay=True, partition=partition)  # fmt: skip
    torch.testing.assert_close(decoupled, plain - 0.5 * 0.1 * start)
    up, _ = stepped(
        nn.Parameter(start.clone()), grads[:1], lr=0.5, maximize=True, partition=partition
    )
    torch.testing.assert_close(up - start, start - plain)


@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_three_quarters_of_a_symmetric_matrix_are_kept(k):
    x = filled(k, 4)
    matrix = Symmetric.zeros(k, torch.float64, torch.device("cpu"))
    matrix.add_products(x, 2.0, 1.0)
    matrix.add_products(x, 1.0, 0.5)
    expected = 2 * x @ x.T
    torch.testing.assert_close(matrix.lower_triangle().tril(), expected.tril())
    torch.testing.assert_close(matrix.diagonal(), expected.diagonal())
    n_kept = sum(quarter.numel() for quarter in matrix.quarters)
    assert n_kept == k * k - (k // 2) * (k - k // 2)


def cores_after(gradients, decay, damping):
    """Cores of gradients (k, m) with the weights 1, 2, ..., their between core, and its root."""
    k, m = gradients[0].shape
    dtype = gradients[0].dtype
    cores = Cores(Cores.zeros(k, DiagonalWithin, dtype, torch.device("cpu")), DiagonalWithin, m)
    total = torch.zeros(k, k, dtype=dtype)
    for i, g in enumerate(gradients):
        sums = g.sum(1)
        cores.add(sums, SimpleNamespace(squares=g.square().sum(1)), 1.0 + i, decay)
        total = decay * total + (1.0 + i) * torch.outer(sums, sums) / m
    cores.keep_roots(decompose(cores.to_decompose()), damping, 2.0, 0.0)
    values, basis = torch.linalg.eigh(total)
    values = values.clamp(min=0)
    factors = torch.where(values[-1] > 0, 2 * (values + damping * values[-1]).rsqrt(), 0)
    return cores, total, basis @ torch.diag(factors) @ basis.T


@pytest.mark.parametrize("n", [1, 2, 5, 12, 40])
@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_the_between_core_and_its_root_are_those_of_the_block_means(n, decay):
    """Where the damping is 1e-3, a root is right to k eps / 1e-3 = 3e-12 of its largest entries."""
    cores, total, root = cores_after(gradients((12, 5), n, dtype=torch.float64), decay, 1e-3)
    torch.testing.assert_close(cores.between.lower_triangle().tril(), total.tril())
    torch.testing.assert_close(cores.between.diagonal(), total.diagonal())
    assert (cores.between_root - root).abs().max() <= 1e-11 * root.abs().max()


def test_directions_of_the_between_core_that_are_small_are_kept():
    """They count where the damping is smaller, and when they grow.

    Eigenvalues of 1e-10 of the largest are right to k eps / 1e-10 = 3e-5.
    """
    sizes = torch.logspace(0, -5, 3, dtype=torch.float64)
    vectors = (sizes.unsqueeze(1) * filled(3, 12)).repeat(6, 1)
    cores, _, root = cores_after([v.unsqueeze(1) for v in vectors], 1.0, 1e-12)
    v = torch.linalg.qr(vectors[:3].T, mode="complete").Q[:, 2]  # in the smallest direction
    assert (cores.between_root @ v - root @ v).norm() <= 1e-4 * (root @ v).norm()
    assert (root @ v).norm() > 1e3


@pytest.mark.parametrize("size", [1e-13, 1e-15, 0.0])
def test_the_between_core_of_tiny_or_no_gradients(size):
    """In single precision, to k eps / 1e-3 = 1.5e-3 of the root, which is 0 for gradients of zero."""
    given = [size * g for g in gradients((12, 5), 3)]
    cores, _, _ = cores_after(given, 1.0, 1e-3)
    _, _, root = cores_after([g.double() for g in given], 1.0, 1e-3)
    assert (cores.between_root - root.float()).abs().max() <= 1.5e-3 * root.abs().max()


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_state_is_as_large_as_the_documentation_says(structure, momentum):
    p = nn.Parameter(torch.zeros(16, 100))
    optimizer = BlockAdaGrad([p], structure=structure, momentum=momentum)
    assert optimizer.state_bytes() == 0
    within = 2 * 16 if structure == "mean" else 1.75 * 16**2
    for g in gradients((16, 100), 12):
        p.grad = g
        optimizer.step()
        numbers = 1.75 * 16**2 + within + (1600 if momentum else 0)
        assert optimizer.state_bytes() == 4 * numbers


def test_cores_of_one_size_are_decomposed_together(monkeypatch):
    sizes = []
    original = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda a: sizes.append(tuple(a.shape)) or original(a))
    params = [nn.Parameter(torch.zeros(4, n)) for n in (5, 6, 7)] + [
        nn.Parameter(torch.zeros(3, 8))
    ]
    for p in params:
        p.grad = filled(*p.shape).float()
    BlockAdaGrad(params).step()
    assert sorted(sizes) == [(2, 3, 3), (6, 4, 4)]  # two cores of each


def test_a_failed_decomposition_is_tried_in_double_precision(monkeypatch):
    original = torch.linalg.eigh

    def only_double(a):
        if a.dtype != torch.float64:
            raise torch.linalg.LinAlgError("no convergence")
        return original(a)

    grads = gradients((4, 6))
    expected, _ = stepped(nn.Parameter(torch.zeros(4, 6)), grads)
    monkeypatch.setattr(torch.linalg, "eigh", only_double)
    p, _ = stepped(nn.Parameter(torch.zeros(4, 6)), grads)
    torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-6)
    assert p.dtype == torch.float32


@pytest.mark.parametrize("failure", ["error", "nan"])
def test_then_the_last_root_is_kept_with_one_warning(monkeypatch, failure):
    original = torch.linalg.eigh

    def fails(a):
        if failure == "error":
            raise torch.linalg.LinAlgError("no convergence")
        values, vectors = original(a)
        return values, vectors * torch.nan

    p, optimizer = stepped(nn.Parameter(torch.zeros(4, 6)), gradients((4, 6), 3), lr=0.1)
    root = optimizer.state[next(iter(optimizer.state))]["within_root"].clone()
    before = p.clone()
    monkeypatch.setattr(torch.linalg, "eigh", fails)
    with pytest.warns(UserWarning, match=r"shape \(4, 6\) could not be decomposed"):
        optimizer.step()
    optimizer.step()  # warnings are errors in this suite
    state = next(iter(optimizer.state.values()))
    torch.testing.assert_close(state["within_root"], root, rtol=0, atol=0)
    assert (p != before).all()
    monkeypatch.setattr(torch.linalg, "eigh", original)
    optimizer.step()
    assert not torch.equal(state["within_root"], root)


def test_float32_follows_float64():
    grads = gradients((8, 20), 40, dtype=torch.float64)
    for structure in STRUCTURES:
        exact, _ = stepped(
            nn.Parameter(torch.zeros(8, 20, dtype=torch.float64)), grads, structure=structure
        )
        single, _ = stepped(
            nn.Parameter(torch.zeros(8, 20)), [g.float() for g in grads], structure=structure
        )
        assert single.dtype == torch.float32
        # Some eps of the length for each of 40 updates
        assert (single - exact).norm() <= 40 * torch.finfo(torch.float32).eps * exact.norm()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": -1.0}, ValueError, "lr is -1.0"),
        ({"lr": torch.tensor([0.1, 0.1])}, ValueError, "Tensor lr must be 1-element"),
        ({"momentum": 1.0}, ValueError, "momentum is 1.0"),
        ({"nesterov": True}, ValueError, "nesterov is True; expected False without momentum"),
        ({"structure": "block"}, ValueError, 'structure is .block.; expected "aligned" or "mean"'),
        ({"structure": "scaled"}, ValueError, 'structure is .scaled.; expected "aligned" or "mean"'),
        ({"damping": 0}, ValueError, "damping is 0"),
        ({"update_interval": 0}, ValueError, "update_interval is 0"),
        ({"statistics_interval": 1.5}, ValueError, "statistics_interval is 1.5"),
        ({"decay": 1.0}, ValueError, "decay is 1.0"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay is -0.1"),
        ({"max_blocks": 0}, ValueError, "max_blocks is 0"),
        ({"on_nonfinite": "ignore"}, ValueError, "on_nonfinite is 'ignore'"),
        ({"partition": "filters"}, ValueError, "partition of parameter 0 is 'filters'"),
        ({"partition": [0, 1]}, ValueError, "partition of parameter 0 has 2 labels; expected 6"),
        ({"partition": [0, 1, 1, 1, 1, 1]}, ValueError, "blocks of 1 to 5 entries; expected one size"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        BlockAdaGrad([nn.Parameter(torch.zeros(2, 3))], **options)
    p, q = (nn.Parameter(torch.zeros(2, 3)) for _ in range(2))
    optimizer = BlockAdaGrad([p])
    with pytest.raises(error, match=message):
        optimizer.add_param_group({"params": [q], **options})
    assert len(optimizer.param_groups) == 1


def test_aligned_is_the_default():
    assert BlockAdaGrad([nn.Parameter(torch.zeros(2, 3))]).param_groups[0]["structure"] == "aligned"


@pytest.mark.parametrize("option", [{"max_change": 0.5}, {"grafting": "row"}])
def test_options_of_older_versions_are_refused(option):
    p = nn.Parameter(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="it is no option any more"):
        BlockAdaGrad([{"params": [p], **option}])
    optimizer = BlockAdaGrad([p])
    state = optimizer.state_dict()
    state["param_groups"][0].update(option)
    with pytest.raises(ValueError, match="it is no option any more"):
        optimizer.load_state_dict(state)
    state["param_groups"][0].update(max_change=float("inf"), grafting=None)
    optimizer.load_state_dict(state)


def test_a_parameter_that_is_not_finite_is_named():
    """With weight decay it is part of the gradient."""
    params = [nn.Parameter(torch.ones(4, 6)), nn.Parameter(torch.ones(3))]
    without_gradient = nn.Parameter(torch.full((3,), torch.nan))
    optimizer = BlockAdaGrad([without_gradient, *params], weight_decay=0.1)
    for p in params:
        p.grad = torch.ones_like(p)
    with torch.no_grad():
        params[1][2] = torch.inf
    with pytest.raises(np.linalg.LinAlgError, match="the values of parameter 2 contain NaN or inf"):
        optimizer.step()
    assert not any(optimizer.state.values())
