"""The mistakes of the first hours with the PyTorch optimizers."""

import warnings

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import blockmat as bm  # noqa: E402
from blockmat.optim.torch import BlockAdaGrad, BlockAdamW  # noqa: E402

OPTIMIZERS = pytest.mark.parametrize(
    ("optimizer", "option"), [(BlockAdamW, "roles"), (BlockAdaGrad, "partition")]
)


def network():
    return nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 6), nn.Linear(6, 9))


@OPTIMIZERS
@pytest.mark.parametrize(
    "params",
    [
        lambda model: model.parameters(),
        lambda model: [*model.parameters()],
        lambda model: model.named_parameters(),
        lambda model: [{"params": model.parameters()}],
        lambda model: iter([{"params": [p]} for p in model.parameters()]),
    ],
)
def test_a_forgotten_model_gives_a_warning(optimizer, option, params):
    with pytest.warns(
        UserWarning,
        match=rf"params has 3 matrices and no model.*{optimizer.__name__}\(model\).*{option}=\{{\}}",
    ):
        made = optimizer(params(network()))
    assert sum(len(group["params"]) for group in made.param_groups) == 5


@OPTIMIZERS
def test_no_warning_where_nothing_is_forgotten(optimizer, option):
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer(model)
        optimizer(model.parameters(), model=model)
        optimizer(model.parameters(), **{option: {}})
        optimizer([{"params": model.parameters(), option: {}}])
        optimizer(nn.Linear(3, 2).parameters())
        optimizer([torch.ones(3, 3), torch.ones(3), torch.ones(2)])


@OPTIMIZERS
@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            lambda model: type(model),
            r"params is the class \w+; expected a module, such as \w+\(...\)",
        ),
        (lambda model: model.parameters, r"params is the function parameters; .* parameters\(\)"),
        (
            lambda model: model.state_dict(),
            r"params is a (dict|OrderedDict); .*model.named_parameters\(\)",
        ),
        (lambda model: [model], "params is a list with a module; expected the model alone"),
    ],
)
def test_what_is_no_list_of_parameters(optimizer, option, params, message):
    with pytest.raises(TypeError, match=message):
        optimizer(params(network()))


@OPTIMIZERS
def test_the_model_in_the_place_of_the_rate(optimizer, option):
    model = network()
    with pytest.raises(
        ValueError,
        match=r"lr is a Sequential of length 3; expected a finite|lr is a Sequential; expected a finite",
    ):
        optimizer(model.parameters(), model)


@pytest.mark.parametrize("beta", [0.95, 0.98, 0.999])
def test_the_betas_of_adamw_give_a_warning(beta):
    with pytest.warns(
        UserWarning, match=rf"betas is \(0.9, {beta}\); expected about \(0.9, 0.5\).*adam_betas"
    ):
        BlockAdamW(network(), betas=(0.9, beta))
    with pytest.warns(UserWarning, match=rf"betas is \(0.9, {beta}\)"):
        BlockAdamW([{"params": network().parameters(), "betas": (0.9, beta)}], roles={})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BlockAdamW(network(), betas=(0.9, 0.9), adam_betas=(0.9, 0.999))


def test_tensors_and_matrices_of_pytorch_for_numpy():
    A = bm.BlockConstantMatrix.identity([0, 0])
    with_gradient = torch.ones(2, requires_grad=True)
    with pytest.raises(
        TypeError, match=r"x is a Tensor that NumPy cannot read: .*detach.*blockmat.torch"
    ):
        A @ with_gradient
    with pytest.raises(TypeError, match="X is a list that NumPy cannot read"):
        bm.fit_samples([with_gradient, with_gradient], [0, 0])
    with pytest.raises(
        TypeError, match=r"x is a BlockConstantMatrix of shape .*; expected an array"
    ):
        A @ bm.torch.BlockConstantMatrix([0, 0], torch.ones(1, 1), torch.ones(1))
    assert (A @ with_gradient.detach()).tolist() == [1.0, 1.0]
