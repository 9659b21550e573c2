"""refuse_asymmetric: the error for a matrix that is not symmetric, which says how it differs."""

from typing import Any, NoReturn

import numpy as np
from scipy import sparse

from blockmat.exceptions import NotHermitianError


def refuse_asymmetric(A: Any, name: str) -> NoReturn:
    """Raise `NotHermitianError` for a real matrix, dense or sparse, that is not symmetric."""
    library, prefix = (sparse, "scipy.sparse") if sparse.issparse(A) else (np, "np")
    for side, inside, k, outside in (
        ("lower", "tril", -1, library.triu(A, 1)),
        ("upper", "triu", 1, library.tril(A, -1)),
    ):
        if abs(outside).max() == 0:
            raise NotHermitianError(
                f"{name} is not symmetric: it has only its {side} triangle; expected a symmetric "
                f"matrix, such as {name} + {prefix}.{inside}({name}, {k}).T"
            )
    difference = abs(A - A.T).max()
    raise NotHermitianError(
        f"{name} is not symmetric: mirrored entries differ by up to {difference:.3g}; expected a "
        f"symmetric matrix, such as ({name} + {name}.T) / 2 if the differences are errors"
    )
