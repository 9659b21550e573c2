"""The tour is a notebook: stored without outputs, and its cells run in a Jupyter kernel."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TOUR = Path(__file__).parents[1] / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(TOUR, as_version=4)


@pytest.fixture(scope="module")
def executed():
    notebook = nbformat.read(TOUR, as_version=4)
    folder = {"metadata": {"path": str(TOUR.parent)}}
    return NotebookClient(notebook, timeout=None, resources=folder).execute()


@pytest.fixture(scope="module")
def outputs(executed):
    return [output for cell in code_cells(executed) for output in cell.outputs]


@pytest.fixture(scope="module")
def printed(outputs):
    return "".join(output.text for output in outputs if output.output_type == "stream")


@pytest.fixture(scope="module")
def displays(outputs):
    return [output.data for output in outputs if output.output_type != "stream"]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def numbers(text, pattern):
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in\n{text}"
    return [float(number) for number in found.groups()]


def test_it_is_valid_and_for_any_python_kernel(stored):
    nbformat.validate(stored)
    assert stored.metadata.kernelspec.name == "python3"
    assert set(stored.metadata) == {"kernelspec", "language_info"}
    assert set(stored.metadata.language_info) == {"name"}  # no version of one machine


def test_it_is_stored_without_outputs(stored):
    for cell in code_cells(stored):
        assert cell.outputs == [], f"run jupyter nbconvert --clear-output --inplace {TOUR.name}"
        assert cell.execution_count is None
        assert not cell.metadata


def test_matrices_partitions_and_estimators_are_shown_as_html(displays):
    shown = [data["text/html"] for data in displays if "text/html" in data]
    matrix, blocks, found, model = shown
    assert matrix.count("<rect") == 100
    assert blocks.count("<tr>") == 1 + 10
    assert found.count("<tr>") == 1 + 10
    assert "BlockCovariance" in model
    assert model.count("<rect") == 16


def test_pictures_are_shown(displays):
    pictures = [data for data in displays if "image/png" in data]
    assert len(pictures) == 3


def test_no_cell_writes_to_stderr(outputs):
    assert not [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"]


def test_the_fit(printed):
    (error,) = numbers(printed, r"relative error: (\S+)")
    assert 0.05 < error < 0.15
    assert "numbers stored: 110 instead of 3229209" in printed


def test_solve_and_inverse_root_are_exact(printed, displays):
    assert [data["text/plain"] for data in displays].count("True") == 1
    (error,) = numbers(printed, r"largest error: (\S+)")
    assert error < 1e-12


def test_eigenvalues_and_determinant_are_those_of_the_dense_matrix(printed):
    assert "20 values, 1797 eigenvalues" in printed
    blocks, dense = numbers(printed, r"log-determinant: (\S+) with blocks, (\S+) dense")
    assert blocks == pytest.approx(dense, rel=1e-8)
    scipy, blocks = numbers(printed, r"largest eigenvalue: (\S+) by eigsh, (\S+) with blocks")
    assert blocks == pytest.approx(scipy, rel=1e-8)
    assert "samples: (3, 1797)" in printed


def test_found_blocks_are_nearly_the_digits(printed):
    (index,) = numbers(printed, r"adjusted Rand index: (\S+)")
    assert index > 0.6


def test_the_block_covariance_fits_new_days_better(printed):
    blocks, ledoit_wolf = numbers(printed, r"BlockCovariance (\S+)\nLedoitWolf +(\S+)")
    assert blocks > ledoit_wolf


def test_the_network_learns(printed):
    percent, images = numbers(printed, r"([\d.]+)% of (\d+) new images")
    assert percent > 90
    assert images == 297
