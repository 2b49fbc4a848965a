"""UnICORNN Fig. 2: what is timed computes what it should; ratios, claims, drawing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.colors import to_hex

from dynlab.figures import load
from dynlab.plots.style import cell_look

figure = load("unicornn_fig2")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke")


def doctored(data: xr.Dataset, **seconds: float) -> xr.Dataset:
    """Every contender takes one second but those given."""
    values = xr.ones_like(data["seconds"])
    for name, value in seconds.items():
        values.loc[{"contender": name}] = value
    medians = values.median("round")
    return data.assign(seconds=values, ratio=medians / medians.sel(contender="unicornn", drop=True)).assign_attrs(
        native=True
    )


def test_loops_compute_what_the_cells_compute():
    torch.manual_seed(0)
    inputs = torch.randn(12, 3, figure.FEATURES)
    running = figure.contenders(6, "cpu")
    torch.testing.assert_close(running["unicornn loop"][1](inputs), running["unicornn"][1](inputs))
    for name in ("cornn", "exprnn"):
        module, forward = running[name]
        torch.testing.assert_close(forward(inputs), module.scan(inputs, keep="hidden"))


def test_two_layers_and_batch_normalisation():
    running = figure.contenders(6, "cpu")
    stack, other = running["unicornn"][0], running["indrnn"][0]
    assert [(cell.input_size, cell.hidden_size) for cell in stack.cells] == [(1, 6), (6, 6)]
    outputs = other(torch.randn(50, 4, 1)).flatten(0, 1)
    # Normalised: mean 0 and variance 1 of every unit that is not silent.
    torch.testing.assert_close(outputs.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    loud = outputs.var(0) > 0.5
    assert loud.any()
    torch.testing.assert_close(outputs.var(0, correction=0)[loud], torch.ones(int(loud.sum())), atol=1e-2, rtol=0)


def test_ratios_are_of_medians(data: xr.Dataset):
    assert list(data["contender"].values) == list(figure.LABELS)
    assert list(data["length"].values) == figure.SCALES["smoke"]["lengths"]
    seconds = data["seconds"].transpose("contender", "length", "round").values
    assert (seconds > 0).all() and np.isfinite(seconds).all()
    expected = np.median(seconds, axis=2) / np.median(seconds[0], axis=1)
    np.testing.assert_allclose(data["ratio"].transpose("contender", "length"), expected)
    assert data["seconds"].attrs["units"] == "s"


def test_claims_hold_where_the_order_is_the_papers_and_fail_elsewhere(data: xr.Dataset):
    slow, similar, faster = (claim.check for claim in figure.ITEM.claims)
    papers = doctored(data, lstm=4.0, exprnn=35.0, cornn=35.0)
    assert [check(papers).holds for check in (slow, similar, faster)] == [True, True, True]
    assert slow(doctored(data, lstm=1.4)).holds is False
    assert slow(doctored(data, lstm=4.0, indrnn=3.0)).holds is False
    assert similar(doctored(data, indrnn=2.1)).holds is False
    assert similar(doctored(data, indrnn=0.4)).holds is False
    assert faster(doctored(data, exprnn=35.0, cornn=0.9)).holds is False


def test_the_order_must_be_the_same_at_both_lengths(data: xr.Dataset):
    mixed = doctored(data, lstm=4.0, exprnn=2.0, cornn=2.0)
    mixed["ratio"].loc[{"contender": ["lstm", "exprnn"], "length": mixed["length"][1]}] = 0.5
    assert figure.slow_lstm(mixed).holds is False
    assert figure.faster_than_loops(mixed).holds is False


def test_nothing_is_decided_without_compiled_recurrences(data: xr.Dataset):
    without = doctored(data, lstm=4.0).assign_attrs(native=False)
    assert {claim.check(without).holds for claim in figure.ITEM.claims} == {None}


def test_drawn_are_the_medians(data: xr.Dataset):
    drawn = figure.draw(data)
    assert len(drawn.axes) == 2
    for axes, length in zip(drawn.axes, data["length"].values, strict=True):
        points = axes.collections[-1]
        np.testing.assert_allclose(
            points.get_offsets()[:, 0], data["seconds"].sel(length=length).median("round").values
        )
        assert to_hex(points.get_facecolor()[0]) == cell_look("unicornn")["color"].lower()
        assert len(axes.texts) == len(figure.LABELS) and axes.texts[0].get_text() == "1.0x"
        assert axes.get_title() == f"N = {length}"
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == list(figure.LABELS.values())
