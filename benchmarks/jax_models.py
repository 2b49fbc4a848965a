"""The benchmarked cells in JAX, with the weights of the PyTorch ones, and a reverse sweep written by hand.

Index conventions: t time, b batch, r rows, n state, d hidden unit, k inner step. Sweeps hold rows (b, r, n), or
(b, 2, 2, d) where units are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dynlab.cell import Cell
from dynlab.cells import AntisymmetricRNN, IncrementalRNN, UnICORNN

Array = jax.Array


class Model(NamedTuple):
    """One cell in JAX.

    Attributes:
        terms: inputs (t, b, f) -> (t, b, p). step: (term, state) -> state, leading axes free.
        gains: terms and the states before them -> what the step Jacobians need.
        left: rows and gains -> rows times the step Jacobian.
        start: rows (r, n) a structured sweep starts from.
    """

    terms: Callable[[Array], Array]
    step: Callable[[Array, Array], Array]
    gains: Callable[[Array, Array], Array]
    left: Callable[[Array, Array], Array]
    start: Array


def model_of(cell: Cell) -> Model:
    """The JAX copy of a PyTorch cell."""
    for kind, build in ((AntisymmetricRNN, _antisymmetric), (IncrementalRNN, _incremental), (UnICORNN, _unicornn)):
        if isinstance(cell, kind):
            return build(cell)
    raise TypeError(f"benchmarks: expected a cell with a copy in JAX, got {type(cell).__name__}")


def to_jax(tensor: Any) -> Array:
    """A torch tensor as a JAX array."""
    return jnp.asarray(tensor.detach().numpy())


def _antisymmetric(cell: Any) -> Model:
    M, V, bias, eps = to_jax(cell.recurrent_matrix()), to_jax(cell.weight_ih), to_jax(cell.bias), cell.epsilon

    def gains(terms: Array, states: Array) -> Array:
        return eps * (1 - jnp.tanh(states @ M.T + terms) ** 2)

    return Model(
        terms=lambda inputs: inputs @ V.T + bias,
        step=lambda term, state: state + eps * jnp.tanh(state @ M.T + term),
        gains=gains,
        left=lambda rows, gain: rows + (rows * gain[..., None, :]) @ M,
        start=jnp.eye(cell.hidden_size),
    )


def _incremental(cell: Any) -> Model:
    U, W, bias, alpha = to_jax(cell.weight_hh), to_jax(cell.weight_ih), to_jax(cell.bias), cell.alpha
    etas = [float(eta) for eta in cell.eta]

    def inner(term: Array, state: Array) -> tuple[Array, list[Array]]:
        g, slopes = state, []
        for eta in etas:
            value = jnp.tanh((g + state) @ U.T + term)
            slopes.append(eta * (1 - value**2))
            g = g + eta * (value - alpha * (g + state))
        return g, slopes

    def left(rows: Array, gain: Array) -> Array:
        product = rows
        for k in reversed(range(len(etas))):
            product = (1 - etas[k] * alpha) * product + (product * gain[..., k, None, :]) @ U
        return 2 * product - rows

    return Model(
        terms=lambda inputs: inputs @ W.T + bias,
        step=lambda term, state: inner(term, state)[0],
        gains=lambda terms, states: jnp.stack(inner(terms, states)[1], -2),
        left=left,
        start=jnp.eye(cell.hidden_size),
    )


def _unicornn(cell: Any) -> Model:
    V, w, bias, h = (to_jax(t) for t in (cell.weight_ih, cell.weight_hh, cell.bias, cell.effective_time_step()))
    d, alpha = cell.hidden_size, cell.alpha

    def step(term: Array, state: Array) -> Array:
        y, z = state[..., :d], state[..., d:]
        z = z - h * (jnp.tanh(w * y + term) + alpha * y)
        return jnp.concatenate([y + h * z, z], -1)

    def left(rows: Array, kick: Array) -> Array:
        y, z = rows[..., :d], rows[..., d:]
        z = z + y * h
        return jnp.concatenate([y - kick[..., None, :] * z, z], -1)

    return Model(
        terms=lambda inputs: inputs @ V.T + bias,
        step=step,
        gains=lambda terms, states: h * (w * (1 - jnp.tanh(w * states[..., :d] + terms) ** 2) + alpha),
        left=left,
        start=jnp.repeat(jnp.eye(2), d, axis=1),  # a row a channel: unit i of row r, column channel s is block [r, s]
    )


def autodiff_all(model: Model) -> Callable[[Array, Array], Array]:
    """log |d state_T / d state_t|_F for t = 0 .. T - 1 by one jacrev with a perturbation at every step, (t, b)."""

    def final(kicks: Array, terms: Array, state: Array) -> Array:
        return jax.lax.scan(lambda s, now: (model.step(now[1], s + now[0]), None), state, (kicks, terms))[0]

    def run(inputs: Array, state: Array) -> Array:
        kicks = jnp.zeros((inputs.shape[0], state.shape[-1]))
        jacobian = jax.vmap(jax.jacrev(final), in_axes=(None, 1, 0))(kicks, model.terms(inputs), state)
        return (jnp.log(jnp.square(jacobian).sum((1, 3))) / 2).T

    return run


def autodiff_end(model: Model, forward: bool) -> Callable[[Array, Array], Array]:
    """d state_T / d state_0, (b, n, n), by jacfwd or jacrev."""

    def final(state: Array, terms: Array) -> Array:
        return jax.lax.scan(lambda s, term: (model.step(term, s), None), state, terms)[0]

    transformed = (jax.jacfwd if forward else jax.jacrev)(final)
    return lambda inputs, state: jax.vmap(transformed, in_axes=(0, 1))(state, model.terms(inputs))


def sweep_by_hand(model: Model, stored: bool) -> Callable[[Array, Array], tuple[Array, Array, Array]]:
    """Rollout and reverse sweep with a log scale: (log norms (t, b), the last product (b, r, n), its log scale (b,)).

    Arguments:
        stored: make all step Jacobians at once as dense matrices; otherwise keep their gains and use the structure.
    """

    def run(inputs: Array, state: Array) -> tuple[Array, Array, Array]:
        terms = model.terms(inputs)
        states = jax.lax.scan(lambda s, term: (model.step(term, s), s), state, terms)[1]
        each, eye = model.gains(terms, states), jnp.eye(state.shape[-1])
        if stored:
            each = model.left(jnp.broadcast_to(eye, (*states.shape[:2], *eye.shape)), each)

        def back(carry: tuple[Array, Array], one: Array) -> tuple[tuple[Array, Array], Array]:
            rows = carry[0] @ one if stored else model.left(carry[0], one)
            norm = jnp.sqrt(jnp.square(rows).sum((1, 2)))
            log_scale = carry[1] + jnp.log(norm)
            return (rows / norm[:, None, None], log_scale), log_scale

        start = eye if stored else model.start
        first = (jnp.broadcast_to(start, (inputs.shape[1], *start.shape)), jnp.zeros(inputs.shape[1]))
        (rows, log_scale), log_norms = jax.lax.scan(back, first, each, reverse=True)
        return log_norms, rows, log_scale

    return run
