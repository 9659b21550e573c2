"""The PyTorch optimizers in two processes on loopback."""

import itertools
import os
import re
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import multiprocessing, nn
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

from blockmat.optim.torch import BlockAdaGrad, BlockAdamW, ranks, symmetric
from blockmat.optim.torch.sharded import ShardedParameter

STEPS, RANKS = 20, 2
ADAMW = [
    {"optimizer": BlockAdamW},
    {"optimizer": BlockAdamW, "lr": 0.01, "weight_decay": 0.1, "max_blocks": 7, "n_directions": 2},
]
OPTIONS = ADAMW + [
    {"structure": structure, "momentum": momentum, "lr": 0.02}
    for structure in ("aligned", "mean")
    for momentum in (0.0, 0.9)
]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(11, 6), nn.Flatten(), nn.Linear(18, 13), nn.LayerNorm(13), nn.Tanh(),
        nn.Linear(13, 40), nn.Tanh(), nn.Unflatten(1, (2, 20)), nn.Conv1d(2, 3, 3), nn.Tanh(),
        nn.Flatten(), nn.Linear(54, 5),
    ).double()  # fmt: skip


def batches():
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        words = torch.randint(11, (16, 3), generator=generator)
        yield words, torch.randint(5, (16,), generator=generator)


def make(model, options):
    """Return the optimizer of a model: BlockAdaGrad unless the options name another."""
    options = dict(options)
    return options.pop("optimizer", BlockAdaGrad)(model, **options)


def train(model, options, part=slice(None)):
    """Train on a part of every batch."""
    optimizer = make(model, options)
    for words, targets in batches():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(words[part]), targets[part]).backward()
        optimizer.step()
    return [p.detach().numpy().copy() for p in model.parameters()]


def meet(rank, folder):
    """Join the other rank; whoever waits for it longer than a minute fails."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(minutes=1),
    )


def ddp_rank(rank, folder):
    """Train a replica on half of every batch, and keep its parameters."""
    meet(rank, folder)
    for i, options in enumerate(OPTIONS):
        model = nn.parallel.DistributedDataParallel(network())
        parameters = train(model, options, slice(8 * rank, 8 * rank + 8))
        np.savez(f"{folder}/{i}-{rank}.npz", *parameters)
    leave()


def fsdp_rank(rank, folder):
    """Train what is sharded over two ranks, on half of every batch each."""
    meet(rank, folder)
    mesh = init_device_mesh("cpu", (RANKS,))
    decomposed = []

    def counted(matrices):
        decomposed.extend(len(matrix) for matrix in matrices)
        return symmetric.decompose(matrices)

    ranks.decompose = counted
    for i, options in enumerate(SHARDED):
        model = fully_shard(network(), mesh=mesh)
        optimizer = make(model, options)
        part = slice(8 * rank, 8 * rank + 8)
        sizes = []
        for words, targets in batches():
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(words[part]), targets[part]).backward()
            with Sent() as sent:
                optimizer.step()
            sizes.append((sent.largest, sent.n_cuts))
        parameters = [p.full_tensor().detach().numpy() for p in model.parameters()]
        np.savez(f"{folder}/{i}-{rank}.npz", *parameters)
        np.save(f"{folder}/sent-{i}-{rank}.npy", sizes)
        np.save(f"{folder}/bytes-{i}-{rank}.npy", optimizer.state_bytes())
        dcp.save({"optimizer": optimizer.state_dict()}, checkpoint_id=f"{folder}/saved-{i}")
        resumed(model, optimizer, options, part, folder, i, rank)
    np.save(f"{folder}/decomposed-{rank}.npy", decomposed)
    refused = [refuses(model, optimizer, rank, bad) for bad in (torch.nan, torch.inf, 1e160)]
    np.save(f"{folder}/refused-{rank}.npy", refused)
    np.save(f"{folder}/messages-{rank}.npy", messages(mesh))
    np.save(f"{folder}/mixed-{rank}.npy", mixed_with_whole_ones(mesh))
    np.save(f"{folder}/taken-{rank}.npy", [takes_a_whole_state(o, mesh) for o in SHARDED])
    leave()


def mixed_with_whole_ones(mesh):
    """Whether parameters that are cut and whole ones are trained together as whole ones are."""
    values = [torch.linspace(-1, 1, 7), torch.ones(5), torch.ones(())]
    whole = [nn.Parameter(v.clone()) for v in values]
    cut = nn.Parameter(distribute_tensor(values[0].clone(), mesh, [Shard(0)]))
    mixed = [cut, *(nn.Parameter(v.clone()) for v in values[1:])]
    optimizers_ = [BlockAdaGrad(params, lr=0.5) for params in (whole, mixed)]
    for step in range(3):
        gradients = [torch.sin(step + torch.arange(v.numel()).reshape(v.shape)) for v in values]
        for p, q, g in zip(whole, mixed, gradients, strict=True):
            p.grad = g.clone()
            q.grad = distribute_tensor(g.clone(), mesh, [Shard(0)]) if q is cut else g.clone()
        for optimizer in optimizers_:
            optimizer.step()
    pairs = zip(whole, [cut.full_tensor(), *mixed[1:]], strict=True)
    return all(torch.allclose(p, q) for p, q in pairs)


def takes_a_whole_state(options, mesh):
    """Whether what one process has trained goes on the same when it is cut over ranks."""
    alone = network()
    reference = make(alone, options)
    words, targets = next(batches())
    for _ in range(3):
        reference.zero_grad()
        nn.functional.cross_entropy(alone(words), targets).backward()
        reference.step()
    model = network()
    model.load_state_dict(alone.state_dict())
    model = fully_shard(model, mesh=mesh)
    optimizer = make(model, options)
    optimizer.load_state_dict(reference.state_dict())
    for net, opt in ((alone, reference), (model, optimizer)):
        opt.zero_grad()
        nn.functional.cross_entropy(net(words), targets).backward()
        opt.step()
    pairs = zip(alone.parameters(), model.parameters(), strict=True)
    return all(torch.allclose(p, q.full_tensor(), rtol=1e-7, atol=1e-9) for p, q in pairs)


def messages(mesh):
    """What is said of parameters that cannot be trained as they are cut."""
    x = nn.Parameter(distribute_tensor(torch.ones(4, 6), mesh, [Shard(0)]))
    other = nn.Parameter(distribute_tensor(torch.ones(4, 6), mesh, [Shard(1)]))
    said = []
    for p, options in (
        (x, {"partition": [0] * 12 + [1] * 12}),
        (other, {}),
    ):
        try:
            BlockAdaGrad([p], **options)
        except ValueError as error:
            said.append(str(error))
    return said


def refuses(model, optimizer, rank, bad):
    """What all ranks say of a number in any parameter of one of them, and whether nothing changes."""
    said = set()
    for i in range(len(list(model.parameters()))):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        if rank == 0:
            list(model.parameters())[i].grad.to_local().view(-1)[0] = bad
        before = [p.full_tensor().detach().clone() for p in model.parameters()]
        message = "nothing"
        try:
            optimizer.step()
        except np.linalg.LinAlgError as error:
            message = re.sub(r"gradient of \S+", "gradient of NAME", str(error))
        after = [p.full_tensor() for p in model.parameters()]
        same = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        said.add(message if same else "changed")
    return " or ".join(sorted(said))


def resumed(model, optimizer, options, part, folder, i, rank):
    """Go on from a state that was saved and loaded, and from the one that was not."""
    copy = fully_shard(network(), mesh=init_device_mesh("cpu", (RANKS,)))
    copy.load_state_dict(model.state_dict())
    other = make(copy, options)
    other.load_state_dict(optimizer.state_dict())
    results = []
    for net, opt in ((model, optimizer), (copy, other)):
        words, targets = next(batches())
        opt.zero_grad()
        nn.functional.cross_entropy(net(words[part]), targets[part]).backward()
        opt.step()
        results.append([p.full_tensor().detach() for p in net.parameters()])
    same = all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    np.save(f"{folder}/resumed-{i}-{rank}.npy", same)


class Sent:
    """The largest tensor that this rank has added up with others, and how often it cut one anew."""

    def __enter__(self):
        self.largest, self.original = 0, dist.all_reduce
        self.n_cuts, self.cut = 0, ShardedParameter.own_rows_to_columns

        def own_rows_to_columns(p, x):
            self.n_cuts += 1
            return self.cut(p, x)

        ShardedParameter.own_rows_to_columns = own_rows_to_columns

        def all_reduce(x, *args, **kwargs):
            self.largest = max(self.largest, x.numel())
            return self.original(x, *args, **kwargs)

        dist.all_reduce = all_reduce
        return self

    def __exit__(self, *exception):
        dist.all_reduce = self.original
        ShardedParameter.own_rows_to_columns = self.cut


def leave():
    """End a rank when all are done, without waiting for the threads of gloo.

    Joining them at the end of the interpreter sometimes aborts the process.
    """
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)


SHARDED = ADAMW + [
    {"structure": structure, "lr": 0.02} | more
    for structure in ("aligned", "mean")
    for more in (
        {},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "partition": "columns"},
        {"momentum": 0.5, "decay": 0.9, "weight_decay": 0.1, "decoupled_weight_decay": True},
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fsdp")
    multiprocessing.spawn(fsdp_rank, (str(folder),), nprocs=RANKS)
    return folder


@pytest.mark.parametrize("i", range(len(SHARDED)))
def test_shards_learn_what_one_process_learns_from_the_joined_batch(sharded, i):
    alone = train(network(), SHARDED[i])
    for rank in range(RANKS):
        parameters = list(np.load(sharded / f"{i}-{rank}.npz").values())
        for a, b in zip(parameters, alone, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("i", range(len(SHARDED)))
def test_sums_over_ranks_are_of_size_k_by_k_and_states_resume(sharded, i):
    for rank in range(RANKS):
        largest, n_cuts = np.load(sharded / f"sent-{i}-{rank}.npy").max(axis=0)
        if SHARDED[i] not in ADAMW:
            assert 0 < largest <= 54**2
            is_exchanged = SHARDED[i]["structure"] != "mean" and "partition" not in SHARDED[i]
            assert (n_cuts > 0) == is_exchanged
        assert np.load(sharded / f"resumed-{i}-{rank}.npy")


def test_decompositions_are_divided_among_ranks(sharded):
    sizes = [np.load(sharded / f"decomposed-{rank}.npy").tolist() for rank in range(RANKS)]
    assert sizes[0] != sizes[1]
    assert min(map(len, sizes)) > 100


def test_a_gradient_that_is_not_finite_on_one_rank_is_refused_by_all(sharded):
    is_known = (
        "the gradient of NAME contains NaN or infinity; expected finite numbers "
        '(on_nonfinite="skip" leaves such steps out)'
    )
    is_elsewhere = (
        "a gradient contains NaN or infinity on another rank, or its squares overflow; "
        "expected smaller numbers"
    )
    own, other = (np.load(sharded / f"refused-{rank}.npy").tolist() for rank in range(RANKS))
    assert own == [is_known, is_known, is_elsewhere]
    assert other == [is_elsewhere] * 3


def test_cut_and_whole_parameters_and_states_go_together(sharded):
    for rank in range(RANKS):
        assert np.load(sharded / f"mixed-{rank}.npy")
        assert np.load(sharded / f"taken-{rank}.npy").all()


def test_what_cannot_be_trained_is_refused(sharded):
    labels, placement = np.load(sharded / "messages-1.npy")
    assert "labels the entries of a parameter that is sharded; expected 'rows'" in labels
    assert "of shape (4, 6) is placed as (Shard(dim=1),); expected one that is whole" in placement


@pytest.mark.parametrize("i", range(len(SHARDED)))
def test_a_checkpoint_of_two_ranks_goes_on_in_one_process(sharded, i, tmp_path):
    model = network()
    optimizer = make(model, SHARDED[i])
    with torch.no_grad():
        for p, value in zip(
            model.parameters(), np.load(sharded / f"{i}-0.npz").values(), strict=True
        ):
            p.copy_(torch.from_numpy(value))
    dcp_to_torch_save(sharded / f"saved-{i}", tmp_path / "saved.pt")
    optimizer.load_state_dict(torch.load(tmp_path / "saved.pt")["optimizer"])
    alone = network()
    reference = make(alone, SHARDED[i])
    for words, targets in itertools.chain(batches(), itertools.islice(batches(), 1)):
        reference.zero_grad()
        nn.functional.cross_entropy(alone(words), targets).backward()
        reference.step()
    words, targets = next(batches())
    nn.functional.cross_entropy(model(words), targets).backward()
    optimizer.step()
    for a, b in zip(model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)
    whole = reference.state_bytes()
    assert np.load(sharded / f"bytes-{i}-0.npy") < whole


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    multiprocessing.spawn(ddp_rank, (str(folder),), nprocs=RANKS)
    return [
        [list(np.load(folder / f"{i}-{rank}.npz").values()) for rank in range(RANKS)]
        for i in range(len(OPTIONS))
    ]


def test_replicas_stay_the_same_bit_by_bit(trained):
    for first, second in trained:
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)


def test_replicas_learn_what_one_process_learns_from_the_joined_batch(trained):
    start = [p.detach().numpy() for p in network().parameters()]
    for options, (parameters, _) in zip(OPTIONS, trained, strict=True):
        alone = train(network(), options)
        for a, b, before in zip(parameters, alone, start, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8, err_msg=str(options))
            assert np.abs(b - before).max() > 1e-3
