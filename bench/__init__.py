"""Measurements; see ``python -m bench --help``."""
