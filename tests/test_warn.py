"""Warnings show the line of the user, whatever calls whatever inside."""

import ast
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import blockmat as bm
from blockmat import skfolio
from blockmat.blocks import warn
from blockmat.covariance import BlockCovariance
from blockmat.inference import log_likelihood

LABELS = [0, 0, 0, 1, 1, 1]
rng = np.random.default_rng(0)
X = rng.normal(size=(40, 6)) + rng.normal(size=(40, 1))
WIDE = pd.DataFrame(X.T, columns=pd.date_range("2024-01-01", periods=40))
NUMBERED = pd.DataFrame(X).reset_index()
AT_BOUND = np.array([[1, 0.8, 0.8], [0.8, 1, 0.4], [0.8, 0.4, 1]])
TURN = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1e-9, 0.0, 0.0]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: bm.find_partition(WIDE, samples=True),
        lambda: bm.partition_path(WIDE, samples=True),
        lambda: bm.fit_samples(NUMBERED, [2, *LABELS]),
        lambda: bm.fit_factor(NUMBERED, [*LABELS, 1], max_iter=500),
        lambda: bm.optimal_shrinkage(NUMBERED, [2, *LABELS]),
        lambda: log_likelihood(NUMBERED, bm.fit(np.eye(7), [2, *LABELS])),
        lambda: bm.BlockAccumulator([2, *LABELS]).add_samples(NUMBERED),
        lambda: BlockCovariance(n_blocks=1).fit(WIDE),
        lambda: BlockCovariance(n_blocks=1).partial_fit(WIDE),
        lambda: make_pipeline(BlockCovariance(n_blocks=1)).fit(WIDE),
        lambda: GridSearchCV(
            BlockCovariance(LABELS, half_life=0.97), {"scaled": [True, False]}, cv=2
        ).fit(X),
        lambda: NUMBERED.pipe(bm.fit_samples, [2, *LABELS]),
        lambda: skfolio.BlockCovariance(LABELS, half_life=0.97).fit(X),
        lambda: BlockCovariance(LABELS, half_life=0.97).fit(X),
        lambda: BlockCovariance(LABELS).fit(X).partial_fit(X),
        lambda: bm.fit_factor(AT_BOUND, [0, 0, 0], samples=False),
        lambda: bm.fit_factor(X, LABELS, max_iter=1),
        lambda: bm.BlockConstantMatrix([0, 1, 2], TURN).funm(np.sqrt),
    ],
)
def test_a_warning_shows_the_line_of_the_caller(make):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
    assert caught
    assert {Path(w.filename).name for w in caught} == {Path(__file__).name}
    last = max(line for *_, line in make.__code__.co_lines())
    assert {w.lineno for w in caught} <= {*range(make.__code__.co_firstlineno, last + 1)}


def test_a_warning_of_an_optimizer_shows_the_line_of_the_caller(monkeypatch):
    torch = pytest.importorskip("torch")
    from blockmat.optim.torch import BlockAdaGrad, BlockAdamW

    def fails(_):
        raise torch.linalg.LinAlgError("no convergence")

    params = [torch.nn.Parameter(torch.zeros(4, 6)) for _ in range(2)]
    optimizer = BlockAdaGrad(params[:1])
    params[0].grad = torch.ones(4, 6)
    for make in (
        lambda: BlockAdamW(params),
        lambda: BlockAdaGrad(params),
        lambda: BlockAdamW(params[:1], betas=(0.9, 0.999)),
        lambda: BlockAdaGrad(params[:1], max_blocks=2),
        lambda: (monkeypatch.setattr(torch.linalg, "eigh", fails), optimizer.step()),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make()
        assert [w.filename for w in caught] == [__file__]
        assert [w.lineno for w in caught] == [make.__code__.co_firstlineno]


def test_the_class_of_a_warning_is_kept():
    with pytest.warns(RuntimeWarning, match="did not converge"):
        bm.fit_factor(X, LABELS, max_iter=1)
    with pytest.warns(scipy.linalg.LinAlgWarning, match="may be inaccurate"):
        bm.BlockConstantMatrix([0, 1, 2], TURN).funm(np.sqrt)


def test_a_warning_without_a_caller_outside_the_libraries_is_one(monkeypatch):
    class All:
        def __contains__(self, name):
            return True

    monkeypatch.setattr(warn, "_LIBRARIES", All())
    with pytest.warns(UserWarning, match="text"):
        warn.warn("text")


def test_no_other_module_warns():
    root = Path(bm.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
                assert path.name == "warn.py", path
