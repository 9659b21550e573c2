#!/usr/bin/env bash
# Builds an sdist and a wheel, installs the wheel where nothing else is, and tests it with the doctests and with some
# tests of the sdist, which use every folder and every extra.
set -euo pipefail
python=${1:?usage: tests/installed.sh PYTHON}
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

"$python" -m build --outdir "$place/dist" "$root"
wheel=$(echo "$place"/dist/*.whl)
"$python" -m venv "$place/venv"
install=("$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt")

"${install[@]}" "$wheel"
cd "$place"
venv/bin/python -c '
from pathlib import Path
import numpy as np, blockmat as bm
A = bm.fit(np.eye(4) + 1, [0, 0, 1, 1])
assert np.allclose(A.solve(A @ np.ones(4)), 1)
assert Path(bm.__file__).with_name("py.typed").exists()
print("without extras:", A, Path(bm.__file__).parent.name, bm.__version__)'

"${install[@]}" "$wheel[test]"
tar -xzf dist/*.tar.gz
cd blockmat-*/
rm -r blockmat # the tests see the wheel only
some=(package storage cli fitting factor independent dask plot gpytorch)
tests=("${some[@]/#/tests/test_}")
tests=("${tests[@]/%/.py}")
"$place/venv/bin/python" -m pytest -n auto -q --pyargs blockmat "${tests[@]}" README.md docs/*.md
