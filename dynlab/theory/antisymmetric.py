"""AntisymmetricRNN's eigenvalue criteria along a trace: Propositions 1 and 2, and its claim about the gated cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from dynlab import _check
from dynlab.compare import seeded_cell
from dynlab.theory._subject import array, described, subject
from dynlab.theory.base import Proposition, finding

KEYS = ("antisymmetric", "gated_antisymmetric", "antisymmetric_ablation")
PLAIN = ("antisymmetric",)
UNITS = 128  # the paper's, on MNIST
NEAR = 0.01
"""Of the largest modulus: what "near zero" is taken to mean here; the paper gives no number, our choice."""
SCALES = (0.0, 0.1, 0.3, 1.0, 3.0)
_TINY = 1e-30


@torch.no_grad()
def diagonal(cell: Any, inputs: Tensor) -> Tensor:
    """D of the ODE's Jacobian J = D M along the rollout from the zero state, (transition, batch, d).

    Plain: tanh'(a), a = M h + V_h x + b_h. Gated: sigmoid(c) tanh'(a) + tanh(a) sigmoid'(c), c = M h + V_z x + b_z.
    """
    states = cell.scan(inputs)
    return cell.linearization(inputs, states[:-1]).jacobian.gains[..., 0, 0, :] / cell.epsilon


@torch.no_grad()
def eigenvalues(diagonal: Tensor, matrix: Tensor) -> Tensor:
    """Eigenvalues of D M, complex (..., d): diagonal (..., d), matrix (d, d).

    Computed from the similar |D|^(1/2) sign(D) M |D|^(1/2), which for D > 0 and an antisymmetric M is antisymmetric
    too, so that rounding leaves real parts of the size of the rounding of |M|. Entries of D below 1e-30 of the largest
    (saturated units) are set to 0: they change the similar matrix by less than its rounding, and LAPACK stops at them.
    """
    size = diagonal.abs()
    kept = torch.where(size < _TINY * size.amax(-1, keepdim=True), 0, diagonal)
    root = kept.abs().sqrt()
    return torch.linalg.eigvals((root * kept.sign()).unsqueeze(-1) * matrix * root.unsqueeze(-2))


def rounding(values: Tensor) -> float:
    """How far computed eigenvalues may lie from the true ones: 100 d roundings of the largest modulus."""
    return 100 * values.shape[-1] * torch.finfo(torch.float64).eps * max(float(values.abs().max()), 1.0)


def _every(inputs: Tensor, every: int, where: str) -> slice:
    return slice(None, None, _check.integer("every", every, where))


def ode_criterion(
    cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0, steps: int = 50, every: int = 1
) -> xr.Dataset:
    """AntisymmetricRNN Prop. 1 (Eq. 5 is its critical case): the ODE is stable if max_i Re lambda_i(J(t)) <= 0.

    The condition is measured, at every state of a rollout: J = D M with D = diag(tanh') > 0, whose eigenvalues have
    real parts from -gamma max D to -gamma min D, so exactly 0 at gamma = 0. That the condition implies stability is
    another matter, ``antisymmetric-1-stability``. Without a cell: gamma = 0, 128 units, one Gaussian input a step.

    Arguments:
        steps: T of drawn inputs. every: each how many transitions.

    Returns:
        measured (transition, batch): max_i Re lambda_i; ``real_part_size``, max_i |Re lambda_i|; ``damping_bound``,
        -gamma min_i D_i, which the real parts of a plain cell cannot exceed.
    """
    key = "antisymmetric-1"
    cell, inputs = subject(
        cell, inputs, where=key, keys=KEYS, spec="antisymmetric:gamma=0.0", sizes=(1, UNITS), steps=steps, seed=seed
    )
    rows = _every(inputs, every, key)
    slopes = diagonal(cell, inputs)[rows]
    values = eigenvalues(slopes, cell.recurrent_matrix().detach())
    dims, times = ("transition", "batch"), range(1, inputs.shape[0] + 1)[rows]
    real = array(dims, values.real.amax(-1), "largest real part of an eigenvalue of J", transition=times)
    sizes = array(dims, values.real.abs().amax(-1), "largest |real part| of an eigenvalue of J", transition=times)
    damping = array(dims, -cell.gamma * slopes.amin(-1), "-gamma times the smallest entry of D", transition=times)
    return finding(
        key=key,
        reference="AntisymmetricRNN, Prop. 1, Eq. (5)",
        statement="max_i Re lambda_i(J(t)) <= 0 along the trace",
        relation="<=",
        bound=array((), 0.0, "Prop. 1"),
        measured=real,
        hypotheses=(),
        tolerance=rounding(values),
        extra={"real_part_size": sizes, "damping_bound": damping},
        note=f"gamma = {cell.gamma:g}: |Re| <= {float(sizes.max()):.1e}, |lambda| <= {float(values.abs().max()):.2g}; "
        f"D from {float(slopes.min()):.1e} to {float(slopes.max()):.2g}",
        **described(cell, inputs, seed),
    )


def euler_criterion(
    cell: Any = None,
    inputs: Tensor | None = None,
    *,
    seed: int = 0,
    gammas: Sequence[float] | None = None,
    steps: int = 20,
    every: int = 1,
) -> xr.Dataset:
    """AntisymmetricRNN Prop. 2: forward Euler is stable if max_i |1 + eps lambda_i(J_t)| <= 1.

    The condition is measured. With gamma = 0 it never holds: lambda = i omega gives sqrt(1 + eps^2 omega^2) > 1.

    Arguments:
        gammas: diffusions to roll the cell out with; its own by default, and without a cell 0, 0.01 (iRNN section 4.2)
            and 0.1 (Fig. 4), at the registry's eps = 0.01, sigma_w = 1 and 128 units.
        steps: T of drawn inputs. every: each how many transitions.

    Returns:
        measured (gamma, transition, batch): max_i |1 + eps lambda_i|.
    """
    key = "antisymmetric-2"
    chosen = ((0.0, 0.01, 0.1) if cell is None else (None,)) if gammas is None else gammas
    cell, inputs = subject(
        cell, inputs, where=key, keys=KEYS, spec="antisymmetric", sizes=(1, UNITS), steps=steps, seed=seed
    )
    if not chosen:
        raise ValueError(f"{key}: expected at least one of gammas, got none")
    used = [cell.gamma if gamma is None else _check.number("gamma", gamma, key, least=0) for gamma in chosen]
    rows = _every(inputs, every, key)
    moduli = []
    for gamma in used:
        cell.gamma = gamma
        values = eigenvalues(diagonal(cell, inputs)[rows], cell.recurrent_matrix().detach())
        moduli.append((1 + cell.epsilon * values).abs().amax(-1))
    measured = array(
        ("gamma", "transition", "batch"), torch.stack(moduli), "largest |1 + eps lambda(J_t)|",
        gamma=used, transition=range(1, inputs.shape[0] + 1)[rows],
    )  # fmt: skip
    worst = ", ".join(f"{float(one.max()):.6f} at gamma = {gamma:g}" for gamma, one in zip(used, moduli, strict=True))
    return finding(
        key=key,
        reference="AntisymmetricRNN, Prop. 2",
        statement="max_i |1 + eps lambda_i(J_t)| <= 1 along the trace",
        relation="<=",
        bound=array((), 1.0, "Prop. 2"),
        measured=measured,
        hypotheses=(),
        tolerance=cell.epsilon * rounding(values) + torch.finfo(torch.float64).eps,
        note=f"eps = {cell.epsilon:g}: {worst}",
        **{**described(cell, inputs, seed), "gamma": used},
    )


def gated_real_parts(
    cell: Any = None, inputs: Tensor | None = None, *, seed: int = 0, steps: int = 40, draws: int = 8
) -> xr.Dataset:
    """AntisymmetricRNN section 3: the gated cell (Eq. 13) keeps the real parts near zero, its Jacobian being D times A.

    Diffusion left aside, J = D A with A = W_h - W_h^T and D = sigmoid tanh' + tanh sigmoid'. Where D has one sign, the
    real parts are 0 exactly; the gate's second term makes entries of D negative wherever tanh is negative enough, and
    then nothing keeps them there: D = diag(1, -1) and A = [[0, 1], [-1, 0]] give the real eigenvalues 1 and -1.
    Without a cell: ``draws`` cells of 32 units (our choice), sigma_w = 1, eps = 0.01, one Gaussian input a step.

    Returns:
        measured (draw, transition, batch): max_i |Re lambda_i| over max_i |lambda_i|; bound: 0.01, what "near zero" is
        taken to mean. ``one_signed``: whether D has one sign there. Controlled experiment, the input's size alone
        changed: ``control_ratio`` and ``control_one_signed`` (input_scale), the largest ratio and the share of
        one-signed transitions.
    """
    key = "antisymmetric-gated"
    spec = "gated_antisymmetric:gamma=0.0"
    own, inputs = subject(
        cell, inputs, where=key, keys=("gated_antisymmetric",), spec=spec, sizes=(1, 32), steps=steps, seed=seed
    )
    if not own.gated or not own.structured:
        raise TypeError(f"{key}: expected a gated, structured AntisymmetricRNN, got gated={own.gated}, "
                        f"structured={own.structured}")  # fmt: skip
    cells = [own]
    if cell is None:
        more = range(seed + 1, seed + _check.integer("draws", draws, key))
        cells += [seeded_cell(spec, 1, own.hidden_size, other).double() for other in more]
    ratio, signed = map(torch.stack, zip(*(_ratio(one, inputs) for one in cells), strict=True))
    control = [_ratio(own, scale * inputs) for scale in SCALES]
    dims = ("draw", "transition", "batch")
    share = float(signed.double().mean())
    inside = float(ratio[signed].max()) if share > 0 else 0.0
    return finding(
        key=key,
        reference="AntisymmetricRNN, section 3, Eq. (13)",
        statement=f"gated: max |Re lambda| <= {NEAR:g} max |lambda| along the trace (the paper: near zero)",
        relation="<=",
        bound=array((), NEAR, "what near zero is taken to mean"),
        measured=array(dims, ratio, "max |Re lambda| over max |lambda|"),
        hypotheses=(),
        extra={
            "one_signed": array(dims, signed, "whether all entries of D have one sign", "bool"),
            "control_ratio": array(
                ("input_scale",), torch.stack([one.max() for one, _ in control]), "largest ratio", input_scale=SCALES
            ),
            "control_one_signed": array(
                ("input_scale",), torch.stack([one.double().mean() for _, one in control]),
                "share of transitions with a D of one sign", input_scale=SCALES,
            ),
        },
        note=f"D has one sign in {share:.0%} of the transitions, and there the ratio is at most {inside:.1e}; "
        f"elsewhere up to {float(ratio.max()):.2f}. Inputs scaled by {SCALES}: largest ratio "
        + ", ".join(f"{float(one.max()):.1e}" for one, _ in control),
        **described(own, inputs, seed),
    )  # fmt: skip


@torch.no_grad()
def _ratio(cell: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """max |Re lambda| / max |lambda| of D A, and whether D has one sign, both (transition, batch)."""
    slopes = diagonal(cell, inputs)
    weight = cell.weight_hh
    values = eigenvalues(slopes, weight - weight.T)
    largest = values.abs().amax(-1)
    ratio = values.real.abs().amax(-1) / torch.where(largest == 0, 1, largest)
    return ratio, (slopes >= 0).all(-1) | (slopes <= 0).all(-1)


PROPOSITIONS = (
    Proposition(
        "antisymmetric-1", "max Re lambda(J(t)) <= 0 along a trace, 0 at gamma = 0", "AntisymmetricRNN, Prop. 1",
        KEYS, ode_criterion,
    ),
    Proposition(
        "antisymmetric-2", "max |1 + eps lambda(J_t)| <= 1 along a trace", "AntisymmetricRNN, Prop. 2",
        KEYS, euler_criterion,
    ),
    Proposition(
        "antisymmetric-gated", "the gated cell keeps real parts near zero", "AntisymmetricRNN, section 3, Eq. (13)",
        ("gated_antisymmetric",), gated_real_parts,
    ),
)  # fmt: skip
