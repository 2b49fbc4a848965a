"""The recurrences in JAX as ``lax.scan``, differentiated by JAX, and for UnICORNN by a reverse scan written by hand.

Index conventions: t time, b batch, d unit. Input terms (t, b, d), or (t, b, 2 d) with a gate -> outputs (t, b, d).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dynlab.cell import Cell
from dynlab.cells import AntisymmetricRNN, IncrementalRNN, UnICORNN

Array = jax.Array
Parameters = dict[str, Array]
Sequence = Callable[[Parameters, Array, Array], Array]
# Steps that the loop written by hand takes at a time; more did not gain, and JAX's own gradient gained nothing by it.
UNROLL = 4


def gradients_of(cell: Cell, by_hand: bool = False) -> Callable[[Parameters, Array, Array, Array], Any]:
    """The outputs and the gradients of sum(outputs * cotangent) for parameters, input terms and initial state.

    Arguments:
        by_hand: UnICORNN's backward pass is appendix B, Eqs. (3)-(5), as a scan back in time.
    """
    sequence = _sequence_of(cell, by_hand)

    def run(parameters: Parameters, x: Array, state: Array, cotangent: Array) -> Any:
        outputs, back = jax.vjp(sequence, parameters, x, state)
        return outputs, *back(cotangent)

    return run


def _sequence_of(cell: Cell, by_hand: bool) -> Sequence:
    if isinstance(cell, UnICORNN):
        return _unicornn_by_hand(cell) if by_hand else _unicornn(cell)
    if isinstance(cell, IncrementalRNN):
        return _incremental(cell)
    if isinstance(cell, AntisymmetricRNN):
        return _antisymmetric(cell)
    raise TypeError(f"benchmarks: expected a cell with a copy in JAX, got {type(cell).__name__}")


def _oscillate(
    alpha: float, x: Array, w: Array, h: Array, state: Array, unroll: int = 1
) -> tuple[tuple[Array, Array], Array]:
    """The last y and z, and every y."""

    def step(carry: tuple[Array, Array], term: Array) -> tuple[tuple[Array, Array], Array]:
        y, z = carry
        z = z - h * (jnp.tanh(w * y + term) + alpha * y)
        y = y + h * z
        return (y, z), y

    return jax.lax.scan(step, tuple(jnp.split(state, 2, axis=-1)), x, unroll=unroll)


def _unicornn(cell: UnICORNN) -> Sequence:
    def run(parameters: Parameters, x: Array, state: Array) -> Array:
        h = cell.dt * jax.nn.sigmoid(parameters["c"])
        return _oscillate(cell.alpha, x, parameters["weight_hh"], h, state)[1]

    return run


def _unicornn_by_hand(cell: UnICORNN) -> Sequence:
    alpha = cell.alpha

    @jax.custom_vjp
    def recurrence(x: Array, w: Array, h: Array, state: Array) -> Array:
        return _oscillate(alpha, x, w, h, state, UNROLL)[1]

    def forward(x: Array, w: Array, h: Array, state: Array) -> Any:
        (_, z), outputs = _oscillate(alpha, x, w, h, state, UNROLL)
        return outputs, (x, w, h, state, outputs, z)

    def backward(saved: Any, cotangent: Array) -> Any:
        x, w, h, state, outputs, last = saved
        first = state[..., : w.shape[0]]

        def back(carry: Any, now: Any) -> Any:
            z, dy, dz, dw, dh = carry
            t, term, arriving = now
            # Looked up rather than scanned over: a sequence shifted by one would be a copy.
            y = jnp.where(t > 0, outputs[t - 1], first)
            value = jnp.tanh(w * y + term)
            force = value + alpha * y
            dy = dy + arriving
            momentum = dz + h * dy
            pull = -h * momentum
            dx = pull * (1 - value**2)
            dh = dh + dy * z - momentum * force
            return (z + h * force, dy + w * dx + alpha * pull, momentum, dw + dx * y, dh), dx

        zeros = jnp.zeros_like(first)
        steps = jnp.arange(x.shape[0])
        (_, dy, dz, dw, dh), dx = jax.lax.scan(
            back, (last, zeros, zeros, zeros, zeros), (steps, x, cotangent), reverse=True, unroll=UNROLL
        )
        return dx, dw.sum(0), dh.sum(0), jnp.concatenate([dy, dz], axis=-1)

    recurrence.defvjp(forward, backward)

    def run(parameters: Parameters, x: Array, state: Array) -> Array:
        return recurrence(x, parameters["weight_hh"], cell.dt * jax.nn.sigmoid(parameters["c"]), state)

    return run


def _scan(step: Callable[[Array, Array], Array], x: Array, state: Array) -> Array:
    def carried(held: Array, term: Array) -> tuple[Array, Array]:
        held = step(term, held)
        return held, held

    return jax.lax.scan(carried, state, x)[1]


def _incremental(cell: IncrementalRNN) -> Sequence:
    """With tanh, from h_{m-1}, with its plus sign."""

    def run(parameters: Parameters, x: Array, state: Array) -> Array:
        def product(total: Array) -> Array:
            if cell.recurrent == "full":
                return total @ parameters["weight_full"].T
            return total + (total @ parameters["weight_h"].T) @ parameters["weight_v"].T

        def step(term: Array, held: Array) -> Array:
            inner = held
            for k in range(cell.K):
                total = inner + held
                inner = inner + parameters["eta"][k] * (jnp.tanh(product(total) + term) - cell.alpha * total)
            return inner

        return _scan(step, x, state)

    return run


def _antisymmetric(cell: AntisymmetricRNN) -> Sequence:
    d, epsilon = cell.hidden_size, cell.epsilon

    def run(parameters: Parameters, x: Array, state: Array) -> Array:
        upper = jnp.zeros((d, d)).at[jnp.triu_indices(d, 1)].set(parameters["weight_packed"])
        matrix = upper - upper.T - cell.gamma * jnp.eye(d)

        def step(term: Array, held: Array) -> Array:
            recurrent = held @ matrix.T
            change = jnp.tanh(recurrent + term[..., :d])
            if cell.gated:
                change = change * jax.nn.sigmoid(recurrent + term[..., d:])
            return held + epsilon * change

        return _scan(step, x, state)

    return run
