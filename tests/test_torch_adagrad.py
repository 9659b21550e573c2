"""blockmat.optim.torch.BlockAdaGrad against the dense formula, and which blocks it makes."""

import math
import warnings

import numpy as np
import pytest

import blockmat as bm
from tests.test_optim import dense_root

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from blockmat.optim.torch import BlockAdaGrad  # noqa: E402
from blockmat.optim.torch.between import VectorCore, between_core  # noqa: E402
from blockmat.optim.torch.symmetric import Symmetric, decompose  # noqa: E402

LABELS = {
    "rows": lambda m, n: np.arange(m * n) // n,
    "columns": lambda m, n: np.arange(m * n) % n,
}


class DenseAdaGrad:
    """Full-matrix AdaGrad on the projected matrix, with the optimizer's schedule."""

    def __init__(self, labels, lr, momentum, damping, structure, decay, intervals):
        self.p = bm.Partition.from_labels(labels)
        self.lr, self.momentum, self.damping = lr, momentum, damping
        self.aligned, self.scaled = structure != "mean", structure == "scaled"
        self.squares = np.zeros(self.p.sizes.max())
        self.decay, self.intervals = decay, intervals
        self.total = np.zeros((self.p.n, self.p.n))
        self.velocity = np.zeros(self.p.n)
        self.t = self.measured = self.refreshed = 0

    def due(self, last, interval):
        return self.t - last >= min(interval, max(1, self.t // 8))

    def scaled_gradient(self, g):
        """Divided by the root mean square of all entries at one place in the blocks."""
        places = self.p.positions
        squares = np.bincount(places, g**2) / self.p.n_blocks
        kept, added = (1, 1) if self.decay is None else (self.decay, 1 - self.decay)
        self.squares = kept * self.squares + added * squares
        mean = self.squares / (self.t if self.decay is None else 1 - self.decay**self.t)
        return g / np.sqrt(mean + self.damping * mean.max())[places]

    def step(self, x, g):
        self.t += 1
        if self.scaled:
            g = self.scaled_gradient(g)
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
                "statistics_interval": 1, "max_change": math.inf} | options  # fmt: skip
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


STRUCTURES = ["mean", "aligned", "scaled"]


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
        ("scaled", [0, 2, 2, 1, 0, 2, 1, 0, 2, 0, 1, 1]),
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
    optimizer = BlockAdaGrad([p], **{"max_change": math.inf} | options)
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
    with pytest.raises(TypeError, match=r"model is a list; expected a torch.nn.Module"):
        BlockAdaGrad(model.parameters(), model=[model])


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


@pytest.mark.parametrize("grafting", ["row", "diagonal"])
@pytest.mark.parametrize("partition", ["rows", "columns"])
@pytest.mark.parametrize("decay", [None, 0.8])
def test_grafting_takes_the_length_from_a_simpler_update(grafting, partition, decay):
    grads = gradients((3, 5), dtype=torch.float64)
    zeros = torch.zeros(3, 5, dtype=torch.float64)
    options = {
        "partition": partition,
        "update_interval": 1,
        "statistics_interval": 1,
        "decay": decay,
    }
    p, q, total, weight = nn.Parameter(zeros.clone()), nn.Parameter(zeros.clone()), 0, 0
    plain, grafted = BlockAdaGrad([p], **options), BlockAdaGrad([q], grafting=grafting, **options)
    kept, added = (1, 1) if decay is None else (decay, 1 - decay)
    for g in grads:
        before = p.detach().clone(), q.detach().clone()
        p.grad, q.grad = g, g
        plain.step()
        grafted.step()
        direction, update = p.detach() - before[0], q.detach() - before[1]
        square = g.square()
        if grafting == "row":
            square = square.mean(1 if partition == "rows" else 0, keepdim=True)
        total, weight = kept * total + added * square, kept * weight + added
        weight = 1 if decay is None else weight
        wanted = 0.01 * (g / (total / weight).sqrt()).norm()
        torch.testing.assert_close(update.norm(), wanted)
        torch.testing.assert_close(update / update.norm(), direction / direction.norm())


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("partition", ["rows", "columns", "row scalars", "diagonal"])
@pytest.mark.parametrize("size", [0.0, 1e-3, 3.0])
@pytest.mark.parametrize("lr", [1e-3, 0.1, 10.0])
def test_an_update_is_shortened_to_the_largest_change(structure, partition, size, lr):
    start, g = size * filled(3, 4), filled(3, 4)
    options = {"structure": structure, "partition": partition}
    free, _ = stepped(nn.Parameter(start.clone()), [g], lr=1.0, **options)
    p, _ = stepped(nn.Parameter(start.clone()), [g], lr=lr, max_change=0.2, **options)
    allowed = 0.2 * max(start.norm().item(), math.sqrt(3))
    update = free - start
    wanted = update * min(lr, allowed / update.norm().item())
    torch.testing.assert_close(p - start, wanted)
    q, _ = stepped(nn.Parameter(start.clone()), [g], lr=lr, momentum=0.9, max_change=0.2, **options)
    wanted = update * min(lr, 0.1 * allowed / update.norm().item())
    torch.testing.assert_close(q - start, wanted)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("weight", "bias"), [(0.0, 10.0), (10.0, 0.0), (0.1, 0.1)])
def test_the_bound_is_of_the_weight_and_its_bias_together(structure, weight, bias):
    layer = nn.Linear(4, 3)
    nn.init.constant_(layer.weight, weight)
    nn.init.constant_(layer.bias, bias)
    start = [p.detach().clone() for p in layer.parameters()]
    optimizer = BlockAdaGrad(layer, lr=1e3, max_change=0.2, structure=structure)
    for p, g in zip(layer.parameters(), (filled(3, 4), filled(3)), strict=True):
        p.grad = g.float()
    optimizer.step()
    change = [p.detach() - q for p, q in zip(layer.parameters(), start, strict=True)]
    length = math.hypot(*(p.norm().item() for p in start))
    expected = torch.tensor(0.2 * max(length, math.sqrt(3)))
    torch.testing.assert_close(torch.cat([c.flatten() for c in change]).norm(), expected)


@pytest.mark.parametrize("grafting", [None, "row"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_no_step_changes_a_layer_by_more(grafting, momentum):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    optimizer = BlockAdaGrad(model, lr=100.0, momentum=momentum, grafting=grafting, max_change=0.1)
    groups = [list(model[0].parameters()), [model[1].weight], [model[1].bias]]
    assert optimizer.param_groups[0]["kinds"] == ["rows", 0, "diagonal", "diagonal"]
    before = [[p.detach().clone() for p in group] for group in groups]
    longest = [0.0, 0.0, 0.0]
    for seed in range(30):
        optimizer.zero_grad()
        x = torch.randn(8, 5, generator=torch.Generator().manual_seed(seed))
        (model(x) - x[:, :3]).square().mean().backward()
        optimizer.step()
        for i, (group, old) in enumerate(zip(groups, before, strict=True)):
            pairs = list(zip(group, old, strict=True))
            change = math.sqrt(sum((p - q).square().sum().item() for p, q in pairs))
            length = math.sqrt(sum(q.square().sum().item() for _, q in pairs))
            longest[i] = max(longest[i], length, math.sqrt(len(old[0])))
            assert 0 < change <= 0.1 * longest[i] * (1 + 1e-5)
        before = [[p.detach().clone() for p in group] for group in groups]


def changes(rates, momentum, max_change=0.1, **options):
    """Return the parameters of a layer after each step, each with its own rate."""
    torch.manual_seed(0)
    layer = nn.Linear(5, 4)
    optimizer = BlockAdaGrad(
        [*layer.named_parameters()], momentum=momentum, max_change=max_change, **options
    )
    path = [torch.cat([p.detach().flatten() for p in layer.parameters()])]
    for seed, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        x = torch.randn(8, 5, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        (layer(x) + x.square().sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()
        path.append(torch.cat([p.detach().flatten() for p in layer.parameters()]))
    return torch.stack(path)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_while_updates_are_shortened_the_rate_has_no_effect(structure, momentum):
    paths = [changes([rate] * 20, momentum, structure=structure) for rate in (10.0, 1e3)]
    torch.testing.assert_close(*paths, rtol=1e-4, atol=1e-5)
    free = changes([10.0] * 20, momentum, math.inf, structure=structure)
    assert (free[-1] - free[0]).norm() > 2 * (paths[0][-1] - paths[0][0]).norm()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_after_the_rate_has_risen_a_step_is_longer_by_at_most_the_ratio(structure):
    path = changes([1.0] * 15 + [10.0] * 15, 0.9, structure=structure)
    steps = path.diff(dim=0).norm(dim=1)
    longest = path.norm(dim=1).clamp(min=2).cummax(0).values[:-1]  # of four rows
    shares = steps / longest
    assert shares[:15].max() <= 0.1 * (1 + 1e-5)
    assert 0.1 * 3 < shares[15:].max() <= 0.1 * 10 * (1 + 1e-5)


def test_the_defaults_depend_on_the_structure():
    for structure, wanted in (("scaled", 0.07), ("aligned", math.inf), ("mean", math.inf)):
        p = nn.Parameter(torch.zeros(2, 3))
        group = BlockAdaGrad([p], structure=structure).param_groups[0]
        assert group["max_change"] == wanted
    assert BlockAdaGrad([p]).param_groups[0]["structure"] == "scaled"
    assert BlockAdaGrad([p], max_change=0.3).param_groups[0]["max_change"] == 0.3


@pytest.mark.parametrize("partition", ["rows", "diagonal"])
def test_nesterov_looks_ahead(partition):
    grads = gradients((3, 4), dtype=torch.float64)
    zeros = torch.zeros(3, 4, dtype=torch.float64)
    plain, _ = stepped(nn.Parameter(zeros.clone()), [], partition=partition)
    p, q = nn.Parameter(zeros.clone()), nn.Parameter(zeros.clone())
    options = {"lr": 1.0, "partition": partition, "max_change": math.inf}
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


def between_after(vectors, decay, damping, refresh_at):
    """A between core whose root was renewed after so many vectors, its matrix and its root."""
    k = vectors.shape[1]
    core = between_core(VectorCore.zeros(k, vectors.dtype, torch.device("cpu")))
    total = torch.zeros(k, k, dtype=vectors.dtype)
    root = total.clone()
    for i, v in enumerate(vectors):
        core = core.add(v, 1.0 + i, decay)
        total = decay * total + (1.0 + i) * torch.outer(v, v)
        if i + 1 in refresh_at:
            (found,) = decompose([core.to_decompose()])
            core.keep_root(*found, damping, 2.0)
            values, basis = torch.linalg.eigh(total)
            values = values.clamp(min=0)
            root = 2 * basis @ torch.diag((values + damping * values[-1]).rsqrt()) @ basis.T
    assert type(between_core(core.state)) is type(core)
    return core, total, root


@pytest.mark.parametrize("n_vectors", [1, 2, 5, 6, 7, 12, 40])
@pytest.mark.parametrize("decay", [1.0, 0.7])
@pytest.mark.parametrize("stale", [0, 1, 3])
def test_the_between_core_is_its_dense_matrix_before_and_after_it_is_kept_so(
    n_vectors, decay, stale
):
    vectors = filled(n_vectors + stale, 12)
    vectors[n_vectors // 2] = vectors[0]  # counts once
    core, total, root = between_after(vectors, decay, 1e-3, range(n_vectors + 1))
    n_kept = max(n_vectors - 1, 1) + stale
    assert isinstance(core, VectorCore) == (n_kept <= 6)
    if n_kept <= 6:
        assert core.state["vectors"].shape == (12, n_kept)
    torch.testing.assert_close(core.lower_triangle().tril(), total.tril())
    torch.testing.assert_close(core.diagonal(), total.diagonal())
    v = filled(12)
    torch.testing.assert_close(core.apply_root(v), root @ v, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("k", [12, 4])
def test_directions_of_a_between_core_that_are_small_are_kept(k):
    """They count where the damping is smaller, and when they grow."""
    sizes = torch.logspace(0, -5, 3, dtype=torch.float64)
    vectors = (sizes.unsqueeze(1) * filled(3, k)).repeat(20, 1)[: 3 * (k // 2)]
    core, total, root = between_after(vectors, 1.0, 1e-12, range(1, len(vectors) + 1))
    torch.testing.assert_close(core.lower_triangle().tril(), total.tril(), rtol=1e-12, atol=0)
    v = torch.linalg.qr(vectors[:3].T, mode="complete").Q[:, 2]  # in the smallest direction
    # Eigenvalues of 1e-10 of the largest are right to k eps / 1e-10 = 3e-5
    assert (core.apply_root(v) - root @ v).norm() <= 1e-4 * (root @ v).norm()
    assert (root @ v).norm() > 1e3


def test_a_between_core_of_tiny_or_no_gradients():
    for size in (1e-13, 1e-15):
        vectors = size * filled(3, 12).float()
        core, _, _ = between_after(vectors, 1.0, 1e-3, range(4))
        exact, _, _ = between_after(vectors.double(), 1.0, 1e-3, range(4))
        v = vectors[1]
        expected = exact.apply_root(v.double()).float()
        torch.testing.assert_close(core.apply_root(v), expected, rtol=1e-3, atol=1e-3)
    core, _, _ = between_after(torch.zeros(3, 12), 1.0, 1e-3, range(4))
    assert core.apply_root(torch.ones(12)).tolist() == [0.0] * 12


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_state_is_never_larger_than_the_documentation_says(structure, momentum):
    p = nn.Parameter(torch.zeros(16, 100))
    optimizer = BlockAdaGrad([p], structure=structure, momentum=momentum)
    assert optimizer.state_bytes() == 0
    within = 2 * 16 if structure == "mean" else 1.75 * 16**2
    within += 100 if structure == "scaled" else 0
    seen = []
    for n_vectors, g in enumerate(gradients((16, 100), 12), 1):
        p.grad = g
        optimizer.step()
        seen.append(optimizer.state_bytes() / 4 - within - (1600 if momentum else 0))
        if n_vectors <= 8:
            assert seen[-1] == (16 + 2) * n_vectors + 1
    assert seen[-1] == 1.75 * 16**2
    assert max(seen) == seen[-1]


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
    assert sorted(sizes) == [(1, 3, 3), (3, 4, 4), (4, 1, 1)]  # of one gradient's means


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
        ({"structure": "block"}, ValueError, 'structure is .block.; expected "scaled", "aligned" or "mean"'),
        ({"damping": 0}, ValueError, "damping is 0"),
        ({"update_interval": 0}, ValueError, "update_interval is 0"),
        ({"statistics_interval": 1.5}, ValueError, "statistics_interval is 1.5"),
        ({"decay": 1.0}, ValueError, "decay is 1.0"),
        ({"max_change": 0}, ValueError, "max_change is 0; expected None or a number above 0"),
        ({"max_change": math.nan}, ValueError, "max_change is nan"),
        ({"grafting": "adam"}, ValueError, "grafting is 'adam'"),
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
