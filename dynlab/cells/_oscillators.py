"""coRNN's recurrence with its adjoint written out: autograd has one node a sequence, not ten a step.

Index conventions: t time, b batch, d unit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Oscillators(torch.autograd.Function):
    """z_t = z_{t-1} + dt [tanh(W [y, z]_{t-1} + x_t) - gamma y_{t-1} - epsilon z_{t-1}], y_t = y_{t-1} + dt z_t.

    x (t, b, d), W (d, 2 d), [y, z]_0 (b, 2 d), dt, gamma, epsilon -> [y, z]_0..T (t + 1, b, 2 d).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, state: Tensor, dt: float, gamma: float, epsilon: float) -> Tensor:
        steps, d = x.shape[0], x.shape[2]
        states = x.new_empty(steps + 1, x.shape[1], 2 * d)
        states[0] = state
        force, columns = torch.empty_like(x), weight.T.contiguous()
        rows = states.unbind(0)
        for t, (term, kick) in enumerate(zip(x.unbind(0), force.unbind(0), strict=True)):
            y, z = rows[t][:, :d], rows[t][:, d:]
            torch.addmm(term, rows[t], columns, out=kick).tanh_()
            new_y, new_z = rows[t + 1][:, :d], rows[t + 1][:, d:]
            torch.sub(kick, y, alpha=gamma, out=new_z).sub_(z, alpha=epsilon).mul_(dt).add_(z)
            torch.add(y, new_z, alpha=dt, out=new_y)
        ctx.save_for_backward(states, force, weight)
        ctx.constants = dt, gamma, epsilon
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (states, force, weight), (dt, gamma, epsilon), (of_states,) = ctx.saved_tensors, ctx.constants, gradients
        d = force.shape[2]
        slope, of_x = (1 - force * force).mul_(dt), torch.empty_like(force)
        of_y, of_z = of_states[-1, :, :d].clone(), of_states[-1, :, d:].clone()
        for t in range(len(force) - 1, -1, -1):
            of_z.add_(of_y, alpha=dt)
            back = torch.mul(slope[t], of_z, out=of_x[t]) @ weight
            of_y.sub_(of_z, alpha=dt * gamma).add_(back[:, :d])
            of_z.mul_(1 - dt * epsilon).add_(back[:, d:])
            of_y += of_states[t, :, :d]
            of_z += of_states[t, :, d:]
        of_weight = of_x.flatten(0, 1).T @ states[:-1].flatten(0, 1)
        return of_x, of_weight, torch.cat([of_y, of_z], dim=-1), None, None, None
