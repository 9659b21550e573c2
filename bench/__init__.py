"""Measurements of the package; see ``python -m bench --help``.

A scenario, such as ``bench.product``, measures with `bench.harness` and stores `bench.rows` in
bench/results. `bench.pages` fills the documentation from there.
"""
