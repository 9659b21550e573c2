"""Where the names of other projects are documented.

Sphinx reads their inventories from the network. Without a network it takes those written here, of
the names that these pages refer to, so that a build is the same everywhere.
"""

import zlib
from pathlib import Path

GENERATED = "reference/generated/{}.html"
PROJECTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "numpy": (
        "https://numpy.org/doc/stable/",
        GENERATED,
        {
            "numpy.allclose": "function",
            "numpy.cov": "function",
            "numpy.linalg.LinAlgError": "exception",
            "numpy.linalg.cond": "function",
            "numpy.linalg.norm": "function",
            "numpy.memmap": "class",
        },
    ),
    "scipy": (
        "https://docs.scipy.org/doc/scipy/",
        GENERATED,
        {
            "scipy.cluster.hierarchy.cut_tree": "function",
            "scipy.cluster.hierarchy.linkage": "function",
            "scipy.optimize.minimize": "function",
            "scipy.sparse.linalg.LinearOperator": "class",
            "scipy.sparse.linalg.cg": "function",
            "scipy.stats.Covariance.colorize": "method",
            "scipy.stats.Covariance.whiten": "method",
            "scipy.stats.multivariate_normal": "data",
        },
    ),
    "sklearn": ("https://scikit-learn.org/stable/", "modules/generated/{}.html", {}),
    "skfolio": (
        "https://skfolio.org/",
        "generated/{}.html",
        {
            "skfolio.moments.BaseCovariance": "class",
            "skfolio.moments.EWMu": "class",
            "skfolio.optimization.NestedClustersOptimization": "class",
        },
    ),
    "torch": (
        "https://docs.pytorch.org/docs/stable/",
        "generated/{}.html",
        {
            "torch.Tensor.to": "method",
            "torch.compile": "function",
            "torch.func.vmap": "function",
            "torch.optim.Adagrad": "class",
        },
    ),
    "dask": ("https://docs.dask.org/en/stable/", "generated/{}.html", {}),
    "joblib": (
        "https://joblib.readthedocs.io/en/stable/",
        "generated/{}.html",
        {"joblib.Parallel": "class"},
    ),
}


def mapping(folder: Path) -> dict[str, tuple[str, tuple[str | None, str]]]:
    """Return the value of ``intersphinx_mapping``, with inventories written to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {}
    for project, (url, page, names) in PROJECTS.items():
        path = folder / f"{project}.inv"
        path.write_bytes(inventory(project, page, names))
        result[project] = url, (None, str(path))
    return result


def inventory(project: str, page: str, names: dict[str, str]) -> bytes:
    """Return an inventory (version 2) of names, each with its kind, on pages named after them."""
    lines = "".join(f"{name} py:{kind} 1 {page.format(name)}#$ -\n" for name, kind in names.items())
    head = (
        f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    return head.encode() + zlib.compress(lines.encode())
