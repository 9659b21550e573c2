"""Which statistics and roots of a weight a step renews."""

from typing import Any

from blockmat.optim.schedule import factors, refresh_is_due, total_weight


class Due:
    """What one step of one weight renews, and what its gradient counts.

    Parameters
    ----------
    state : dict
        The state of the weight, with the numbers of earlier steps, or empty.
    group : dict
        The options.

    Attributes
    ----------
    step : int
        The number of this step, from 1.
    roots : bool
        Whether the roots are renewed.
    statistics : bool
        Whether the gradient is added to the cores.
    kept, added : float
        What the cores and the gradient are multiplied by then. A gradient stands for those that
        were left out before it.
    """

    def __init__(self, state: dict[str, Any], group: dict[str, Any]) -> None:
        self.step = state.get("step", 0) + 1
        measured = state.get("measured", 0)
        self.roots = refresh_is_due(self.step, state.get("refreshed", 0), group["update_interval"])
        self.statistics = self.roots or refresh_is_due(
            self.step, measured, group["statistics_interval"]
        )
        self.kept, self.added = factors(group["decay"], self.step - measured)
        self.decay = group["decay"]

    @property
    def total_weight(self) -> float:
        """The sum of the weights of an average, or 1 for a sum."""
        return total_weight(self.decay, self.step)
