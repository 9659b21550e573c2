"""Errors of block approximations of the kernel matrix that ``make demo`` uses."""

from bench.rows import Row
from examples import demo

TITLE = "Approximations of the kernel matrix of the demo"
BY_GROUP = True
NAMES = {
    "diagonal": "diagonal",
    "one number per block": "blocks are the 10 digits, one number per block",
    "two in diagonal blocks": "blocks are the 10 digits, two numbers in diagonal blocks",
}


def measure(quick: bool) -> list[Row]:
    """Some of the approximations that the demo prints; --quick leaves out the clusters."""
    images, digits, kernel = demo.digits_kernel()
    rows = [
        row(NAMES[found.name], found)
        for found in demo.by_digits(kernel, digits)
        if found.name in NAMES
    ]
    if not quick:
        for _, two in list(demo.by_clusters(kernel, images))[-2:]:
            rows.append(row(f"blocks are {two.name}, two numbers in diagonal blocks", two))
    return rows


def row(name: str, found: demo.Approximation) -> Row:
    notes = {"numbers": float(found.numbers), "relative error": round(found.error, 6)}
    return Row(name, notes=notes)
