"""Plots of matrices, fits, spectra, and of how sure found blocks and their number are.

Needs the ``plot`` extra, matplotlib. Each function draws into the given axes, or into a new pyplot
figure, and returns the axes.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.matrices`, `blockmat.fitting`,
`blockmat.finding`.
"""

from blockmat.plot.approximation import approximation
from blockmat.plot.matrix import matrix
from blockmat.plot.path import path
from blockmat.plot.plot_fit import plot_fit
from blockmat.plot.spectrum import spectrum
from blockmat.plot.stability import stability
from blockmat.plot.tree import tree

__all__ = ["approximation", "matrix", "path", "plot_fit", "spectrum", "stability", "tree"]
