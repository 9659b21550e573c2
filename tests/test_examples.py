"""The examples, on made-up data."""

import numpy as np
import pytest

from examples import stocks


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
    assert "3 of 3 blocks lie in one sector" in printed
    assert (data / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_file_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        stocks.main(["--data", str(tmp_path)])
    assert "sp500_sectors.npz does not exist; how to get it" in capsys.readouterr().err


def test_weights_are_those_of_the_least_variance(data):
    returns, sectors = stocks.read_returns(data / "sp500_sectors.npz")
    covariance = stocks.BlockCovariance(sectors).fit(returns).operator_
    weights = stocks.minimum_variance(covariance)
    assert weights.sum() == pytest.approx(1)
    slopes = covariance @ weights
    np.testing.assert_allclose(slopes, slopes[0])
