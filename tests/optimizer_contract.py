"""What torch.optim's own suite checks of an optimizer, for the optimizers of blockmat.optim.torch.

A subclass of `Contract` names the optimizer and its options. The optimizer is registered as an
OptimizerInfo of PyTorch's test suite, whose inputs, errors and schedulers the bodies run through.
"""

import copy
import gc
import io
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")
info_of = pytest.importorskip("torch.testing._internal.common_optimizers", exc_type=ImportError)
from torch import nn  # noqa: E402


def info(optimizer, kwargs):
    """Return an OptimizerInfo with a list of named options."""
    return info_of.OptimizerInfo(
        optimizer,
        optim_inputs_func=lambda device, dtype=None: [
            info_of.OptimizerInput(params=None, kwargs=own, desc=desc)
            for desc, own in kwargs.items()
        ],
        optim_error_inputs_func=info_of.get_error_inputs_for_all_optims,
        supported_impls=(),
        not_og_supported_flags=(),
        supports_complex=False,
        supports_sparse=False,
    )


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


def tensors_with_places(value, place=()):
    if isinstance(value, torch.Tensor):
        yield place, value
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from tensors_with_places(item, (*place, key))


SCHEDULERS = info(torch.optim.SGD, {}).scheduler_inputs


class Contract:
    """The tests.

    Attributes
    ----------
    optimizer : type
        The optimizer.
    kwargs : dict
        Options by a short description.
    chosen : dict
        The option that says what a parameter gets, so that none has a matrix.
    resolved : str
        The key of what each parameter of a group gets.
    """

    optimizer = None
    kwargs: ClassVar = {}
    chosen: ClassVar = {}
    resolved = ""

    @classmethod
    def generate(cls, metafunc):
        """Parametrize a test by the inputs and errors of the class."""
        about = info(cls.optimizer, cls.kwargs)
        if "optim_input" in metafunc.fixturenames:
            inputs = about.optim_inputs_func(device="cpu")
            metafunc.parametrize("optim_input", inputs, ids=[i.desc for i in inputs])
        if "error_input" in metafunc.fixturenames:
            errors = about.optim_error_inputs_func("cpu", torch.float32)
            ids = [e.optimizer_error_input.desc for e in errors]
            metafunc.parametrize("error_input", errors, ids=ids)

    def test_it_is_an_optimizer(self):
        assert issubclass(self.optimizer, torch.optim.Optimizer)

    def test_errors(self, error_input):
        case = error_input.optimizer_error_input
        params = case.params if case.params is not None else [nn.Parameter(torch.ones(1, 1))]
        if issubclass(error_input.error_type, Warning):
            with pytest.warns(error_input.error_type, match=error_input.error_regex):
                self.optimizer(params, **case.kwargs)
        else:
            with pytest.raises(error_input.error_type, match=error_input.error_regex):
                self.optimizer(params, **case.kwargs)

    @pytest.mark.parametrize("scheduler_inputs", [[], *SCHEDULERS], ids=len)
    @pytest.mark.parametrize("contiguous", [True, False])
    def test_it_goes_in_the_right_direction(self, optim_input, scheduler_inputs, contiguous):
        kwargs = dict(optim_input.kwargs)
        weight, bias, inputs = filled((10, 5)), filled((10,), 1), filled((5,), 2)
        if not contiguous:
            weight = torch.stack([weight, weight], dim=-1)[..., 0]
            bias = torch.stack([bias, bias], dim=-1)[..., 0]
            assert not weight.is_contiguous()
        weight, bias = nn.Parameter(weight), nn.Parameter(bias)
        optimizer = self.optimizer([weight, bias], **{"lr": 0.03} | kwargs)
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

    def test_a_group_has_its_own_rate_and_weight_decay(self):
        a, b = nn.Parameter(filled((4, 3))), nn.Parameter(filled((4, 3)))
        optimizer = self.optimizer(
            [{"params": [a], "lr": 0.0}, {"params": [b], "weight_decay": 0.5}], lr=0.1
        )
        before = values([a, b])
        a.grad, b.grad = torch.ones(4, 3), torch.zeros(4, 3)
        optimizer.step()
        assert torch.equal(a, before[0])
        assert not torch.equal(b, before[1])
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.5]

    def test_nothing_happens_without_gradients(self, optim_input):
        p, q = nn.Parameter(filled((4, 3))), nn.Parameter(filled((4, 3), 1))
        optimizer = self.optimizer([p, q], **optim_input.kwargs)
        before = values([p, q])
        optimizer.step()
        assert_same([p, q], before)
        assert not optimizer.state
        p.grad = torch.ones(4, 3)
        optimizer.step()
        assert not torch.equal(p, before[0])
        assert torch.equal(q, before[1])

    def test_zero_gradients_move_nothing(self, optim_input):
        kwargs = {k: v for k, v in optim_input.kwargs.items() if k != "weight_decay"}
        params = [nn.Parameter(filled(s)) for s in ((4, 3), (4,), ())]
        optimizer = self.optimizer(params, **kwargs)
        before = values(params)
        for _ in range(2):
            for p in params:
                p.grad = torch.zeros_like(p)
            optimizer.step()
        assert_same(params, before)

    def test_gradients_are_never_changed(self, optim_input):
        model = small_model()
        optimizer = self.optimizer(model.parameters(), **optim_input.kwargs)
        for seed in range(3):
            optimizer.zero_grad()
            backward(model, seed)
            gradients = [p.grad.clone() for p in model.parameters()]
            optimizer.step()
            assert_same((p.grad for p in model.parameters()), gradients)

    @pytest.mark.parametrize("named", [False, True])
    def test_state_dict_is_deterministic_and_resumes_exactly(self, optim_input, named):
        model = small_model()
        params = list(model.named_parameters() if named else model.parameters())
        optimizer = self.optimizer(params, **optim_input.kwargs)
        train(model, optimizer, 20)
        saved, start = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model.state_dict())
        assert_same_state(saved, optimizer.state_dict())
        finals = []
        for _ in range(2):
            twin = small_model()
            twin.load_state_dict(start)
            params = list(twin.named_parameters() if named else twin.parameters())
            resumed = self.optimizer(params, **optim_input.kwargs)
            resumed.load_state_dict(saved)
            train(twin, resumed, 12, first=20)
            finals.append(values(twin.parameters()))
        train(model, optimizer, 12, first=20)
        for final in finals:  # also the second time: what was loaded has not been changed
            assert_same(final, model.parameters())

    def test_a_checkpoint_loads_with_weights_only(self, optim_input):
        model = small_model()
        optimizer = self.optimizer(model, **optim_input.kwargs)
        train(model, optimizer)
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        read = torch.load(file, weights_only=True)
        assert_same_state(read, optimizer.state_dict())
        self.optimizer(model, **optim_input.kwargs).load_state_dict(read)

    def test_a_deep_copy_goes_its_own_way(self, optim_input):
        model = small_model()
        optimizer = self.optimizer(model, **optim_input.kwargs)
        train(model, optimizer)
        twin, other = copy.deepcopy((model, optimizer))
        train(model, optimizer, first=3)
        middle = values(model.parameters())
        train(twin, other, first=3)
        assert_same(model.parameters(), middle)
        assert_same(twin.parameters(), middle)

    def test_roles_go_with_a_deep_copy(self):
        model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 6), nn.Linear(6, 5))
        optimizer = self.optimizer(model[1].parameters(), model=model)
        twin, other = copy.deepcopy((model, optimizer))
        (option,) = self.chosen
        found = []
        for net, own in ((model, optimizer), (twin, other)):
            own.add_param_group({"params": list(net[0].parameters())})
            own.add_param_group({"params": [net[2].weight], option: {"2.weight": "columns"
                                 if option == "partition" else 1}})  # fmt: skip
            found.append([group[self.resolved] for group in own.param_groups])
        assert found[0] == found[1]
        whole = self.optimizer(model).param_groups[0][self.resolved]
        assert found[1][1] == whole[:1] != whole[1:2]  # an embedding, and a matrix

    def test_a_parameter_is_not_taken_for_one_that_is_gone(self):
        """Python gives the identity of an object that is gone to a new one."""
        model = nn.ModuleList([nn.Linear(4, 4), *(nn.Embedding(7, 4) for _ in range(500))])
        matrix = self.optimizer(nn.Linear(4, 5)).param_groups[0][self.resolved][0]
        optimizer = self.optimizer(model[0], model=model)
        del model
        gc.collect()
        params = [nn.Parameter(torch.zeros(4, 5)) for _ in range(1000)]
        optimizer.add_param_group({"params": [(str(i), p) for i, p in enumerate(params)]})
        assert optimizer.param_groups[1][self.resolved] == [matrix] * 1000

    def test_weights_that_a_module_computes_have_no_role(self):
        linear = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))
        model = nn.Sequential(linear, nn.Tanh(), nn.Linear(4, 3))
        optimizer = self.optimizer(model)
        train(model, optimizer)
        copy.deepcopy((model, optimizer))

    def test_another_model_is_refused(self):
        model = small_model()
        with pytest.raises(ValueError, match="model has none of the parameters"):
            self.optimizer(model.parameters(), model=copy.deepcopy(model))
        with pytest.raises(TypeError, match=r"model is a list; expected a torch.nn.Module"):
            self.optimizer(model.parameters(), model=[model])

    def test_a_group_is_a_dict(self):
        optimizer = self.optimizer(small_model())
        for group in (None, torch.zeros(2), [nn.Parameter(torch.zeros(2))]):
            with pytest.raises(TypeError, match="param_group must be a dict"):
                optimizer.add_param_group(group)

    def test_a_group_that_is_refused_can_be_mended_and_added(self):
        model = small_model()
        optimizer = self.optimizer(model[0].parameters())
        ((option, value),) = self.chosen.items()
        calls = []

        def choose(name, p):
            calls.append(p)
            if len(calls) == 1:
                raise RuntimeError("not yet")
            return value

        group = {"params": model[2].parameters(), "damping": 0, option: choose}
        with pytest.raises(ValueError, match="damping is 0"):
            optimizer.add_param_group(group)
        group["damping"] = 1e-4
        bad = torch.zeros(2, 2, dtype=torch.complex64)
        with pytest.raises(TypeError, match="complex64"):
            optimizer.add_param_group({**group, "params": [nn.Parameter(bad)]})
        with pytest.raises(RuntimeError, match="not yet"):
            optimizer.add_param_group(group)
        assert len(optimizer.param_groups) == 1
        optimizer.add_param_group(group)
        expected = self.optimizer(model[2].parameters(), **self.chosen).param_groups[0]
        other = self.optimizer([group])  # a group is not changed
        for found in (optimizer.param_groups[1], other.param_groups[0]):
            assert found["params"] == expected["params"]
            assert found[self.resolved] == expected[self.resolved]
        train(model, optimizer, 2)
        assert len(optimizer.state) == 4

    @pytest.mark.parametrize("name", ["kinds", "n_matrices", "shapes"])
    def test_what_the_optimizer_computes_is_no_option(self, name):
        p, q = nn.Parameter(torch.zeros(4, 6)), nn.Parameter(torch.zeros(4, 6))
        with pytest.raises(
            ValueError, match=f"{name} is no option; expected {next(iter(self.chosen))}"
        ):
            self.optimizer([{"params": [p], name: [0]}])
        optimizer = self.optimizer([p])
        with pytest.raises(ValueError, match=f"{name} is no option"):
            optimizer.add_param_group({"params": [q], name: [0]})
        assert len(optimizer.param_groups) == 1

    def test_a_saved_shape_is_that_of_the_parameter_then(self):
        p = nn.Parameter(torch.zeros(4, 6))
        optimizer = self.optimizer([p])
        p.data = torch.zeros(5, 7)
        p.grad = filled((5, 7))
        optimizer.step()
        saved = optimizer.state_dict()
        assert saved["param_groups"][0]["shapes"] == [[5, 7]]
        self.optimizer([p]).load_state_dict(saved)

    def test_a_state_before_the_first_step_can_be_loaded(self):
        """Also if the first steps were left out."""
        model = small_model()
        optimizer, other = (self.optimizer(model, on_nonfinite="skip") for _ in range(2))
        for p in model.parameters():
            p.grad = torch.full_like(p, float("nan"))
        for _ in range(2):
            other.load_state_dict(optimizer.state_dict())
            optimizer.step()
        other.load_state_dict(optimizer.state_dict())
        assert not any(other.state.values())

    def test_a_state_without_names_or_schedule_can_be_loaded(self):
        model = small_model()
        optimizer, other = self.optimizer(model.parameters()), self.optimizer(model)
        train(model, optimizer)
        torch.optim.lr_scheduler.LinearLR(other)
        other.state_dict()
        other.load_state_dict(optimizer.state_dict())
        assert_same_state(other.state_dict()["state"], optimizer.state_dict()["state"])

    def test_options_of_a_saved_state_are_checked(self):
        optimizer = self.optimizer([nn.Parameter(torch.zeros(4, 6))])
        saved, before = optimizer.state_dict(), copy.deepcopy(optimizer.state_dict())
        saved["param_groups"][0]["damping"] = -1.0
        with pytest.raises(ValueError, match=r"damping is -1\.0"):
            optimizer.load_state_dict(saved)
        del saved["param_groups"][0]["damping"]
        with pytest.raises(ValueError, match=f"expected one of {self.optimizer.__name__}"):
            optimizer.load_state_dict(saved)
        assert_same_state(optimizer.state_dict(), before)

    @pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.float64])
    def test_a_state_of_another_dtype_is_refused(self, dtype, optim_input):
        model = small_model()
        optimizer = self.optimizer(model, **optim_input.kwargs)
        train(model, optimizer)
        saved, before = optimizer.state_dict(), copy.deepcopy(optimizer.state_dict())

        def damaged(value, place):
            """Return the state with another dtype at a place."""
            if not place:
                return value.to(dtype)
            first, *rest = place
            own = value.copy()
            own[first] = damaged(own[first], rest)
            return own

        n_tensors = 0
        for place, tensor in tensors_with_places(saved["state"]):
            n_tensors += tensor.dtype == torch.float32
            message = f"has {place[1]} of dtype {dtype} .*; expected torch.float32"
            with pytest.raises(ValueError, match=message):
                optimizer.load_state_dict(saved | {"state": damaged(saved["state"], place)})
            assert_same_state(optimizer.state_dict(), before)
        assert n_tensors >= 4
        double = small_model(torch.float64)
        with pytest.raises(ValueError, match=r"dtype torch\.float32 .*; expected torch\.float64"):
            self.optimizer(double, **optim_input.kwargs).load_state_dict(saved)
        optimizer, other = (self.optimizer(double, **optim_input.kwargs) for _ in range(2))
        train(double, optimizer)
        other.load_state_dict(optimizer.state_dict())
        assert_same_state(other.state_dict(), optimizer.state_dict())

    def test_hooks_run(self):
        model = small_model()
        optimizer = self.optimizer(model)
        seen = []
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: seen.append("before"))
        optimizer.register_step_post_hook(lambda opt, args, kwargs: seen.append("after"))
        optimizer.register_state_dict_post_hook(lambda opt, state: seen.append("state"))
        optimizer.register_load_state_dict_pre_hook(lambda opt, state: seen.append("load"))
        optimizer.register_load_state_dict_post_hook(lambda opt: seen.append("loaded"))
        train(model, optimizer, 1)
        optimizer.load_state_dict(optimizer.state_dict())
        assert seen == ["before", "after", "state", "load", "loaded"]

    def test_a_hook_may_change_what_is_loaded(self):
        p = nn.Parameter(torch.zeros(2, 3, dtype=torch.float16))
        p.grad = torch.ones(2, 3, dtype=torch.float16)
        first, second = self.optimizer([p]), self.optimizer([p])
        first.step()

        def change(opt, state):
            (group,) = state["param_groups"]
            return {**state, "param_groups": [{**group, "lr": 77.0}]}

        second.register_load_state_dict_pre_hook(change)
        second.load_state_dict(first.state_dict())
        assert second.param_groups[0]["lr"] == 77.0

    @pytest.mark.parametrize(
        ("shapes", "message"),
        [
            (None, "another optimizer"),
            ([(4, 5)], r"shape \(4, 5\); expected \(4, 6\)"),
            ([(3, 8)], r"shape \(3, 8\); expected \(4, 6\)"),
            ([(4, 6), (4, 6)], "parameter group"),
        ],
    )
    def test_a_state_that_does_not_fit_changes_nothing(self, shapes, message):
        p = nn.Parameter(torch.zeros(4, 6))
        make = torch.optim.Adagrad if shapes is None else self.optimizer
        others = [nn.Parameter(torch.ones(shape)) for shape in shapes or [(4, 6)]]
        optimizer, other = self.optimizer([p]), make(others)
        for own in (optimizer, other):
            for q in own.param_groups[0]["params"]:
                q.grad = torch.ones_like(q)
            own.step()
        before = copy.deepcopy(optimizer.state_dict())
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(other.state_dict())
        assert_same_state(optimizer.state_dict(), before)

    def test_it_can_be_printed(self, optim_input):
        text = repr(self.optimizer([nn.Parameter(torch.zeros(4, 3))], **optim_input.kwargs))
        assert text.startswith(f"{self.optimizer.__name__} (")
        assert "lr: " in text

    def test_0d_tensors_and_missing_gradients(self, optim_input):
        params = [
            nn.Parameter(torch.tensor(2.0)),
            nn.Parameter(filled((3, 2))),
            nn.Parameter(torch.zeros(0, 4)),
        ]
        optimizer = self.optimizer(params, **optim_input.kwargs)
        for _ in range(3):
            params[0].grad = torch.tensor(1.0)
            params[2].grad = torch.zeros(0, 4)
            optimizer.step()
        moved_up = bool(optim_input.kwargs.get("maximize"))
        assert (params[0] > 2.0) if moved_up else (params[0] < 2.0)
        assert params[0].shape == ()

    def test_closures_run_with_gradients_enabled(self):
        p = nn.Parameter(torch.ones(2, 3))
        optimizer = self.optimizer([p])

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
    def test_half_precision_keeps_single_precision_statistics(self, dtype, optim_input):
        model = small_model(dtype)
        params = [*model.parameters(), nn.Parameter(torch.ones(3, dtype=dtype))]
        params[-1].grad = torch.ones(3, dtype=dtype)
        optimizer = self.optimizer(params, **{"lr": 0.01} | optim_input.kwargs)
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
        resumed = self.optimizer(params, **optim_input.kwargs)
        resumed.load_state_dict(torch.load(file))
        check(resumed)
        assert_same_state(resumed.state_dict(), optimizer.state_dict())
        assert all(p.dtype == dtype for p in params)

    def test_half_precision_gradients_are_taken_in_single_precision(self):
        p = nn.Parameter(torch.zeros(3, 4, dtype=torch.bfloat16))
        q = nn.Parameter(torch.zeros(3, 4))
        for own in (p, q):
            optimizer = self.optimizer([own], lr=0.5)
            for seed in range(4):
                own.grad = filled((3, 4), seed).bfloat16().to(own.dtype)
                optimizer.step()
        torch.testing.assert_close(p.detach().float(), q.detach(), rtol=0.02, atol=0.01)

    def test_memory_formats_do_not_matter(self, optim_input):
        plain = nn.Parameter(filled((4, 3, 5, 5)))
        channels_last = nn.Parameter(filled((4, 3, 5, 5)).to(memory_format=torch.channels_last))
        for p in (plain, channels_last):
            optimizer = self.optimizer([p], **{"lr": 0.1} | optim_input.kwargs)
            for seed in range(4):
                g = filled((4, 3, 5, 5), seed)
                p.grad = (
                    g.to(memory_format=torch.channels_last) if p is channels_last or seed % 2 else g
                )
                optimizer.step()
        assert channels_last.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(plain, channels_last, rtol=1e-4, atol=1e-5)

    def test_transposed_gradients(self, optim_input):
        results = []
        for transposed in (False, True):
            p = nn.Parameter(torch.zeros(5, 3))
            optimizer = self.optimizer([p], **optim_input.kwargs)
            for seed in range(4):
                g = filled((5, 3), seed)
                p.grad = g.T.contiguous().T if transposed else g
                optimizer.step()
            results.append(p.detach())
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)

    def test_sparse_gradients_and_complex_parameters_are_refused(self):
        embedding = nn.Embedding(5, 3, sparse=True)
        embedding(torch.tensor([1, 2])).sum().backward()
        other = nn.Parameter(torch.zeros(2, 2))
        other.grad = torch.ones(2, 2)
        optimizer = self.optimizer([other, *embedding.parameters()])
        with pytest.raises(
            TypeError, match=r"gradient of shape \(5, 3\) is sparse; expected a dense one"
        ):
            optimizer.step()
        assert torch.equal(other.detach(), torch.zeros(2, 2))
        assert not any(optimizer.state.values())
        with pytest.raises(TypeError, match=r"dtype torch.complex64; expected real"):
            self.optimizer([nn.Parameter(torch.zeros(2, 2, dtype=torch.complex64))])

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    @pytest.mark.parametrize("place", [0, 1])
    def test_a_gradient_that_is_not_finite_changes_nothing(self, bad, place, optim_input):
        params = [nn.Parameter(filled((4, 3))), nn.Parameter(filled((3,)))]
        raising, skipping = (
            self.optimizer(params, on_nonfinite=o, **optim_input.kwargs) for o in ("raise", "skip")
        )
        for optimizer in (raising, skipping):
            for seed in range(2):
                for p in params:
                    p.grad = filled(p.shape, seed)
                optimizer.step()
            before, state = values(params), copy.deepcopy(optimizer.state_dict())
            params[place].grad.view(-1)[1] = bad
            if optimizer is raising:
                with pytest.raises(
                    np.linalg.LinAlgError, match=r"gradient (of .* )?contains NaN or infinity"
                ):
                    optimizer.step()
            else:
                assert optimizer.step(lambda: 5) == 5
            assert_same(params, before)
            assert_same_state(optimizer.state_dict(), state)

    def test_the_error_names_the_parameter(self):
        model = small_model()
        weight, bias = model[2].weight, model[2].bias
        halves = [[*model[0].parameters()], [weight, bias]]
        named = [[*model[0].named_parameters(prefix="0")], [("w", weight), ("b", bias)]]
        skip, both = {"on_nonfinite": "skip"}, [*model.parameters()]
        for params, options, name in (
            (model, {}, "2.bias"),
            (both, {"model": model}, "2.bias"),
            (halves[1], {"model": model}, "2.bias"),
            (named[1], {}, "b"),
            ([{"params": own} for own in named], {}, "b"),
            (halves[1], {next(iter(self.chosen)): {}}, "parameter 1"),
            (
                [{"params": own} for own in halves],
                {next(iter(self.chosen)): {}},
                "parameter 1 of group 1",
            ),
            ([{"params": halves[0], **skip}, {"params": halves[1]}], {"model": model}, "2.bias"),
        ):
            optimizer = self.optimizer(params, **options)
            for p in both:
                p.grad = torch.ones_like(p)
            bias.grad[1] = torch.nan
            with pytest.raises(np.linalg.LinAlgError, match=f"the gradient of {name} contains"):
                optimizer.step()

    def test_the_option_of_the_group_with_the_gradient_counts(self):
        for bad in ([0], [1], [0, 1]):
            params = [nn.Parameter(filled((4, 6))) for _ in range(3)]
            options = ({"on_nonfinite": "skip"}, {"on_nonfinite": "raise"}, {})
            groups = [{"params": [p], **own} for p, own in zip(params, options, strict=True)]
            optimizer = self.optimizer(groups)
            before = values(params)
            for i, p in enumerate(params):
                p.grad = torch.full_like(p, torch.nan if i in bad else 1.0)
            if 1 in bad:
                with pytest.raises(np.linalg.LinAlgError, match="parameter 0 of group 1 contains"):
                    optimizer.step()
            else:
                optimizer.step()
            assert_same(params, before)

    def test_gradient_scaling_and_autocast(self):
        model = small_model()
        optimizer = self.optimizer(model, lr=0.01)
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

    @pytest.mark.parametrize("scale", [1e-6, 1e5])
    def test_a_step_inside_autocast_is_the_same(self, scale):
        found = []
        for is_inside in (False, True):
            p = nn.Parameter(torch.zeros(16, 64))
            optimizer = self.optimizer([p])
            for seed in range(3):
                p.grad = scale * (1 + filled((16, 64), seed))
                with torch.autocast("cpu", torch.float16, enabled=is_inside):
                    optimizer.step()
            found.append(p.detach())
        assert_same(*([p] for p in found))

    @pytest.mark.parametrize("flat", [False, True])
    def test_states_by_the_names_of_parameters(self, flat):
        """What PyTorch's functions for distributed checkpoints make of a state."""
        from torch.distributed.checkpoint import state_dict as functions

        if flat and self.optimizer.__name__ == "BlockAdaGrad":
            pytest.skip("PyTorch flattens no lists, and a core is a list of two parts")
        options = functions.StateDictOptions(flatten_optimizer_state_dict=flat)
        model = small_model()
        optimizer = self.optimizer(model.parameters())
        train(model, optimizer)
        saved = functions.get_optimizer_state_dict(model, optimizer, options=options)
        again = copy.deepcopy(model)
        other = self.optimizer(again.parameters())
        functions.set_optimizer_state_dict(again, other, saved, options=options)
        for own, trained in ((model, optimizer), (again, other)):
            train(own, trained, first=3)
        assert_same(model.parameters(), again.parameters())

    def test_a_load_leaves_no_hook(self):
        model = small_model()
        optimizer = self.optimizer(model.parameters())
        train(model, optimizer)
        state = copy.deepcopy(optimizer.state_dict())
        optimizer.load_state_dict(state)
        state["param_groups"][0].pop("damping")
        with pytest.raises(ValueError, match="of another optimizer"):
            optimizer.load_state_dict(state)
        assert not optimizer._optimizer_load_state_dict_pre_hooks

    def test_parameters_changed_by_hand_are_refused(self):
        p, q = nn.Parameter(filled((4, 6))), nn.Parameter(filled((3,)))
        optimizer = self.optimizer([p, q])
        for x in (p, q):
            x.grad = filled(x.shape)
        optimizer.step()
        before = values([p, q])
        optimizer.param_groups[0]["params"].append(nn.Parameter(filled((2, 2))))
        with pytest.raises(ValueError, match="a group has 3 parameters; expected 2"):
            optimizer.step()
        optimizer.param_groups[0]["params"].pop()
        assert_same([p, q], before)
        for shape in ((4, 8), (5, 6)):
            p.data, p.grad = filled(shape), filled(shape)
            with pytest.raises(
                ValueError, match=r"has shape .*; expected \(4, 6\), as at the first"
            ):
                optimizer.step()
        assert_same([q], before[1:])

    def test_a_momentum_in_another_layout_is_loaded(self):
        p = nn.Parameter(filled((4, 3, 3, 3)))
        options = {"momentum": 0.9} if "momentum" in self.optimizer([p]).defaults else {}
        optimizer = self.optimizer([p], **options)
        p.grad = filled(p.shape)
        optimizer.step()
        state, start = copy.deepcopy(optimizer.state_dict()), p.detach().clone()
        found = []
        for layout in (torch.contiguous_format, torch.channels_last):
            p.data = start.clone()
            for own in state["state"].values():
                for name in ("momentum", "momentum_buffer"):
                    if name in own:
                        own[name] = own[name].contiguous(memory_format=layout)
            optimizer.load_state_dict(state)
            p.grad = filled(p.shape, 1)
            optimizer.step()
            found.append(p.detach().clone())
        assert_same(found[:1], found[1:])

    def test_modules_that_are_called_norms(self):
        class NormalFlow(nn.Module):
            def __init__(self):
                super().__init__()
                self.mix = nn.Parameter(filled((6, 8)))

        model = nn.ModuleDict(
            {"flow": NormalFlow(), "norm": nn.LayerNorm((4, 5)), "last": nn.Linear(3, 2)}
        )
        optimizer = self.optimizer(model)
        names = [name for name, _ in model.named_parameters()]
        found = dict(zip(names, optimizer.param_groups[0][optimizer._resolved], strict=True))
        assert found["flow.mix"] in (1, "rows")
        assert found["norm.weight"] == found["norm.bias"] == found["last.weight"]
        assert found["last.weight"] in (0, "diagonal")

    def test_a_function_that_returns_none_means_the_default(self):
        model = small_model()
        option = {self.optimizer._option: lambda name, p: None}
        plain, other = self.optimizer(model), self.optimizer(model, **option)
        key = plain._resolved
        assert plain.param_groups[0][key] == other.param_groups[0][key]

    @pytest.mark.parametrize("shape", [(48, 192), (192, 48), (8, 3, 3, 3)])
    def test_training_resumes_exactly_for_shapes_of_layers(self, shape):
        """Also if the file keeps no strides: products of other layouts round differently."""
        p = nn.Parameter(filled(shape))
        optimizer = self.optimizer([p])
        for seed in range(20):
            p.grad = filled(shape, seed)
            optimizer.step()
        state = copy.deepcopy(optimizer.state_dict())
        for own in state["state"].values():
            for name, value in own.items():
                if isinstance(value, torch.Tensor):
                    own[name] = value.contiguous()
        q = nn.Parameter(p.detach().clone())
        other = self.optimizer([q])
        other.load_state_dict(state)
        for seed in range(20, 40):
            for x, own in ((p, optimizer), (q, other)):
                x.grad = filled(shape, seed)
                own.step()
        assert_same([p], [q])
