"""Optimizers with block-constant preconditioners.

`BlockAdaGrad` and `minimize` work on NumPy arrays, and `newton_preconditioner` is for SciPy's
solvers. `blockmat.optim.torch.BlockAdaGrad` (extra ``torch``) trains PyTorch models.

May import: `blockmat.exceptions`, `blockmat.blocks`, `blockmat.cores`, `blockmat.sources`,
`blockmat.matrices`, `blockmat.fitting`.
"""

from blockmat.optim.adagrad import BlockAdaGrad
from blockmat.optim.minimize import minimize
from blockmat.optim.newton import newton_preconditioner

__all__ = ["BlockAdaGrad", "minimize", "newton_preconditioner"]
