"""A user's program, for a type checker that sees only the installed wheel."""

from typing import assert_type

import numpy as np

import blockmat as bm

A = bm.fit(np.eye(4) + 1, [0, 0, 1, 1])
assert_type(A, bm.BlockConstantMatrix)
assert_type(A.inv(), bm.BlockConstantMatrix)
assert_type(bm.find_partition(np.eye(4), n_blocks=2), bm.Partition)
