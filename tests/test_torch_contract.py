"""The contract of torch.optim for blockmat.optim.torch.BlockAdaGrad, and what it adds to it."""

import copy
import re
import warnings
from functools import partial

import numpy as np
import pytest

from tests.optimizer_contract import (
    Contract,
    assert_same_state,
    filled,
    small_model,
    tensors_with_places,
    train,
    values,
)

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from blockmat.optim.torch import BlockAdaGrad  # noqa: E402

# Lists of tensors without a model are meant here.
pytestmark = pytest.mark.filterwarnings("ignore:params has . matrices and no model is given")

KWARGS = {
    "default": {},
    "mean": {"structure": "mean"},
    "non-default lr": {"lr": 0.1},
    "Tensor lr": {"lr": torch.tensor(0.01)},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "weight_decay": {"weight_decay": 0.1},
    "decoupled": {"weight_decay": 0.1, "decoupled_weight_decay": True},
    "maximize": {"maximize": True, "weight_decay": 0.1},
    "decay": {"decay": 0.9},
    "columns": {"partition": "columns"},
    "labels": {"partition": lambda name, p: np.arange(p.numel()) % 2, "structure": "mean"},
}


def pytest_generate_tests(metafunc):
    if metafunc.cls is not None:
        metafunc.cls.generate(metafunc)


class TestBlockAdaGrad(Contract):
    optimizer, kwargs = BlockAdaGrad, KWARGS
    chosen, resolved = {"partition": "diagonal"}, "kinds"


@pytest.mark.parametrize("scheduler", [
    partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=20, cycle_momentum=False),
    partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=10),
    partial(torch.optim.lr_scheduler.LinearLR),
])  # fmt: skip
@pytest.mark.parametrize("lr", [0.05, torch.tensor(0.05)])
def test_schedulers_change_the_rate(scheduler, lr):
    p = nn.Parameter(torch.zeros(2, 3))
    optimizer = BlockAdaGrad([p], lr=lr)
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


STATES = [
    {"structure": structure, "momentum": 0.9, "partition": partition}
    for structure in ("aligned", "mean")
    for partition in ("rows", "columns", "row scalars", "diagonal", [0, 1, 2, 3] * 6)
]


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
        for name in set(state) - {"momentum_buffer"}:
            damaged = copy.deepcopy(saved)
            del damaged["state"][i][name]
            with pytest.raises(ValueError, match=f"state_dict has (no )?{name}"):
                other.load_state_dict(damaged)
            assert_same_state(other.state_dict(), before)
    other.load_state_dict(saved)
    assert other.state_dict()["param_groups"][0]["shapes"] == [[4, 6], [4]]
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


@pytest.mark.parametrize("structure", ["block", "scaled"])
def test_a_state_of_an_unknown_structure_is_refused(structure):
    p = nn.Parameter(torch.zeros(4, 6))
    optimizer = BlockAdaGrad([p])
    saved, before = optimizer.state_dict(), copy.deepcopy(optimizer.state_dict())
    saved["param_groups"][0]["structure"] = structure
    with pytest.raises(ValueError, match=f"structure is '{structure}'; expected .*aligned"):
        optimizer.load_state_dict(saved)
    assert_same_state(optimizer.state_dict(), before)


def test_a_state_with_a_core_of_vectors_is_refused():
    p = nn.Parameter(torch.zeros(4, 6))
    optimizer = BlockAdaGrad([p], structure="mean")
    p.grad = filled((4, 6))
    optimizer.step()
    saved, before = optimizer.state_dict(), copy.deepcopy(optimizer.state_dict())
    saved["state"][0] = saved["state"][0] | {
        "between": {
            "vectors": torch.eye(4, 2), "weights": numbers(2), "scale": torch.tensor(0.5),
            "change": numbers(2),
        }
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"state_dict has between of .*; expected \{'lower'"):
        optimizer.load_state_dict(saved)
    assert_same_state(optimizer.state_dict(), before)


@pytest.mark.parametrize("removed", ["max_change", "grafting"])
def test_removed_options_are_unknown(removed):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{removed}'"):
        BlockAdaGrad([nn.Parameter(torch.zeros(4, 6))], **{removed: None})


def numbers(*shape):
    """Small positive numbers that do not depend on a generator."""
    return torch.arange(1.0, 1 + int(np.prod(shape))).reshape(shape) / 8


BETWEEN = {"lower": [numbers(2, 2), numbers(2, 4)], "root": numbers(4, 4)}
SAVED = {  # what is saved of a weight (4, 6)
    "mean": {"within": numbers(4), "within_root": numbers(4)},
    "aligned": {"within": [numbers(2, 2), numbers(2, 4)], "within_root": numbers(4, 4)},
}


@pytest.mark.parametrize("structure", SAVED)
def test_the_format_of_saved_states_stays_the_same(structure):
    """Statistics are neither measured nor renewed in the step, so the update uses saved roots."""
    p = nn.Parameter(torch.zeros(4, 6))
    optimizer = BlockAdaGrad([p], structure=structure, lr=1.0)
    saved = optimizer.state_dict()
    saved["state"][0] = {
        "step": 100, "measured": 100, "refreshed": 100, "between": BETWEEN, **SAVED[structure],
    }  # fmt: skip
    optimizer.load_state_dict(saved)
    assert_same_state(optimizer.state_dict()["state"], saved["state"])
    p.grad = g = filled((4, 6))
    optimizer.step()
    within_root = SAVED[structure]["within_root"]
    within_root = torch.diag(within_root) if structure == "mean" else within_root
    means = g.mean(1, keepdim=True)
    update = BETWEEN["root"] @ means.expand(4, 6) + within_root @ (g - means)
    torch.testing.assert_close(p.detach(), -update)
    assert optimizer.state[p]["step"] == 101
    assert optimizer.state[p]["measured"] == optimizer.state[p]["refreshed"] == 100


@pytest.mark.parametrize("structure", ["aligned", "mean"])
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


@pytest.mark.parametrize("structure", ["aligned", "mean"])
def test_the_structure_cannot_change_after_the_first_step(structure):
    p = nn.Parameter(filled((4, 6)))
    optimizer = BlockAdaGrad([p], structure=structure)
    other = {"aligned": "mean", "mean": "aligned"}[structure]
    optimizer.param_groups[0]["structure"] = other
    p.grad = filled((4, 6), 1)
    optimizer.step()  # the first one
    optimizer.param_groups[0]["structure"] = structure
    before, state = values([p]), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(
        ValueError, match=f"structure is '{structure}'; expected what it was at the"
    ):
        optimizer.step()
    assert torch.equal(p, before[0])
    assert_same_state(optimizer.state_dict(), state)


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
