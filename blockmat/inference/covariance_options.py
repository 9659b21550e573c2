"""Checks of the options of `BlockCovariance`, which are attributes of the estimator."""

import numbers
from typing import Any

from blockmat.blocks.checks import as_count, as_flag, is_choice
from blockmat.blocks.shown import shown
from blockmat.inference.block_covariance import NONLINEAR, features
from blockmat.sources.gaps import require_missing
from blockmat.sources.weights import as_half_life, require_weight_type

ESTIMATED = ("optimal", "cv")  # from held-out samples, or from how far samples differ
_SHRINKAGES = (NONLINEAR, *ESTIMATED)


def check_options(model: Any) -> None:
    """Raise ValueError or TypeError for options that are out of range or do not go together."""
    for name in ("scaled", "loadings", "signs", "assume_centered"):
        as_flag(getattr(model, name), name)
    _check_shrinkage(model.shrinkage)
    number_of_factors(model)
    _check_loadings(model)
    require_missing(model.missing)
    require_weight_type(model.weight_type)
    if not is_choice(model.constant, ("raise", "keep")):
        raise ValueError(f"constant is {shown(model.constant)}; expected 'raise' or 'keep'")
    if model.half_life is not None:
        as_half_life(model.half_life)


def _check_shrinkage(value: Any) -> None:
    if value is None or (isinstance(value, str) and value in _SHRINKAGES):
        return
    known = "None, a number above 0 and at most 1, 'nonlinear', 'optimal' or 'cv'"
    if isinstance(value, str):
        raise ValueError(f"shrinkage is {value!r}; expected {known}")
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"shrinkage is {value!r}; expected {known}")
    if not 0 < float(value) <= 1:
        raise ValueError(f"shrinkage is {value!r}; expected {known}")


def number_of_factors(model: Any) -> int:
    """Return the number of factors; "auto" means what goes with the other options."""
    if isinstance(model.n_factors, str):
        if model.n_factors != "auto":
            raise ValueError(f"n_factors is {model.n_factors!r}; expected an integer or 'auto'")
        return 1 if model.shrinkage == NONLINEAR and not model.loadings else 0
    return as_count(model.n_factors, "n_factors", 0)


def _check_loadings(model: Any) -> None:
    """Raise ValueError for options that do not go with blocks of one factor."""
    if not model.loadings:
        return
    if not model.scaled:
        raise ValueError("scaled is False with loadings=True; expected True")
    if model.constant != "raise":
        raise ValueError(
            f"constant is {model.constant!r} with loadings=True; expected 'raise', because "
            f"each variable has noise"
        )
    if number_of_factors(model):
        raise ValueError(
            f"n_factors is {model.n_factors} with loadings=True; expected 0 or 'auto', because "
            f"each block has a factor"
        )
    if model.shrinkage is not None and model.shrinkage != NONLINEAR:
        raise ValueError(
            f"shrinkage is {model.shrinkage!r} with loadings=True; expected 'nonlinear' or None"
        )
    if model.missing != "raise" and (model.missing != "em" or model.shrinkage is not None):
        raise ValueError(
            f"missing is {model.missing!r} and shrinkage {model.shrinkage!r} with loadings=True; "
            f"expected 'em' and None"
        )


def number_of_blocks(model: Any, n: int) -> int | None:
    """Return the number of blocks of n variables to find, or None for "auto"."""
    if isinstance(model.n_blocks, str) and model.n_blocks == "auto":
        return None
    if isinstance(model.n_blocks, str):
        raise ValueError(f"n_blocks is {model.n_blocks!r}; expected an integer or 'auto'")
    n_blocks = as_count(model.n_blocks, "n_blocks", 1)
    if n_blocks > n:
        raise ValueError(
            f"X has {n} {features(model.constant)}; n_blocks={n_blocks} expects at least as many"
        )
    return n_blocks
