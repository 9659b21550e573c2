"""What the values of the option `structure` stand for."""

import math
from dataclasses import dataclass

from blockmat.optim.torch.gradients import PlainGradient, ScaledGradient
from blockmat.optim.torch.within import DiagonalWithin, SquareWithin, WithinCore


@dataclass(frozen=True)
class Structure:
    """How a weight is preconditioned."""

    gradient: type[PlainGradient]  # how the gradient is taken
    within: type[WithinCore]  # what is kept of deviations from block means
    max_change: float  # the default of the option


STRUCTURES = {
    "scaled": Structure(ScaledGradient, SquareWithin, max_change=0.07),
    "aligned": Structure(PlainGradient, SquareWithin, max_change=math.inf),
    "mean": Structure(PlainGradient, DiagonalWithin, max_change=math.inf),
}
