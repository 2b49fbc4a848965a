"""Products of UnICORNN's step Jacobians on the CPU."""

from __future__ import annotations

from torch import Tensor

from dynlab.native import _ops
from dynlab.native.arguments import Shears
from dynlab.native.library import call


def shear_products(drift: Tensor, kick: Tensor, products: Tensor) -> None:
    """Fill ``products`` back in time: P_{t-1} = P_t J_t with J_t of UnICORNN Eq. (21).

    Arguments:
        drift: (d,). kick: (t, b, d).
        products: (2, t + 1, b, r, d) contiguous, the y and the z column of each row; the last time is given.
    """
    arguments = Shears.of(
        steps=kick.shape[0],
        batch=kick.shape[1],
        rows=products.shape[3],
        units=kick.shape[2],
        drift=drift.contiguous(),
        kick=_ops.rows_contiguous(kick),
        products=products,
    )
    call(arguments, "products", products)
