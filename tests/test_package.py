"""The package as a whole: what it imports, and what it exports."""

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import blockmat as bm
import blockmat.optim.torch
import blockmat.torch

EXTRAS = ("matplotlib", "sklearn", "skfolio", "tqdm", "hypothesis", "torch", "dask", "pandas")


def run(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    ).stdout


def test_import_loads_no_extra_and_no_kernel():
    loaded = run("import sys, blockmat; print(*sys.modules)").split()
    assert not set(EXTRAS) & set(loaded)
    assert "numba" not in loaded
    assert not {
        "blockmat.blocks.kernels",
        "blockmat.sources.kernels",
        "blockmat.finding.correlations.kernels",
    } & set(loaded)


@pytest.mark.parametrize(
    ("blocked", "extra", "code"),
    [
        ("hypothesis", "testing", "import blockmat.testing"),
        ("tqdm", "progress", "bm.fit(np.eye(2), [0, 0], progress=True)"),
        (
            "matplotlib",
            "plot",
            "from blockmat.plot import plot_fit; plot_fit(np.eye(2), bm.fit(np.eye(2), [0, 0]))",
        ),
        ("skfolio", "skfolio", "import blockmat.skfolio"),
        ("sklearn", "skfolio", "import blockmat.skfolio"),
        ("torch", "torch", "import blockmat.optim.torch"),
        ("torch", "torch", "import blockmat.torch"),
        (
            "linear_operator",
            "gpytorch",
            "from blockmat.torch import BlockConstantMatrix as B; "
            "B([0, 0], [[1.0]], [1.0]).as_linear_operator()",
        ),
        ("linear_operator", "gpytorch", "import blockmat.torch.linear_operator"),
    ],
)
def test_a_missing_extra_is_named(blocked, extra, code):
    out = run(
        f"""
        import sys
        sys.modules[{blocked!r}] = None
        import numpy as np, blockmat as bm
        try:
            {code}
        except ImportError as error:
            print(isinstance(error, bm.BlockmatError), error)
        """
    )
    assert out.startswith("True")
    assert f'pip install "blockmat[{extra}]"' in out


def test_without_tqdm_there_is_no_bar_and_no_error():
    run(
        """
        import sys
        sys.modules["tqdm"] = None
        import numpy as np, blockmat as bm
        bm.fit(np.eye(2), [0, 0])
        """
    )


def public_objects():
    for module in (bm, bm.optim, blockmat.optim.torch, blockmat.torch):
        for name in module.__all__:
            item = getattr(module, name)
            if inspect.ismodule(item):
                continue
            yield f"{module.__name__}.{name}", item
            if inspect.isclass(item):
                own = [
                    c for c in item.__mro__ if re.match(r"blockmat\.(optim\.)?torch", c.__module__)
                ]
                members = {name: member for c in own[::-1] for name, member in vars(c).items()}
                for attribute, member in (members or vars(item)).items():
                    if not attribute.startswith("_") and callable(getattr(item, attribute)):
                        yield f"{module.__name__}.{name}.{attribute}", member


@pytest.mark.parametrize("name", dict(public_objects()))
def test_every_public_function_has_an_example(name):
    item = dict(public_objects())[name]
    item = getattr(item, "__func__", item)
    assert item.__doc__
    if not (inspect.isclass(item) and issubclass(item, Exception)):
        assert ">>>" in item.__doc__, name


def test_only_the_kernels_import_numba():
    from pathlib import Path

    for path in Path(bm.__file__).parent.rglob("*.py"):
        if path.name != "jit.py":
            assert "import numba" not in path.read_text(encoding="utf-8"), path.name


def test_every_part_of_the_theory_is_cited_by_the_code():
    page = (Path(__file__).parents[1] / "docs/theory.md").read_text("utf-8")
    anchors = set(re.findall(r"^\((theory-\w+)\)=$", page, re.MULTILINE))
    code = "".join(path.read_text("utf-8") for path in Path(bm.__file__).parent.rglob("*.py"))
    cited = set(re.findall(r":ref:`(theory-\w+)`", code))
    assert cited == anchors - {"theory-sources"}
    assert len(anchors) > 10
