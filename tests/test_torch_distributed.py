"""BlockAdaGrad in two processes on loopback."""

import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from blockmat.optim.torch import BlockAdaGrad

STEPS, RANKS = 20, 2
OPTIONS = [
    {"structure": structure, "momentum": momentum, "lr": 0.02}
    for structure in ("scaled", "aligned", "mean")
    for momentum in (0.0, 0.9)
]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Embedding(11, 6), nn.Flatten(), nn.Linear(18, 13), nn.LayerNorm(13), nn.Tanh(),
        nn.Linear(13, 5),
    ).double()  # fmt: skip


def batches():
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        words = torch.randint(11, (16, 3), generator=generator)
        yield words, torch.randint(5, (16,), generator=generator)


def train(model, options, part=slice(None)):
    """Train on a part of every batch."""
    optimizer = BlockAdaGrad(model, **options)
    for words, targets in batches():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(words[part]), targets[part]).backward()
        optimizer.step()
    return [p.detach().numpy().copy() for p in model.parameters()]


def ddp_rank(rank, folder):
    """Train a replica on half of every batch, and keep its parameters."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS
    )
    for i, options in enumerate(OPTIONS):
        model = nn.parallel.DistributedDataParallel(network())
        parameters = train(model, options, slice(8 * rank, 8 * rank + 8))
        np.savez(f"{folder}/{i}-{rank}.npz", *parameters)
    leave()


def leave():
    """End a rank when all are done, without waiting for the threads of gloo.

    Joining them at the end of the interpreter sometimes aborts the process.
    """
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)


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
