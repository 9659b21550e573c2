"""What torch.optim's own suite checks of an optimizer, of blockmat.optim.torch.BlockAdaGrad.

The optimizer is registered as an OptimizerInfo of PyTorch's test suite, whose inputs, errors
and schedulers the bodies below run through.
"""

import copy
import io
import re
import warnings
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
info_of = pytest.importorskip("torch.testing._internal.common_optimizers", exc_type=ImportError)
from torch import nn  # noqa: E402

from blockmat.optim.torch import BlockAdaGrad  # noqa: E402

Input = info_of.OptimizerInput
KWARGS = {
    "default": {},
    "mean": {"structure": "mean"},
    "aligned": {"structure": "aligned", "max_change": 0.1},
    "non-default lr": {"lr": 0.1},
    "Tensor lr": {"lr": torch.tensor(0.01)},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "weight_decay": {"weight_decay": 0.1},
    "decoupled": {"weight_decay": 0.1, "decoupled_weight_decay": True},
    "maximize": {"maximize": True, "weight_decay": 0.1},
    "decay": {"decay": 0.9},
    "row grafting": {"grafting": "row", "momentum": 0.5},
    "diagonal grafting": {"grafting": "diagonal"},
    "columns": {"partition": "columns"},
    "labels": {"partition": lambda name, p: np.arange(p.numel()) % 2, "structure": "mean"},
}
INFO = info_of.OptimizerInfo(
    BlockAdaGrad,
    optim_inputs_func=lambda device, dtype=None: [
        Input(params=None, kwargs=kwargs, desc=desc) for desc, kwargs in KWARGS.items()
    ],
    optim_error_inputs_func=info_of.get_error_inputs_for_all_optims,
    supported_impls=(),
    not_og_supported_flags=(),
    supports_complex=False,
    supports_sparse=False,
)
INPUTS = INFO.optim_inputs_func(device="cpu")
ERRORS = INFO.optim_error_inputs_func("cpu", torch.float32)
over_inputs = pytest.mark.parametrize("optim_input", INPUTS, ids=lambda i: i.desc)


def filled(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def small_model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).to(dtype)


def backward(model, seed=0):
    p = next(model.parameters())
    loss = model(filled((8, 6), seed).to(p.dtype)).square().mean()
    loss.backward()
    return loss


def train(model, optimizer, steps=3, first=0):
    for seed in range(first, first + steps):
        optimizer.zero_grad()
        backward(model, seed)
        optimizer.step()


def values(params):
    return [p.detach().clone() for p in params]


def assert_same(left, right):
    left, right = list(left), list(right)
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def assert_same_state(left, right):
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        torch.testing.assert_close(left, right, rtol=0, atol=0)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same_state(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for own, other in zip(left, right, strict=True):
            assert_same_state(own, other)
    else:
        assert left == right


def test_it_is_an_optimizer():
    assert issubclass(BlockAdaGrad, torch.optim.Optimizer)
    assert INFO.optim_cls is BlockAdaGrad


@pytest.mark.parametrize("error_input", ERRORS, ids=lambda e: e.optimizer_error_input.desc)
def test_errors(error_input):
    case = error_input.optimizer_error_input
    params = case.params if case.params is not None else [nn.Parameter(torch.ones(1, 1))]
    if issubclass(error_input.error_type, Warning):
        with pytest.warns(error_input.error_type, match=error_input.error_regex):
            BlockAdaGrad(params, **case.kwargs)
    else:
        with pytest.raises(error_input.error_type, match=error_input.error_regex):
            BlockAdaGrad(params, **case.kwargs)


@over_inputs
@pytest.mark.parametrize("scheduler_inputs", [[], *INFO.scheduler_inputs], ids=len)
@pytest.mark.parametrize("contiguous", [True, False])
def test_it_goes_in_the_right_direction(optim_input, scheduler_inputs, contiguous):
    kwargs = dict(optim_input.kwargs)
    weight, bias, inputs = filled((10, 5)), filled((10,), 1), filled((5,), 2)
    if not contiguous:
        weight = torch.stack([weight, weight], dim=-1)[..., 0]
        bias = torch.stack([bias, bias], dim=-1)[..., 0]
        assert not weight.is_contiguous()
    weight, bias = nn.Parameter(weight), nn.Parameter(bias)
    optimizer = BlockAdaGrad([weight, bias], **{"lr": 0.03} | kwargs)
    schedulers = [make(optimizer) for make in scheduler_inputs]

    def closure():
        optimizer.zero_grad()
        loss = (weight.mv(inputs) + bias).pow(2).sum()
        loss.backward()
        return loss

    start = closure().item()
    for _ in range(20):
        loss = optimizer.step(closure)
        for scheduler in schedulers:
            plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(*([loss.item()] if plateau else []))
    end = closure().item()
    assert (end > start) if kwargs.get("maximize") else (end < start)


@pytest.mark.parametrize("scheduler", [
    partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=20, cycle_momentum=False),
    partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=10),
    partial(torch.optim.lr_scheduler.LinearLR),
])  # fmt: skip
@pytest.mark.parametrize("lr", [0.05, torch.tensor(0.05)])
def test_schedulers_change_the_rate(scheduler, lr):
    p = nn.Parameter(torch.zeros(2, 3))
    optimizer = BlockAdaGrad([p], lr=lr, max_change=float("inf"))
    schedule = scheduler(optimizer)
    lengths, rates = [], []
    for _ in range(5):
        p.grad, before = torch.ones(2, 3), p.detach().clone()
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
        lengths.append((p.detach() - before).norm().item())
    assert len(set(rates)) == 5
    steps = np.arange(1, 6)
    np.testing.assert_allclose(lengths, np.array(rates) / np.sqrt(steps), rtol=2e-3)


def test_a_group_has_its_own_rate_and_weight_decay():
    a, b = nn.Parameter(filled((4, 3))), nn.Parameter(filled((4, 3)))
    optimizer = BlockAdaGrad(
        [{"params": [a], "lr": 0.0}, {"params": [b], "weight_decay": 0.5}], lr=0.1
    )
    before = values([a, b])
    a.grad, b.grad = torch.ones(4, 3), torch.zeros(4, 3)
    optimizer.step()
    assert torch.equal(a, before[0])
    assert not torch.equal(b, before[1])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.5]


@over_inputs
def test_nothing_happens_without_gradients(optim_input):
    p, q = nn.Parameter(filled((4, 3))), nn.Parameter(filled((4, 3), 1))
    optimizer = BlockAdaGrad([p, q], **optim_input.kwargs)
    before = values([p, q])
    optimizer.step()
    assert_same([p, q], before)
    assert not optimizer.state
    p.grad = torch.ones(4, 3)
    optimizer.step()
    assert not torch.equal(p, before[0])
    assert torch.equal(q, before[1])


@over_inputs
def test_zero_gradients_move_nothing(optim_input):
    kwargs = {k: v for k, v in optim_input.kwargs.items() if k != "weight_decay"}
    params = [nn.Parameter(filled(s)) for s in ((4, 3), (4,), ())]
    optimizer = BlockAdaGrad(params, **kwargs)
    before = values(params)
    for _ in range(2):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert_same(params, before)


@over_inputs
def test_gradients_are_never_changed(optim_input):
    model = small_model()
    optimizer = BlockAdaGrad(model.parameters(), **optim_input.kwargs)
    for seed in range(3):
        optimizer.zero_grad()
        backward(model, seed)
        gradients = [p.grad.clone() for p in model.parameters()]
        optimizer.step()
        assert_same((p.grad for p in model.parameters()), gradients)


@over_inputs
@pytest.mark.parametrize("named", [False, True])
def test_state_dict_is_deterministic_and_resumes_exactly(optim_input, named):
    model = small_model()
    params = list(model.named_parameters() if named else model.parameters())
    optimizer = BlockAdaGrad(params, **optim_input.kwargs)
    train(model, optimizer, 20)
    saved, start = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model.state_dict())
    assert_same_state(saved, optimizer.state_dict())
    finals = []
    for _ in range(2):
        twin = small_model()
        twin.load_state_dict(start)
        params = list(twin.named_parameters() if named else twin.parameters())
        resumed = BlockAdaGrad(params, **optim_input.kwargs)
        resumed.load_state_dict(saved)
        train(twin, resumed, 12, first=20)
        finals.append(values(twin.parameters()))
    train(model, optimizer, 12, first=20)
    for final in finals:  # also the second time: what was loaded has not been changed
        assert_same(final, model.parameters())


@over_inputs
def test_a_checkpoint_loads_with_weights_only(optim_input):
    model = small_model()
    optimizer = BlockAdaGrad(model, **optim_input.kwargs)
    train(model, optimizer)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    read = torch.load(file, weights_only=True)
    assert_same_state(read, optimizer.state_dict())
    BlockAdaGrad(model, **optim_input.kwargs).load_state_dict(read)


@over_inputs
def test_a_deep_copy_goes_its_own_way(optim_input):
    model = small_model()
    optimizer = BlockAdaGrad(model, **optim_input.kwargs)
    train(model, optimizer)
    twin, other = copy.deepcopy((model, optimizer))
    train(model, optimizer, first=3)
    middle = values(model.parameters())
    train(twin, other, first=3)
    assert_same(model.parameters(), middle)
    assert_same(twin.parameters(), middle)


def test_hooks_run():
    model = small_model()
    optimizer = BlockAdaGrad(model)
    seen = []
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: seen.append("before"))
    optimizer.register_step_post_hook(lambda opt, args, kwargs: seen.append("after"))
    optimizer.register_state_dict_post_hook(lambda opt, state: seen.append("state"))
    optimizer.register_load_state_dict_pre_hook(lambda opt, state: seen.append("load"))
    optimizer.register_load_state_dict_post_hook(lambda opt: seen.append("loaded"))
    train(model, optimizer, 1)
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen == ["before", "after", "state", "load", "loaded"]


def test_a_hook_may_change_what_is_loaded():
    p = nn.Parameter(torch.zeros(2, 3, dtype=torch.float16))
    p.grad = torch.ones(2, 3, dtype=torch.float16)
    first, second = BlockAdaGrad([p], momentum=0.9), BlockAdaGrad([p], momentum=0.9)
    first.step()

    def forget(opt, state):
        return {**state, "state": {0: {**state["state"][0], "step": 77}}}

    second.register_load_state_dict_pre_hook(forget)
    second.load_state_dict(first.state_dict())
    assert second.state[p]["step"] == 77


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: torch.optim.Adagrad([nn.Parameter(torch.ones(4, 6))]), "another optimizer"),
        (lambda: BlockAdaGrad([nn.Parameter(torch.ones(4, 5))]), r"shape \(4, 5\); expected \(4, 6\)"),
        (lambda: BlockAdaGrad([nn.Parameter(torch.ones(3, 8))]), r"shape \(3, 8\); expected \(4, 6\)"),
        (lambda: BlockAdaGrad([nn.Parameter(torch.ones(4, 6)) for _ in range(2)]), "parameter group"),
    ],
)  # fmt: skip
def test_a_state_that_does_not_fit_changes_nothing(other, message):
    p = nn.Parameter(torch.zeros(4, 6))
    optimizer, other = BlockAdaGrad([p], momentum=0.9), other()
    for own in (optimizer, other):
        for q in own.param_groups[0]["params"]:
            q.grad = torch.ones_like(q)
        own.step()
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(other.state_dict())
    assert_same_state(optimizer.state_dict(), before)


STATES = [
    {"structure": structure, "momentum": 0.9, "partition": partition}
    for structure in ("scaled", "aligned", "mean")
    for partition in ("rows", "columns", "row scalars", "diagonal", [0, 1, 2, 3] * 6)
] + [{"grafting": "row"}, {"grafting": "diagonal"}]


def tensors_with_places(value, place=()):
    if isinstance(value, torch.Tensor):
        yield place, value
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from tensors_with_places(item, (*place, key))


@pytest.mark.parametrize("options", STATES, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("n_steps", [1, 20])
@pytest.mark.parametrize("is_old", [False, True])
def test_every_entry_of_a_state_is_checked(options, n_steps, is_old):
    partition = options.get("partition", "rows")
    params = [("0.weight", nn.Parameter(filled((4, 6)))), ("0.bias", nn.Parameter(filled((4,))))]
    labels = {"partition": {"0.weight": partition}}
    optimizer, other = (BlockAdaGrad(params, **options | labels) for _ in range(2))
    for seed in range(n_steps):
        for _, p in params:
            p.grad = filled(p.shape, seed)
        optimizer.step()
    saved = optimizer.state_dict()
    if is_old:
        del saved["param_groups"][0]["shapes"]
    before = copy.deepcopy(other.state_dict())
    places = list(tensors_with_places(saved["state"]))
    assert len(places) >= 2
    for place, tensor in places:
        damaged = copy.deepcopy(saved)
        inside = damaged["state"]
        for key in place[:-1]:
            inside = inside[key]
        for wrong in (torch.zeros(*tensor.shape, 2), torch.zeros(99, 99), 3):
            inside[place[-1]] = wrong
            with pytest.raises(ValueError, match=r"state_dict has .* expected"):
                other.load_state_dict(damaged)
            assert_same_state(other.state_dict(), before)
    for i, state in saved["state"].items():
        for name in set(state) - {"momentum_buffer", "graft"}:
            damaged = copy.deepcopy(saved)
            del damaged["state"][i][name]
            with pytest.raises(ValueError, match=f"state_dict has (no )?{name}"):
                other.load_state_dict(damaged)
            assert_same_state(other.state_dict(), before)
    other.load_state_dict(saved)
    assert other.param_groups[0]["shapes"] == [[4, 6], [4]]
    for seed in range(3):
        for _, p in params:
            p.grad = filled(p.shape, seed)
        other.step()


@pytest.mark.parametrize("options", STATES, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize(
    ("shape", "wrong"), [((4, 50), (4, 100)), ((50, 4), (100, 4)), ((4, 6), (6, 4))]
)
def test_a_state_of_another_shape_is_refused_before_and_after_a_step(options, shape, wrong):
    if not isinstance(options.get("partition", ""), str):
        options = options | {"partition": "rows"}
    for n_steps in (0, 1):
        optimizers = []
        for own in (shape, wrong):
            p = nn.Parameter(torch.ones(own))
            optimizers.append(BlockAdaGrad([p], **options | {"momentum": 0.0}))
            for _ in range(n_steps):
                p.grad = torch.ones(own)
                optimizers[-1].step()
        before = copy.deepcopy(optimizers[1].state_dict())
        with pytest.raises(ValueError, match=f"shape {re.escape(str(shape))}; expected"):
            optimizers[1].load_state_dict(optimizers[0].state_dict())
        assert_same_state(optimizers[1].state_dict(), before)


def test_a_state_of_an_unknown_structure_is_refused():
    p = nn.Parameter(torch.zeros(4, 6))
    saved = BlockAdaGrad([p]).state_dict()
    saved["param_groups"][0]["structure"] = "block"
    with pytest.raises(ValueError, match="structure is 'block'; expected one of scaled, aligned"):
        BlockAdaGrad([p]).load_state_dict(saved)


def numbers(*shape):
    """Small positive numbers that do not depend on a generator."""
    return torch.arange(1.0, 1 + int(np.prod(shape))).reshape(shape) / 8


SAVED = {  # what versions up to now have saved of a weight (4, 6)
    "mean": {"within": numbers(4), "within_root": numbers(4)},
    "aligned": {"within": [numbers(2, 2), numbers(2, 4)], "within_root": numbers(4, 4)},
    "scaled": {
        "within": [numbers(2, 2), numbers(2, 4)], "within_root": numbers(4, 4),
        "columns": numbers(6),
    },
}  # fmt: skip
SAVED_BETWEEN = {
    "vectors": {
        "vectors": torch.eye(4, 2), "weights": numbers(2), "scale": torch.tensor(0.5),
        "change": numbers(2),
    },
    "matrix": {"lower": [numbers(2, 2), numbers(2, 4)], "root": numbers(4, 4)},
}  # fmt: skip


@pytest.mark.parametrize("structure", SAVED)
@pytest.mark.parametrize("between", SAVED_BETWEEN)
def test_the_format_of_saved_states_stays_the_same(structure, between):
    """Statistics are neither measured nor renewed in the step, so the update uses saved roots."""
    p = nn.Parameter(torch.zeros(4, 6))
    optimizer = BlockAdaGrad([p], structure=structure, max_change=1e9, lr=1.0)
    saved = optimizer.state_dict()
    saved["state"][0] = {
        "step": 100, "measured": 100, "refreshed": 100, "between": SAVED_BETWEEN[between],
        **SAVED[structure],
    }  # fmt: skip
    optimizer.load_state_dict(saved)
    assert_same_state(optimizer.state_dict()["state"], saved["state"])
    p.grad = g = filled((4, 6))
    optimizer.step()
    own = SAVED_BETWEEN[between]
    root = own.get("root")
    if root is None:
        root = 0.5 * torch.eye(4) + own["vectors"] * own["change"] @ own["vectors"].T
    within_root = SAVED[structure]["within_root"]
    within_root = torch.diag(within_root) if structure == "mean" else within_root
    if structure == "scaled":
        mean = (SAVED["scaled"]["columns"] + g.square().sum(0)) / (101 * 4)
        g = g / (mean + 1e-3 * mean.max()).sqrt()
    means = g.mean(1, keepdim=True)
    update = root @ means.expand(4, 6) + within_root @ (g - means)
    torch.testing.assert_close(p.detach(), -update)
    assert optimizer.state[p]["step"] == 101
    assert optimizer.state[p]["measured"] == optimizer.state[p]["refreshed"] == 100


@over_inputs
def test_it_can_be_printed(optim_input):
    text = repr(BlockAdaGrad([nn.Parameter(torch.zeros(4, 3))], **optim_input.kwargs))
    assert text.startswith("BlockAdaGrad (")
    assert "lr: " in text


@over_inputs
def test_0d_tensors_and_missing_gradients(optim_input):
    params = [
        nn.Parameter(torch.tensor(2.0)),
        nn.Parameter(filled((3, 2))),
        nn.Parameter(torch.zeros(0, 4)),
    ]
    optimizer = BlockAdaGrad(params, **optim_input.kwargs)
    for _ in range(3):
        params[0].grad = torch.tensor(1.0)
        params[2].grad = torch.zeros(0, 4)
        optimizer.step()
    moved_up = bool(optim_input.kwargs.get("maximize"))
    assert (params[0] > 2.0) if moved_up else (params[0] < 2.0)
    assert params[0].shape == ()


def test_closures_run_with_gradients_enabled():
    p = nn.Parameter(torch.ones(2, 3))
    optimizer = BlockAdaGrad([p])

    def closure():
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 6
    assert p.grad is not None
    assert not torch.equal(p.detach(), torch.ones(2, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "kwargs",
    [{"momentum": 0.9}, {"structure": "mean"}, {"structure": "aligned"}, {"grafting": "row"}],
)
def test_half_precision_keeps_single_precision_statistics(dtype, kwargs):
    model = small_model(dtype)
    params = [*model.parameters(), nn.Parameter(torch.ones(3, dtype=dtype))]
    params[-1].grad = torch.ones(3, dtype=dtype)
    optimizer = BlockAdaGrad(params, lr=0.01, **kwargs)
    train(model, optimizer)

    def check(optimizer):
        for state in optimizer.state.values():
            for value in state.values():
                for t in value if isinstance(value, list) else [value]:
                    assert not isinstance(t, torch.Tensor) or t.dtype == torch.float32

    check(optimizer)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed = BlockAdaGrad(params, **kwargs)
    resumed.load_state_dict(torch.load(file))
    check(resumed)
    assert_same_state(resumed.state_dict(), optimizer.state_dict())
    assert all(p.dtype == dtype for p in params)


def test_half_precision_gradients_are_taken_in_single_precision():
    p = nn.Parameter(torch.zeros(3, 4, dtype=torch.bfloat16))
    q = nn.Parameter(torch.zeros(3, 4))
    for own in (p, q):
        optimizer = BlockAdaGrad([own], lr=0.5)
        for seed in range(4):
            own.grad = filled((3, 4), seed).bfloat16().to(own.dtype)
            optimizer.step()
    torch.testing.assert_close(p.detach().float(), q.detach(), rtol=0.02, atol=0.01)


@pytest.mark.parametrize(
    "kwargs", [{}, {"momentum": 0.9}, {"partition": "columns"}, {"grafting": "row"}]
)
def test_memory_formats_do_not_matter(kwargs):
    plain = nn.Parameter(filled((4, 3, 5, 5)))
    channels_last = nn.Parameter(filled((4, 3, 5, 5)).to(memory_format=torch.channels_last))
    for p in (plain, channels_last):
        optimizer = BlockAdaGrad([p], lr=0.1, **kwargs)
        for seed in range(4):
            g = filled((4, 3, 5, 5), seed)
            p.grad = (
                g.to(memory_format=torch.channels_last) if p is channels_last or seed % 2 else g
            )
            optimizer.step()
    assert channels_last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(plain, channels_last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kwargs", [{}, {"structure": "mean"}, {"partition": "columns"}, {"momentum": 0.9}]
)
def test_transposed_gradients(kwargs):
    results = []
    for transposed in (False, True):
        p = nn.Parameter(torch.zeros(5, 3))
        optimizer = BlockAdaGrad([p], **kwargs)
        for seed in range(4):
            g = filled((5, 3), seed)
            p.grad = g.T.contiguous().T if transposed else g
            optimizer.step()
        results.append(p.detach())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


def test_sparse_gradients_and_complex_parameters_are_refused():
    embedding = nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    other = nn.Parameter(torch.zeros(2, 2))
    other.grad = torch.ones(2, 2)
    optimizer = BlockAdaGrad([other, *embedding.parameters()])
    with pytest.raises(
        TypeError, match=r"gradient of shape \(5, 3\) is sparse; expected a dense one"
    ):
        optimizer.step()
    assert torch.equal(other.detach(), torch.zeros(2, 2))
    assert not any(optimizer.state.values())
    with pytest.raises(TypeError, match=r"dtype torch.complex64; expected real"):
        BlockAdaGrad([nn.Parameter(torch.zeros(2, 2, dtype=torch.complex64))])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("kwargs", [{}, {"momentum": 0.9, "structure": "mean"}])
def test_a_gradient_that_is_not_finite_changes_nothing(bad, place, kwargs):
    params = [nn.Parameter(filled((4, 3))), nn.Parameter(filled((3,)))]
    raising, skipping = (BlockAdaGrad(params, on_nonfinite=o, **kwargs) for o in ("raise", "skip"))
    for optimizer in (raising, skipping):
        for seed in range(2):
            for p in params:
                p.grad = filled(p.shape, seed)
            optimizer.step()
        before, state = values(params), copy.deepcopy(optimizer.state_dict())
        params[place].grad.view(-1)[1] = bad
        if optimizer is raising:
            with pytest.raises(np.linalg.LinAlgError, match="gradient contains NaN or infinity"):
                optimizer.step()
        else:
            assert optimizer.step(lambda: 5) == 5
        assert_same(params, before)
        assert_same_state(optimizer.state_dict(), state)


@pytest.mark.parametrize("structure", ["scaled", "aligned", "mean"])
@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_parameter_is_as_if_its_gradient_was_zero(structure, frozen):
    frozen_layer, other = nn.Linear(4, 3), nn.Linear(4, 3)
    other.load_state_dict(frozen_layer.state_dict())
    optimizers = [BlockAdaGrad(own, structure=structure) for own in (frozen_layer, other)]
    left, right = list(frozen_layer.parameters()), list(other.parameters())
    before = left[frozen].detach().clone()
    for seed in range(4):
        g = filled(left[1 - frozen].shape, seed)
        left[1 - frozen].grad = right[1 - frozen].grad = g
        right[frozen].grad = torch.zeros_like(right[frozen])
        for optimizer in optimizers:
            optimizer.step()
        assert torch.equal(left[frozen], before)
        torch.testing.assert_close(left[1 - frozen], right[1 - frozen])
    left[frozen].grad = torch.ones_like(before)
    optimizers[0].step()
    assert not torch.equal(left[frozen], before)


def test_gradient_scaling_and_autocast():
    model = small_model()
    optimizer = BlockAdaGrad(model, lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    for seed in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(filled((8, 6), seed)).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 32.0
    before, steps = values(model.parameters()), optimizer.state_dict()["state"][0]["step"]
    assert steps == 3
    next(model.parameters()).grad.fill_(float("inf"))
    scaler.scale(torch.tensor(1.0))
    scaler.step(optimizer)  # leaves the step out
    scaler.update()
    assert_same(model.parameters(), before)
    assert scaler.get_scale() == 16.0


def test_a_compiled_step_is_the_eager_one():
    results = []
    for compiled in (False, True):
        model = small_model()
        optimizer = BlockAdaGrad(model, momentum=0.9)

        def one(seed, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            model(filled((8, 6), seed)).square().mean().backward()
            optimizer.step()

        run = torch.compile(one, backend="eager") if compiled else one
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler, about its breaks
            for seed in range(4):
                run(seed)
        results.append(values(model.parameters()))
    torch.testing.assert_close(*results)  # the compiler may round the model differently


def test_it_is_neither_capturable_nor_differentiable():
    p = nn.Parameter(torch.zeros(2, 3))
    for name in ("capturable", "differentiable", "foreach", "fused"):
        with pytest.raises(TypeError, match=name):
            BlockAdaGrad([p], **{name: True})
    assert BlockAdaGrad([p]).defaults["differentiable"] is False


def test_a_parameter_group_can_be_added_later():
    model = small_model()
    a, b = list(model.parameters())[:2], list(model.parameters())[2:]
    optimizer = BlockAdaGrad(a)
    train(model, optimizer, 2)
    optimizer.add_param_group({"params": b, "structure": "mean", "partition": "rows"})
    train(model, optimizer, 2)
    assert optimizer.state[b[0]]["step"] == 2
    assert optimizer.state[a[0]]["step"] == 4
    assert optimizer.state[b[0]]["within"].shape == (3,)


# Several processes


def _rank(rank, port, results):
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = small_model(torch.float64)
    parallel = DistributedDataParallel(model)
    optimizer = BlockAdaGrad(model, lr=0.01, momentum=0.9)
    for seed in range(5):
        optimizer.zero_grad()
        part = filled((8, 6), seed, torch.float64)[4 * rank : 4 * rank + 4]
        parallel(part).square().mean().backward()
        optimizer.step()
    results[rank] = [p.detach().numpy() for p in model.parameters()]
    dist.destroy_process_group()


def test_data_parallel_ranks_stay_the_same_and_equal_one_process():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        results = manager.dict()
        processes = [context.Process(target=_rank, args=(r, port, results)) for r in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0]
        first, second = results[0], results[1]
    model = small_model(torch.float64)
    optimizer = BlockAdaGrad(model, lr=0.01, momentum=0.9)
    for seed in range(5):
        optimizer.zero_grad()
        model(filled((8, 6), seed, torch.float64)).square().mean().backward()
        optimizer.step()
    for a, b, p in zip(first, second, model.parameters(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, p.detach().numpy(), rtol=1e-9, atol=1e-12)
