"""Plots of matrices, fits, spectra and criteria for the number of blocks, with matplotlib.

Needs the ``plot`` extra. Each function draws into the given axes, or into a new pyplot figure,
and returns the axes.

May import: `blockmat.blocks`, `blockmat.matrices`, `blockmat.fitting`, `blockmat.finding`.
"""

from blockmat.plot.approximation import approximation
from blockmat.plot.matrix import matrix
from blockmat.plot.path import path
from blockmat.plot.plot_fit import plot_fit
from blockmat.plot.spectrum import spectrum

__all__ = ["approximation", "matrix", "path", "plot_fit", "spectrum"]
