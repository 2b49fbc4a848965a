"""Table 6 as printed, and what the propositions make of a user's cell."""

import pytest
import torch

from dynlab.cells.lstm import LSTM
from dynlab.cells.unicornn import UnICORNN
from dynlab.network import Network
from dynlab.theory.unicornn_settings import Setting, find_setting, table_6
from dynlab.theory.unicornn_subject import first_layers, held, order, refined, stiffness, subject

from .unicornn_oracle import by_hand, noise, stack

# UnICORNN, Table 6 and appendix A (first layers), section 4 (lengths): dt, alpha, L, first dt, N.
PRINTED = {
    "cifar10": (0.126, 13.0, 3, None, 1000),
    "psmnist-128": (0.482, 12.53, 3, None, 784),
    "psmnist-256": (0.19, 30.65, 3, None, 784),
    "imdb": (0.205, 0.0, 2, 6.6e-3, 250),
    "eigenworms": (3.43e-2, 0.0, 2, 2.81e-5, 17984),
    "healthcare-rr": (1.1e-2, 9.0, 3, None, 4000),
    "healthcare-hr": (4.6e-2, 10.0, 3, None, 4000),
}


def test_table_6():
    found = {row.name: (row.dt, row.alpha, row.layers, row.first_dt, row.steps) for row in table_6().values()}
    assert found == PRINTED
    assert table_6()["eigenworms"].layer_dts == [2.81e-5, 3.43e-2]


def test_settings_by_name():
    own = Setting("own", 0.1, 1.0, 2, 10, "here")
    assert find_setting(own, "test") is own
    with pytest.raises(ValueError, match=r"test.*cifar10.*mnist"):
        find_setting("mnist", "test")


def test_subject_is_a_copy_in_float64():
    cell = UnICORNN(2, 3).float()
    one = subject(cell, noise(4).float(), where="test", seed=0)
    assert next(one.network.parameters()).dtype == torch.float64
    assert next(cell.parameters()).dtype == torch.float32
    torch.testing.assert_close(one.layers[0].weight_hh.float(), cell.weight_hh)
    again = subject(None, None, where="test", seed=3, steps=5, layers=2)
    assert again.inputs.shape[0] == 5 and len(again.layers) == 2
    torch.testing.assert_close(again.inputs, subject(None, None, where="test", seed=3, steps=5, layers=2).inputs)


def test_batch_first_inputs_are_turned():
    cell = UnICORNN(2, 3)
    cell.batch_first = True
    inputs = noise(4).float()
    one = subject(cell, inputs.transpose(0, 1), where="test", seed=0)
    torch.testing.assert_close(one.inputs, inputs.double())


@pytest.mark.parametrize(("cell", "kind"), [(LSTM(2, 3), "LSTM"), (Network([UnICORNN(2, 3), LSTM(3, 3)]), "LSTM")])
def test_other_cells_are_refused(cell, kind):
    with pytest.raises(TypeError, match=rf"test: expected a UnICORNN.*got .*{kind}"):
        subject(cell, None, where="test", seed=0)


def test_lower_layers_are_those_of_the_stack():
    network, inputs = stack(5, residual=2), noise(6)
    y, _ = by_hand(network, inputs)
    for count in (1, 3, 4):
        part = first_layers(network, count)
        torch.testing.assert_close(part.scan(inputs, keep="hidden")[-1], y[-1][count - 1], rtol=1e-12, atol=1e-12)


def test_refinement():
    network = stack(2, dt=0.2)
    assert [layer.dt for layer in refined(network, 4).layers] == [0.05, 0.05]
    assert network.layers[0].dt == 0.2
    assert held(torch.arange(3.0)[:, None, None], 2).flatten().tolist() == [0, 0, 1, 1, 2, 2]


def test_stiffness():
    cell = UnICORNN(1, 2, dt=0.5, alpha=3.0).double()
    with torch.no_grad():
        cell.c.copy_(torch.tensor([0.0, 100.0]))
        cell.weight_hh.copy_(torch.tensor([9.0, -5.0]))
    assert stiffness([cell]) == pytest.approx(max(0.25**2 * 12, 0.5**2 * 3))


def test_order_is_the_exponent():
    dts = [1.0, 0.5, 0.25, 0.125]
    # The coarsest value is left out: three points.
    assert order(dts, [99.0, *(3 * dt**2.5 for dt in dts[1:])], "test") == pytest.approx(2.5)
    with pytest.raises(ValueError, match="test: expected finite"):
        order(dts, [1.0, 1.0, 0.0, 1.0], "test")
