"""Stacks: their rollout, their residual connections, their dropout and their readout."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dynlab import GradientNorm, Network, Readout, as_cell, record, registry


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stirred(network):
    torch.manual_seed(3)
    network = network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return network


def dense(**options):
    torch.manual_seed(2)
    cells = [registry["lstm"](3, 4), registry["unicornn"](4, 3), registry["elman"](3, 2)]
    return stirred(Network(cells, **options))


def loop(network, inputs, state):
    """The stack by hand: at each time, each layer reads the new hidden part of the one below."""
    parts = list(state.split([cell.state_size for cell in network.cells], dim=-1))
    rows = [state]
    for t, x in enumerate(inputs.unbind(0), 1):
        for index, cell in enumerate(network.cells):
            parts[index] = cell(x, parts[index], t)
            x = cell.hidden(parts[index])
        rows.append(torch.cat(parts, dim=-1))
    return torch.stack(rows)


TIGHT = {"rtol": 1e-12, "atol": 1e-13}


def test_scan_is_the_loop_of_layers():
    network = dense()
    inputs, state = rand(6, 2, 3), rand(2, network.state_size, seed=1)
    expected = loop(network, inputs, state)
    torch.testing.assert_close(network.scan(inputs, state), expected, **TIGHT)
    torch.testing.assert_close(network.scan(inputs, state, keep="hidden"), expected[1:, :, -2:], **TIGHT)
    torch.testing.assert_close(network.scan(inputs, state, keep="last"), expected[-1], **TIGHT)
    torch.testing.assert_close(network(inputs[0], state), expected[1], **TIGHT)
    torch.testing.assert_close(network.hidden(expected), expected[..., -2:], **TIGHT)
    torch.testing.assert_close(network.scan(inputs)[0], torch.zeros(2, network.state_size).double(), **TIGHT)


@pytest.mark.parametrize("key", ["unicornn", "antisymmetric", "lstm"])
def test_one_layer_is_its_cell(key):
    """A network of one cell has its Jacobians, with their structure, and so its gradients."""
    torch.manual_seed(0)
    cell, inputs = registry[key](3, 4).double(), torch.randn(12, 2, 3, dtype=torch.float64)
    network = Network([cell])
    probes = ["GradientNorm", "InputGradient", "StepSpectrum", "SingularValues"]
    alone, stacked = (record(model, inputs, probes) for model in (cell, network))
    for name in alone.data_vars:
        np.testing.assert_allclose(stacked[name].values, alone[name].values, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(stacked.log_gradient_norm_by_layer[0], stacked.log_gradient_norm)
    kind = type(cell.linearization(inputs[0], cell.initial_state(2)).jacobian)
    assert isinstance(network.linearization(inputs[0], network.initial_state(2)).jacobian, kind)


def test_sizes():
    network = dense()
    assert (network.input_size, network.hidden_size, network.state_size) == (3, 2, 8 + 6 + 2)
    assert network.layer_slices == [slice(0, 8), slice(8, 14), slice(14, 16)]
    assert network.hidden_slice == slice(14, 16)
    top = Network([registry["elman"](3, 4), registry["lstm"](4, 5)])
    assert top.hidden_slice == slice(4, 9)


@pytest.mark.parametrize("position", [0, 1])
def test_layers_that_vary_in_time(position):
    cells = [registry["irnn"](3, 3, K=2, eta_steps=6), registry["gru"](3, 3)]
    network = stirred(Network(cells if position == 0 else cells[::-1]))
    assert network.time_varying
    inputs, state = rand(6, 2, 3), rand(2, network.state_size, seed=1)
    torch.testing.assert_close(network.scan(inputs, state), loop(network, inputs, state), **TIGHT)


def unicornn_step(cell, x, state, extra=0.0):
    """UnICORNN Eq. (6) with something added to the input term."""
    y, z = state.chunk(2, dim=-1)
    h = cell.dt * torch.sigmoid(cell.c)
    z = z - h * (torch.tanh(cell.weight_hh * y + x @ cell.weight_ih.T + cell.bias + extra) + cell.alpha * y)
    return torch.cat([y + h * z, z], dim=-1)


def test_residual_is_the_formula_of_appendix_c_5():
    sizes = (3, 4, 2, 5, 4, 3)
    network = stirred(Network([registry["unicornn"](a, b) for a, b in zip(sizes, sizes[1:], strict=False)], residual=2))
    # Layer l > S = 2 (from 1) adds Lambda_l y_{l - 3}: layer 3 the input, layer 4 that of layer 1, layer 5 of layer 2.
    assert {key: tuple(skip.shape) for key, skip in network.skips.items()} == {"2": (5, 3), "3": (4, 4), "4": (3, 2)}
    inputs = rand(6, 2, 3)
    state = rand(2, network.state_size, seed=1)
    parts = list(state.split([cell.state_size for cell in network.cells], dim=-1))
    rows = [state]
    for x in inputs.unbind(0):
        shown = [x]
        for index, cell in enumerate(network.cells):
            extra = 0.0
            if index >= 2:
                extra = shown[index - 2] @ network.skips[str(index)].T
            parts[index] = unicornn_step(cell, shown[-1], parts[index], extra)
            shown.append(parts[index][:, : cell.hidden_size])
        rows.append(torch.cat(parts, dim=-1))
    torch.testing.assert_close(network.scan(inputs, state), torch.stack(rows), **TIGHT)
    torch.testing.assert_close(network(inputs[0], state), rows[1], **TIGHT)
    torch.testing.assert_close(network.scan(inputs, state, keep="hidden"), torch.stack(rows[1:])[..., -6:-3], **TIGHT)


def test_residual_is_part_of_the_gradient():
    network = stirred(Network([registry["unicornn"](3, 3) for _ in range(4)], residual=2))
    network.scan(rand(4, 2, 3), keep="last").sum().backward()
    assert all(float(skip.grad.abs().sum()) > 0 for skip in network.skips.values())


def test_layer_inputs():
    network = dense()
    inputs, state = rand(6, 2, 3), rand(2, network.state_size, seed=1)
    states = network.scan(inputs, state).detach()
    pairs = network.layer_inputs(inputs, states[:-1])
    for cell, where, (x, before) in zip(network.cells, network.layer_slices, pairs, strict=True):
        torch.testing.assert_close(cell.advance(cell.terms(x), before), states[1:, :, where], **TIGHT)
    assert torch.equal(pairs[0][0], inputs)


# ---- dropout --------------------------------------------------------------------------------------------------


def passing(size):
    """A layer that shows its input."""
    return as_cell(lambda x, s: x + 0 * s, input_size=size, state_size=size)


def test_dropout_keeps_one_mask_a_sequence():
    torch.manual_seed(0)
    network = Network([passing(200), passing(200)], dropout=0.25).train()
    hidden = network.scan(torch.ones(5, 3, 200), keep="hidden")
    kept = hidden[0] != 0
    assert torch.equal(hidden, (kept / 0.75).expand_as(hidden))
    assert not torch.equal(kept[0], kept[1])
    # 600 draws of probability 0.75.
    assert abs(float(kept.float().mean()) - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 600)
    states = network.scan(torch.ones(5, 3, 200), keep="states")
    # Nothing is dropped of what the layer below keeps of itself.
    assert bool((states[1:, :, :200] == 1).all())
    another = network.scan(torch.ones(5, 3, 200), keep="hidden")
    assert not torch.equal(another, hidden)


def test_no_dropout_in_eval_mode_above_the_top_or_at_zero():
    ones = torch.ones(4, 2, 50)
    assert torch.equal(Network([passing(50), passing(50)], dropout=0.9).eval().scan(ones, keep="hidden"), ones)
    assert torch.equal(Network([passing(50), passing(50)], dropout=0.0).train().scan(ones, keep="hidden"), ones)
    assert torch.equal(Network([passing(50)], dropout=0.9).train().scan(ones, keep="hidden"), ones)


# ---- readout, parameters, adapted layers ----------------------------------------------------------------------


def test_readout():
    hidden = rand(6, 2, 4)
    last, every = Readout(4, 3).double(), Readout(4, 3, at="every").double()
    weight, bias = last.linear.weight, last.linear.bias
    torch.testing.assert_close(last(hidden), hidden[-1] @ weight.T + bias, **TIGHT)
    assert every(hidden).shape == (6, 2, 3)
    torch.testing.assert_close(every(hidden)[2], every.linear(hidden[2]), **TIGHT)
    with pytest.raises(ValueError, match="Readout: expected at to be one of 'last', 'every', got 'first'"):
        Readout(4, 3, at="first")


def test_read():
    network = dense(readout=Readout(2, 5))
    inputs = rand(6, 2, 3)
    hidden = network.scan(inputs, keep="hidden")
    torch.testing.assert_close(network.read(inputs), network.readout.linear(hidden[-1]), **TIGHT)
    torch.testing.assert_close(dense().read(inputs), hidden, **TIGHT)


def test_state_dict_round_trip():
    def make():
        return Network([registry["unicornn"](2, 2) for _ in range(3)], readout=Readout(2, 1), residual=2)

    first, second = stirred(make()), make().double()
    inputs = rand(4, 2, 2)
    assert not torch.equal(first.read(inputs), second.read(inputs))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.read(inputs), second.read(inputs))
    assert "skips.2" in first.state_dict()


@pytest.mark.parametrize("batch_first", [False, True])
def test_adapted_lstm_of_two_layers(batch_first):
    torch.manual_seed(0)
    layer = nn.LSTM(3, 4, num_layers=2, batch_first=batch_first).double()
    network = as_cell(layer)
    assert isinstance(network, Network)
    inputs = rand(6, 2, 3)
    given = inputs.transpose(0, 1) if batch_first else inputs
    outputs, (h, c) = layer(given)
    expected = outputs.transpose(0, 1) if batch_first else outputs
    torch.testing.assert_close(network.scan(given, keep="hidden"), expected, **TIGHT)
    torch.testing.assert_close(network.scan(given, keep="last"), torch.cat([h[0], c[0], h[1], c[1]], -1), **TIGHT)
    data = record(layer, given, [GradientNorm(of="hidden")])
    assert data.log_gradient_norm.shape == (7, 2)
    assert data.attrs["cell"] == "Network"
    np.testing.assert_allclose(data.log_gradient_norm[-1], 0, atol=1e-12)


# ---- bad arguments --------------------------------------------------------------------------------------------


def cells(*names, size=3):
    return [registry[name](size, size) for name in names]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Network([]), ValueError, "expected at least one cell, got none"),
        (lambda: Network([nn.LSTM(3, 3)]), TypeError, "expected dynlab cells .* got LSTM as layer 0"),
        (lambda: Network([*cells("gru"), torch.tanh]), TypeError, "expected dynlab cells .* as layer 1"),
        (
            lambda: Network([registry["gru"](3, 4), registry["gru"](3, 4)]),
            ValueError,
            "expected layer 1 to read the 4 hidden units of layer 0, got input_size = 3",
        ),
        (lambda: Network(cells("gru", "gru"), dropout=1.0), ValueError, "expected dropout < 1, got 1.0"),
        (lambda: Network(cells("gru", "gru"), dropout=-0.1), ValueError, "dropout >= 0, got -0.1"),
        (lambda: Network(cells("gru", "gru"), dropout="much"), TypeError, "expected dropout to be a number"),
        (lambda: Network(cells("gru", "gru"), residual=1), ValueError, "expected residual >= 2, got 1"),
        (lambda: Network(cells("gru", "gru"), residual=2.0), TypeError, "expected residual to be an integer"),
        (
            lambda: Network(cells("unicornn", "unicornn", "lstm"), residual=2),
            ValueError,
            "expected layer 2 to have an input term for its residual connection, but LSTM takes its input whole",
        ),
        (
            lambda: Network([as_cell(nn.GRU(3, 3, batch_first=True)), *cells("gru")]),
            ValueError,
            "expected time-first cells, got batch_first in layer 0",
        ),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=f"Network: .*{message}"):
        make()


def test_time_steps_belong_to_layers():
    with pytest.raises(ValueError, match="Network: expected the time-steps of one layer at a time"):
        dense().time_steps()
