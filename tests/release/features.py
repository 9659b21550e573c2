"""Use what each extra brings. Runs in an environment with the wheel, not in that of the tests.

It prints JSON: for each extra and for each module of the package, "works" or the error.
"""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

import blockmat as bm
from blockmat.exceptions import MissingExtraError

X = np.random.default_rng(0).normal(size=(60, 6)) + np.arange(60)[:, None] % 3
NO_DASK = "without Dask there are no Dask arrays"
LABELS = ["a", "a", "a", "b", "b", "b"]
A = bm.fit_samples(X, LABELS)


def plot() -> None:
    from blockmat.plot import matrix

    assert matrix(A).get_figure() is not None


def progress() -> None:
    bm.fit(A.toarray(), LABELS, progress=True)


def sklearn() -> None:
    from blockmat.covariance import BlockCovariance

    assert BlockCovariance(LABELS).fit(X).covariance_.shape == (6, 6)


def skfolio() -> None:
    from blockmat.skfolio import BlockCovariance

    assert BlockCovariance(LABELS).fit(X).covariance_.shape == (6, 6)


def discover() -> None:
    assert bm.find_partition(A.toarray(), n_blocks=2, contiguous=True).n_blocks == 2


def dask() -> None:
    import dask.array

    B = bm.fit_samples(dask.array.from_array(X, chunks=(20, 6)), LABELS)
    np.testing.assert_allclose(B.toarray(), A.toarray())


def torch() -> None:
    from blockmat.torch import BlockConstantMatrix

    assert BlockConstantMatrix([0, 0], [[1.0]], [1.0]).logdet().shape == ()


def optimizer() -> None:
    from blockmat.optim.torch import BlockAdamW

    nn = importlib.import_module("torch.nn")
    model = nn.Sequential(nn.Linear(4, 2))
    model(nn.init.ones_(nn.Linear(4, 3).weight)).sum().backward()
    BlockAdamW(model).step()


def gpytorch() -> None:
    from blockmat.torch import BlockConstantMatrix

    assert BlockConstantMatrix([0, 0], [[1.0]], [1.0]).as_linear_operator().shape == (2, 2)


def testing() -> None:
    from blockmat.testing import assert_matches_dense

    assert_matches_dense(A.inv(), np.linalg.inv(A.toarray()), condition=A.cond())


# The extra that a feature needs, and the feature.
FEATURES: tuple[tuple[str, Callable[[], None]], ...] = (
    ("plot", plot),
    ("progress", progress),
    ("sklearn", sklearn),
    ("skfolio", skfolio),
    ("discover", discover),
    ("dask", dask),
    ("torch", torch),
    ("torch", optimizer),
    ("gpytorch", gpytorch),
    ("testing", testing),
)


def outcome(action: Callable[..., object], *arguments: str) -> str:
    """Return "works", or the message of the error, which should name an extra."""
    try:
        action(*arguments)
    except MissingExtraError as error:
        return str(error)
    except ModuleNotFoundError as error:
        if error.name != "dask":
            raise
        return NO_DASK  # only a user's program makes Dask arrays
    return "works"


def modules() -> list[str]:
    """Return the names of all modules of the package."""
    root = Path(bm.__file__).parent
    names = [
        ".".join(path.relative_to(root.parent).with_suffix("").parts) for path in root.rglob("*.py")
    ]
    return sorted(name.removesuffix(".__init__") for name in names if not name.endswith("__main__"))


if __name__ == "__main__":
    found = {
        "file": bm.__file__,
        "version": bm.__version__,
        "features": [(extra, f.__name__, outcome(f)) for extra, f in FEATURES],
        "modules": {name: outcome(importlib.import_module, name) for name in modules()},
    }
    print(json.dumps(found))
