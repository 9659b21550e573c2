"""The programs of examples/: the demos as they are, the stocks on made-up data."""

import re
import subprocess
import sys

import numpy as np
import pytest

from bench import rows
from examples import demo, stocks


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    sectors = np.repeat(["banks", "mines", "ships"], [12, 9, 6])
    codes = np.repeat([0, 1, 2], [12, 9, 6])
    moves = rng.standard_normal((300, 3))[:, codes] + rng.standard_normal((300, 27))
    prices = np.exp(0.01 * np.vstack([np.zeros(27), np.cumsum(moves, axis=0)]))
    np.savez(tmp_path / "sp500_sectors.npz", prices=prices.astype(np.float32), sectors=sectors)
    return tmp_path


def test_stocks(data, capsys):
    stocks.main(["--data", str(data), "--picture", str(data / "picture.png")])
    printed = capsys.readouterr().out
    assert "300 days of 27 stocks in 3 sectors" in printed
    assert "adjusted Rand index with the sectors: 1.00" in printed
    assert "3 of 3 blocks are within one sector" in printed
    assert (data / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_file_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        stocks.main(["--data", str(tmp_path)])
    assert "sp500_sectors.npz does not exist; the top of" in capsys.readouterr().err


def test_weights_are_those_of_the_least_variance(data):
    returns, sectors = stocks.read_returns(data / "sp500_sectors.npz")
    covariance = stocks.BlockCovariance(sectors).fit(returns).operator_
    weights = stocks.minimum_variance(covariance)
    assert weights.sum() == pytest.approx(1)
    slopes = covariance @ weights
    np.testing.assert_allclose(slopes, slopes[0])


def test_demo(tmp_path, capsys):
    demo.main(["--picture", str(tmp_path / "picture.png")])
    out = capsys.readouterr().out
    assert "1797 x 1797" in out
    differences = [
        float(line.split()[-1])
        for line in out.splitlines()
        if line.startswith(("inverse", "log-determinant", "solve"))
    ]
    assert len(differences) == 4
    assert max(differences) <= 1e-10
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    _, stored = rows.load("demo")
    assert len(stored) == 5
    for row in stored:
        numbers, error = int(row.notes["numbers"]), row.notes["relative error"]
        assert re.search(rf"\b{numbers}\b", out), row.work
        assert f"{error:.4f}" in out, row.work


def test_demo_of_training(tmp_path, capsys):
    pytest.importorskip("torch")
    from examples import demo_training

    demo_training.main(["--picture", str(tmp_path / "picture.png")])
    out = capsys.readouterr().out
    assert re.search(r"^BlockAdamW \(blockmat\), default +0\.003 +0\.0\d+ +\d+", out, re.MULTILINE)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["demo", "demo_training"])
def test_demos_run_as_programs(name):
    program = f"{demo.__file__.removesuffix('demo.py')}{name}.py"
    done = subprocess.run(
        [sys.executable, program, "--help"], capture_output=True, text=True, check=True
    )
    assert "--picture FILE" in done.stdout
