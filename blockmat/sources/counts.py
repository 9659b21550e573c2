"""How many samples there are, and how many they count as by their weights."""


def whole(n_effective: float) -> int:
    """Return the number of samples without its fraction, which may be rounding."""
    return int(n_effective * (1 + 1e-9))


def require_rows(n_rows: int, least: int) -> None:
    """Raise ValueError for fewer samples of positive weight."""
    if n_rows < least:
        raise ValueError(f"X has {n_rows} rows; expected at least {least} samples")


def is_searchable(n_rows: int, n_effective: float) -> bool:
    """Whether there are enough samples for a search for blocks, also by their weights."""
    return n_rows >= 3 and whole(n_effective) >= 3


def require_effective(n_effective: float, weight_type: str = "frequency") -> None:
    """Raise ValueError for weights that count as fewer samples than a search for blocks needs."""
    if whole(n_effective) < 3:
        hint = ", or weight_type='reliability' if the weights do not count samples"
        raise ValueError(
            f"the weights of X count as {n_effective:.3g} samples; expected at least 3"
            f"{hint if weight_type == 'frequency' else ''}"
        )
