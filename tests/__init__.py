"""The tests. Each process uses one thread for linear algebra, since `pytest -n auto` uses all cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and PyTorch are imported
