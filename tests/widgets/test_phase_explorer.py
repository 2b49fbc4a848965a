"""The phase explorer without a browser: controls and pointer move artists to where a loop in NumPy says."""

from __future__ import annotations

import io

import numpy as np
import pytest
import traitlets
import xarray as xr
from matplotlib import image, pyplot

import dynlab
from dynlab.figures import discover
from dynlab.widgets.phase_explorer import PhaseExplorer
from dynlab.widgets.planar import PlanarModel
from dynlab.widgets.planar_kinds import KINDS
from dynlab.widgets.planar_presets import OPENING, PRESETS


@pytest.fixture(scope="module")
def shared():
    return PhaseExplorer()


@pytest.fixture
def explorer(shared):
    shared.preset = ""
    shared.preset = OPENING
    return shared


def feedback(W, epsilon, starts, steps):
    states = [np.array(starts)]
    for _ in range(steps):
        states.append(states[-1] + epsilon * np.tanh(states[-1] @ np.array(W).T))
    return np.array(states)


def touch_at(explorer, view, phase, x, y):
    """Touch a picture where its axes have (x, y)."""
    picture, ax = explorer.pictures[view], explorer.views[view].ax
    across, up = ax.transData.transform((x, y))
    width, height = picture.pixels
    picture.touch(phase, across / width, 1 - up / height)


def shown(explorer):
    """What the four pictures' artists hold."""
    plane, linear, steps, components = explorer.views
    return {
        "paths": np.array([path.vertices for path in plane._paths.get_paths()]),
        "dots": np.asarray(plane._dots.get_offsets()),
        "stars": np.asarray(plane._stars.get_offsets()),
        "rings": np.asarray(plane._rings.get_offsets()),
        "arrows": np.stack([plane._field.U, plane._field.V], axis=-1),
        "at": np.asarray(plane._field.get_offsets()),
        "values": np.array(linear._values.get_data()),
        "region": linear._region.get_xy(),
        "steps": np.asarray(steps._dots.get_offsets()) @ (1, 1j),
        "now": np.asarray(steps._rings.get_offsets()) @ (1, 1j),
        "first": np.array([path.vertices for path in components._first.get_paths()]),
        "second": np.array([path.vertices for path in components._second.get_paths()]),
        "cursor": components._cursor.get_xdata()[0],
    }


def test_it_opens_with_a_panel_of_figure_1(explorer):
    assert explorer.status.text == "" and explorer.panel.controls["preset"].value == OPENING
    W = discover.load("antisymmetric_fig1").MATRICES["h"]
    states = feedback(W, 0.1, explorer.model.starts, 50)
    found = shown(explorer)
    np.testing.assert_allclose(found["paths"], states.transpose(1, 0, 2), atol=1e-12)
    np.testing.assert_allclose(found["dots"].reshape(51, 3, 2), states, atol=1e-12)
    np.testing.assert_allclose(found["stars"], [(0, 0.5), (-0.5, -0.5), (0.5, -0.75)])
    np.testing.assert_allclose(found["values"], [[-0.15, -0.15], [2, -2]])
    np.testing.assert_allclose(np.abs(found["region"] @ (1, 1j) + 10), 10)
    for axis, name in enumerate(("first", "second")):
        np.testing.assert_allclose(found[name][..., 0], np.tile(np.arange(51), (3, 1)))
        np.testing.assert_allclose(found[name][..., 1], states[..., axis].T, atol=1e-12)
    flow = np.tanh(found["at"] @ np.array(W).T)
    unit = flow / np.maximum(np.linalg.norm(flow, axis=1, keepdims=True), 1e-300)
    np.testing.assert_allclose(found["arrows"].reshape(-1, 2), unit, atol=1e-9)
    slopes = 1 - np.tanh(states[:-1] @ np.array(W).T) ** 2
    J = np.eye(2) + 0.1 * slopes[..., None] * np.array(W)
    eigenvalues = np.linalg.eigvals(J)
    np.testing.assert_allclose(found["steps"].reshape(50, 3, 2).sum(-1), eigenvalues.sum(-1), atol=1e-12)
    np.testing.assert_allclose(found["steps"].reshape(50, 3, 2).prod(-1), eigenvalues.prod(-1), atol=1e-12)


def test_sliders_move_the_pictures(explorer):
    before = [picture.value for picture in explorer.pictures]
    explorer.panel.controls["W12"].value = -1.0
    explorer.panel.controls["epsilon"].value = 0.2
    explorer.panel.controls["steps"].value = 30
    states = feedback(
        [[-0.15, -1.0], [2.0, -0.15]], explorer.panel.controls["epsilon"].value, explorer.model.starts, 30
    )
    np.testing.assert_allclose(shown(explorer)["paths"], states.transpose(1, 0, 2), atol=1e-12)
    np.testing.assert_allclose(shown(explorer)["values"], [[-0.15, -0.15], [2**0.5, -(2**0.5)]])
    assert explorer.panel.controls["cursor"].max == 30 and explorer.views[3].ax.get_xlim() == (0, 30)
    assert all(picture.value != old for picture, old in zip(explorer.pictures, before, strict=True))
    assert "changed" in explorer.panel.changed.value
    explorer.reset()
    assert "changed" not in explorer.panel.changed.value
    assert [picture.value for picture in explorer.pictures] == before


def test_what_is_drawn_while_moving_is_what_is_drawn_anew(explorer):
    for name, value in (("W11", 0.2), ("gamma", 0.3), ("b1", 0.4), ("cursor", 12), ("y", 0.3)):
        explorer.panel.controls[name].value = value
    for picture in explorer.pictures:
        moved = image.imread(io.BytesIO(picture.value))
        picture.draw()
        np.testing.assert_array_equal(moved, image.imread(io.BytesIO(picture.value)))


def test_a_start_follows_the_pointer(explorer):
    touch_at(explorer, 0, "down", 0.52, -0.7)  # the third is nearest
    assert explorer.panel.controls["chosen"].value == 3
    touch_at(explorer, 0, "move", -0.2, 0.6)
    np.testing.assert_allclose(explorer.model.starts[2], (-0.2, 0.6))
    np.testing.assert_allclose(shown(explorer)["stars"][2], (-0.2, 0.6))
    np.testing.assert_allclose([explorer.panel.controls["x"].value, explorer.panel.controls["y"].value], (-0.2, 0.6))
    states = feedback([[-0.15, -2.0], [2.0, -0.15]], 0.1, explorer.model.starts, 50)
    np.testing.assert_allclose(shown(explorer)["paths"], states.transpose(1, 0, 2), atol=1e-12)
    touch_at(explorer, 0, "move", 30, 0)
    np.testing.assert_allclose(explorer.model.starts[2], (explorer.window, 0), atol=1e-12)
    touch_at(explorer, 0, "up", -0.2, 0.7)  # the last move may come as this
    np.testing.assert_allclose(explorer.model.starts, ((0, 0.5), (-0.5, -0.5), (-0.2, 0.7)), atol=1e-12)
    touch_at(explorer, 0, "move", 0.9, 0.9)
    np.testing.assert_allclose(explorer.model.starts[2], (-0.2, 0.7))
    before = explorer.model
    touch_at(explorer, 1, "down", 0.1, 0.1)  # nothing can be dragged here
    touch_at(explorer, 1, "up", 0.1, 0.1)
    assert explorer.model == before


def test_the_cursor_is_shared(explorer):
    touch_at(explorer, 3, "down", 9.8, 0.0)
    touch_at(explorer, 3, "move", 20.2, 0.0)
    touch_at(explorer, 3, "up", 20.2, 0.0)
    assert explorer.cursor == 20 == explorer.panel.controls["cursor"].value
    found = shown(explorer)
    assert found["cursor"] == 20
    np.testing.assert_allclose(found["rings"], explorer.motion.states[20])
    np.testing.assert_allclose(found["now"], explorer.motion.step_eigenvalues[19].reshape(-1))
    explorer.panel.controls["cursor"].value = 0
    np.testing.assert_allclose(shown(explorer)["now"], explorer.motion.step_eigenvalues[0].reshape(-1))
    explorer.cursor = 50
    explorer.panel.controls["steps"].value = 10
    assert explorer.cursor == 10 == explorer.panel.controls["cursor"].value


def test_starts_are_added_and_removed(explorer):
    explorer.panel.controls["count"].value = 5
    assert len(explorer.model.starts) == 5 == len(set(explorer.model.starts))
    assert explorer.model.starts[:3] == ((0.0, 0.5), (-0.5, -0.5), (0.5, -0.75))
    assert len(shown(explorer)["paths"]) == 5 and explorer.panel.controls["chosen"].max == 5
    explorer.panel.controls["chosen"].value = 5
    explorer.panel.controls["x"].value = 0.25
    assert explorer.model.starts[4][0] == 0.25
    explorer.panel.controls["count"].value = 1
    assert explorer.model.starts == ((0.0, 0.5),) and explorer.panel.controls["chosen"].value == 1
    assert [name.get_visible() for name in explorer.views[0]._names] == [True] + 4 * [False]


@pytest.mark.parametrize("kind", KINDS)
def test_every_recurrence_has_its_own_controls(explorer, kind):
    explorer.panel.controls["kind"].value = kind
    assert explorer.model.kind == kind and explorer.status.text == ""
    visible = [control.description for control in explorer.panel.children[:-1]]
    names = {option.name for option in KINDS[kind].options}
    assert names <= set(visible) and len(visible) == len(set(visible))
    every = {option.name for one in KINDS.values() for option in one.options}
    assert not (every - names) & set(visible)
    assert all(control.tooltip for control in explorer.panel.children[:-1])
    moved = dict(zip(visible, explorer.panel.children, strict=False))
    for option in KINDS[kind].options:
        control = moved[option.name]
        value = {"start": "zero", "K": 3}.get(option.name, 0.5)
        control.value = value
        assert explorer.model.options[option.name] == pytest.approx(value) if option.name != "start" else value
    assert explorer.status.text == ""


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_shown(explorer, name):
    explorer.panel.controls["preset"].value = name
    assert explorer.preset == name and explorer.status.text == ""
    assert explorer.model == PRESETS[name].model() and explorer.window == PRESETS[name].window
    assert explorer.views[0].ax.get_xlim() == (-explorer.window, explorer.window)
    values = shown(explorer)["values"]
    assert np.abs(values).max() < explorer.views[1].ax.get_xlim()[1]
    assert np.abs(shown(explorer)["steps"]).max() < explorer.views[2].ax.get_xlim()[1]
    explorer.fit()
    assert np.abs(explorer.motion.states).max() < explorer.window


def test_the_window_can_be_moved(explorer):
    explorer.panel.controls["window"].value = 3.0
    assert explorer.views[0].ax.get_xlim() == pytest.approx((-3, 3))
    assert shown(explorer)["at"].max() == pytest.approx(3)
    with pytest.raises(traitlets.TraitError, match="expected a window"):
        explorer.window = 0.0


# ---- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("feedback", "epsilon", 0.0), ("feedback", "W11", float("inf")), ("irnn", "K", 0), ("irnn", "eta", -1.0),
     ("unicornn", "dt", 0.0), ("elman", "steps", 0), ("elman", "nonsense", 1)],
)  # fmt: skip
def test_what_cannot_be_is_said_and_nothing_changes(explorer, kind, name, value):
    explorer.panel.controls["kind"].value = kind
    before, seen = explorer.model, shown(explorer)["paths"]
    explorer.change(name, value)
    assert "expected" in explorer.status.text
    assert explorer.model == before
    np.testing.assert_array_equal(shown(explorer)["paths"], seen)
    explorer.change("b1", 0.5)
    assert explorer.status.text == "" and explorer.model.bias[0] == 0.5 == explorer.panel.controls["b1"].value


def test_a_control_goes_back_when_it_is_refused(explorer):
    explorer.panel.controls["kind"].value = "irnn"
    explorer.panel.controls["K"].min = 0
    explorer.panel.controls["K"].value = 0
    assert "expected K >= 1" in explorer.status.text
    assert explorer.panel.controls["K"].value == 5 == explorer.model.options["K"]


def test_states_that_explode(explorer):
    explorer.model = PlanarModel(
        "irnn", ((0.7, -1.3), (1.1, -0.4)), options={"K": 3, "eta": 2.0, "alpha": 2.0}, steps=500
    )
    assert f"left the float range at step {explorer.motion.overflow};" in explorer.status.text
    assert len(shown(explorer)["paths"][0]) == explorer.motion.overflow
    explorer.cursor = 500
    np.testing.assert_array_equal(shown(explorer)["rings"], explorer.motion.states[-1])
    explorer.figure()
    seen = explorer.motion
    explorer.model = PlanarModel("irnn", options={"alpha": 1e308}, starts=((4.0, 4.0),))
    assert "left the range" in explorer.status.text and "last setting" in explorer.status.text
    assert explorer.motion is seen
    explorer.reset()
    assert explorer.status.text == "" and explorer.motion.overflow is None
    explorer.panel.controls["kind"].value = "irnn"
    assert explorer.panel.controls["irnn-alpha"].max == pytest.approx(2)


def test_without_the_figure_scripts_it_opens_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv(discover.VARIABLE, str(tmp_path / "none"))
    explorer = PhaseExplorer()
    assert "expected a folder of scripts" in explorer.status.text and explorer.preset == ""
    explorer.panel.controls["W12"].value = -1.5
    np.testing.assert_allclose(shown(explorer)["values"], [[0, 0], [1.5**0.5, -(1.5**0.5)]], atol=1e-12)
    explorer.preset = "nothing"
    assert "expected a preset among" in explorer.status.text and explorer.preset == ""


# ---- taking home -----------------------------------------------------------------------------------------------


def test_taking_home(explorer, tmp_path):
    explorer.panel.controls["preset"].value = "UnICORNN oscillator"
    explorer.panel.controls["unicornn-alpha"].value = 7.0
    explorer.cursor = 3
    explorer.take_home.folder.value = str(tmp_path)
    for kind in ("pdf", "png", "svg"):
        explorer.take_home.format.value = kind
        explorer.take_home.buttons["save-figure"].click()
        assert (tmp_path / f"phase_explorer.{kind}").stat().st_size > 5000, explorer.status.text
    explorer.take_home.buttons["save-data"].click()
    data = dynlab.open_dataset(tmp_path / "phase_explorer.zarr")
    np.testing.assert_array_equal(data["trajectory"], explorer.motion.states)
    explorer.take_home.buttons["show-code"].click()
    names: dict[str, object] = {}
    exec(explorer.take_home.code.value, names)
    xr.testing.assert_identical(names["data"]["trajectory"].drop_attrs(), data["trajectory"].drop_attrs())
    before = explorer.take_home.code.value
    explorer.change("W11", 2.0)
    assert explorer.take_home.code.value != before
    explorer.take_home.buttons["show-code"].click()
    blocked = tmp_path / "file"
    blocked.write_text("")
    explorer.take_home.folder.value = str(blocked)
    explorer.take_home.buttons["save-figure"].click()
    assert "cannot save" in explorer.status.text


def test_the_saved_figure_has_the_same_artists(explorer):
    made = explorer.figure()
    assert [ax.get_title() for ax in made.axes] == [view.ax.get_title() for view in explorer.views]
    assert "tanh" in made.get_suptitle() and "W12 = -2" in made.get_suptitle()


# ---- for a long time -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_grows(explorer):
    def count():
        # Without axes' ticks, of which there are as many as the widest window ever needed.
        axes = [view.ax for view in explorer.views]
        return [len(ax.figure.findobj()) - len(ax.xaxis.findobj()) - len(ax.yaxis.findobj()) for ax in axes]

    random = np.random.default_rng(0)

    def moves(times):
        for at in range(times):
            name = ("W11", "W12", "epsilon", "x", "cursor", "gamma", "window", "kind")[at % 8]
            control = explorer.panel.controls[name]
            if name == "kind":
                control.value = list(KINDS)[at // 8 % len(KINDS)]
            elif name == "cursor":
                explorer.cursor = int(random.integers(0, 50))
            elif name == "window":
                explorer.window = float(random.uniform(0.5, 5))
            else:
                control.value = random.uniform(0.1, 1.5)

    moves(8)
    before = count()
    moves(8 * len(KINDS) - 8)
    explorer.panel.controls["kind"].value = "feedback"
    for _ in range(450):
        explorer.panel.controls["W12"].value = random.uniform(-3, 3)
    explorer.reset()
    moves(8)
    assert count() == before
    assert pyplot.get_fignums() == []
