"""UnICORNN's maps: multipliers and growth against NumPy, claims that can fail, and the picture."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynlab.figures import load

figure = load("unicornn_bounds")
PROVED, SETTINGS, BROKEN, LOOSE, GROWTH, SUMS, DENSE, VANISHING, RESIDUAL = (
    claim.check for claim in figure.ITEM.claims
)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return figure.compute("smoke", seed=1)


def test_multipliers_are_those_of_finite_differences():
    row = figure.multipliers("healthcare-hr")
    dt, alpha, unit = 4.6e-2, 10.0, 4
    w, h, P = float(row["w"][unit]), 4.6e-2 / 2, int(row["period"])
    middle = alpha + float(row["w"][8]) / 2
    assert P == round(np.pi / np.arccos(1 - (dt / 2) ** 2 * middle / 2))
    drive = np.where(np.arange(P) >= P / 2, 5.0, 0.0)

    def period(state: np.ndarray, share: float) -> np.ndarray:
        y, z = state
        for u in share * drive:
            z = z - h * (np.tanh(w * y + u) + alpha * y)
            y = y + h * z
        return np.array([y, z])

    def matrix(state: np.ndarray, share: float) -> np.ndarray:
        moves = 1e-6 * np.eye(2)
        return np.stack([(period(state + one, share) - period(state - one, share)) / 2e-6 for one in moves], 1)

    state = np.zeros(2)
    for share in np.linspace(0.1, 1, 10):
        for _ in range(10):
            state = state + np.linalg.solve(np.eye(2) - matrix(state, share), period(state, share) - state)
    moduli = np.abs(np.linalg.eigvals(matrix(state, 1.0)))
    assert moduli.max() > 1.001
    expected = np.sort(np.log(moduli)) / P
    np.testing.assert_allclose(np.sort(row["floquet"].isel(w=unit)), expected, rtol=1e-4)


def test_growth_is_of_the_second_half(data: xr.Dataset):
    """A product of step Jacobians in NumPy: at alpha = 0 under the square wave."""
    dt, steps = 0.512, 512
    h, amplitude = dt / 2, 3.0
    P = round(np.pi / np.arccos(1 - h**2 / 4))
    y, z, product, logs = 0.0, 0.0, np.eye(2), []
    q, total = np.eye(2), 0.0
    for n in range(steps):
        u = amplitude if n % P >= P / 2 else 0.0
        slope = 1 - np.tanh(y + u) ** 2
        product = np.array([[1 - h**2 * slope, h], [-h * slope, 1.0]])
        z = z - h * np.tanh(y + u)
        y = y + h * z
        q, r = np.linalg.qr(product @ q)
        total += np.log(abs(r[0, 0]))
        logs.append(total)
    expected = 2 * logs[-1] / steps - logs[steps // 2 - 1] / (steps // 2)
    found = float(data["growth"].sel(drive="square wave", driven_dt=dt, driven_alpha=0.0, amplitude=amplitude))
    assert found == pytest.approx(expected, rel=1e-6)
    assert data.attrs["cubic"] == pytest.approx(3 * np.log(2) / (steps / 2))


def made() -> xr.Dataset:
    """Data of which every claim is true: bounds as at a point each, growth and depth as the paper has them."""
    names, L = ["one", "two"], np.arange(1, 8)
    dts = np.array([0.1, 0.4])
    order = {0: 2 * L - 2.0, 3: np.where(L > 3, 2 * (L - 4) % 6 / 2, 2 * L - 2.0)}
    order[3][-1] = 4.0  # 7 layers as 3
    gradient = np.stack([dts[:, None] ** order[S] for S in (0, 3)], 1)[None, None]
    exponents = np.stack([np.full((2, 3), 1e-12), np.full((2, 3), -1e-12)], -1)
    grid = ("quantity", "dt", "alpha", "steps")
    proved = np.zeros((3, 2, 1, 2), bool)
    proved[:, :, :, 0] = True
    driven = np.where(proved, 0.5, 1.5)
    return xr.Dataset(
        {
            "tightness": (grid, np.full(driven.shape, 1e-8)),
            "driven_tightness": (grid, driven),
            "proved": (grid, proved),
            "setting_tightness": (("quantity", "setting"), np.full((3, 2), 1e-8)),
            "setting_driven_tightness": (("quantity", "setting"), [[0.5, 2.0]] * 3),
            "setting_proved": (("quantity", "setting"), np.zeros((3, 2), bool)),
            "setting_dt": ("setting", [0.1, 0.4]),
            "setting_alpha": ("setting", [10.0, 0.0]),
            "setting_steps": ("setting", [100, 1000]),
            "growth": (("drive", "driven_dt", "driven_alpha", "amplitude"), np.full((2, 2, 2, 1), 5e-4)),
            "floquet": (("setting", "w", "pair"), exponents),
            "floquet_still": (("setting", "w", "pair"), 0 * exponents),
            "period": ("setting", [10, 20]),
            "gradient": (("seed", "depth_alpha", "depth_dt", "residual", "L"), gradient),
        },
        {
            "quantity": ["y", "z", "gradient"], "dt": dts, "alpha": [1.0], "steps": [10, 1000], "setting": names,
            "drive": ["noise", "square wave"], "amplitude": [1.0], "w": [0.3, 0.6, 1.0], "L": L, "depth_dt": dts,
            "depth_alpha": [1.0], "residual": [0, 3], "seed": [0],
        },
        {"cubic": 1e-3},
    )  # fmt: skip


def changed(name: str, value: float | bool, **where: object) -> xr.Dataset:
    data = made().copy(deep=True)
    data[name].loc[where] = value
    return data


def test_claims_hold_where_it_is_so():
    one = made()
    for check in (PROVED, SETTINGS, BROKEN, LOOSE, GROWTH, DENSE, VANISHING, RESIDUAL):
        assert check(one).holds is True, check
    unstable = one.copy(deep=True)
    unstable["floquet"] *= 1e9
    assert SUMS(unstable).holds is True


def test_claims_fail_where_it_is_not():
    for kind in ("tightness", "driven_tightness"):
        for quantity in ("y", "z", "gradient"):
            assert PROVED(changed(kind, 1.01, quantity=quantity, steps=10, dt=0.1)).holds is False
    assert PROVED(changed("driven_tightness", np.inf, quantity="z", steps=10)).holds is False
    assert SETTINGS(changed("setting_proved", True, quantity="z", setting="one")).holds is False
    assert BROKEN(changed("driven_tightness", 0.9, quantity="z", dt=0.1)).holds is False
    assert BROKEN(changed("driven_tightness", 0.9, quantity="gradient")).holds is False
    assert LOOSE(changed("setting_tightness", 0.02, quantity="y", setting="one")).holds is False
    assert LOOSE(changed("setting_tightness", 1e-5, quantity="gradient", setting="one")).holds is False
    assert LOOSE(changed("setting_tightness", 0.02, quantity="z", setting="two")).holds is True  # alpha = 0


def test_growth_fails_where_there_is_some():
    grown = made().copy(deep=True)
    grown["growth"][0, 0, 0, 0] = 1.1e-3
    assert GROWTH(grown).holds is False
    assert GROWTH(changed("floquet", 1e-6, setting="one", w=0.3, pair=0)).holds is False


def test_sums_fail_where_there_is_none_or_nothing_grows():
    assert SUMS(made()).holds is False
    unstable = made().copy(deep=True)
    unstable["floquet"] *= 1e9
    unstable["floquet"][0, 0, 0] *= 1.1
    assert SUMS(unstable).holds is False


def test_depth_fails_where_it_is_otherwise():
    flat = made().copy(deep=True)
    flat["gradient"][:] = flat["gradient"].isel(depth_dt=0)
    assert DENSE(flat).holds is False
    assert VANISHING(changed("gradient", 1.0, L=4)).holds is False
    four = made().copy(deep=True)
    four["gradient"].loc[{"residual": 3, "L": 7}] = four["gradient"].sel(residual=0, L=4)
    assert RESIDUAL(four).holds is False


def test_at_smoke(data: xr.Dataset):
    assert PROVED(data).holds is True and SETTINGS(data).holds is True and BROKEN(data).holds is True
    assert SUMS(data).holds is True and VANISHING(data).holds is True
    # The proof of C.1 needs (1 + beta dt)^N <= 1 + 2 beta N dt, by hand at the two ends.
    expected = (1 + 1.02 * 0.004) ** 10 <= 1 + 2 * 1.02 * 0.04
    assert bool(data["proved"].sel(quantity="z", dt=0.004, alpha=0.01, steps=10)) == expected
    assert data.sizes["setting"] == 7 and list(data["seed"].values) == [1, 2]


def test_places_on_the_grid():
    grid = np.array([0.0, 0.1, 1.0, 10.0])
    np.testing.assert_allclose(figure._place(np.array([0.0, 0.1, np.sqrt(0.1), 10.0, 99.0]), grid), [0, 1, 1.5, 3, 3])
    assert figure._place(np.array([0.0]), grid[1:])[0] == -1


def test_drawn_are_the_ratios_and_gradients(data: xr.Dataset):
    drawn = figure.draw(data)
    titled = {axes.get_title(loc="center") or axes.get_title(loc="left"): axes for axes in drawn.axes}
    last = [axes for axes in drawn.axes if axes.get_title() == "N = 10,000"]
    assert len(last) == 2  # states, gradient
    ratio = np.maximum(data["tightness"], data["driven_tightness"]).sel(steps=10_000)
    states = ratio.sel(quantity=["y", "z"]).max("quantity").transpose("alpha", "dt").values
    shown = np.ma.getdata(last[0].collections[0].get_array()).reshape(states.shape)
    np.testing.assert_array_equal(shown > 1, states > 1)
    np.testing.assert_allclose(shown[states <= 1], states[states <= 1])
    first = next(axes for axes in drawn.axes if axes.get_title() == "N = 10")
    dots = next(line for line in first.lines if line.get_label() == "the proof applies")
    assert len(dots.get_xdata()) == int(data["proved"].sel(quantity="z", steps=10).sum())
    dense = titled["(e) dense"]
    line = next(one for one in dense.lines if one.get_label() == "dt = 0.5")
    expected = np.exp(np.log(data["gradient"].sel(depth_alpha=1.0, depth_dt=0.5, residual=0)).mean("seed"))
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert dense.get_yscale() == "log"
