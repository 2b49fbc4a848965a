"""Native UnICORNN against its paper, written out in numpy; and what its backward pass holds in memory.

Index conventions: n time, b batch, f input feature, d hidden unit.
"""

import numpy as np
import pytest
import torch

from dynlab.cells import UnICORNN

from .cases import assert_close, assert_equal, differentiated, on, rand, stirred

pytestmark = pytest.mark.usefixtures("native")

N, B, F, D = 23, 3, 4, 7


def make(dt=0.4, alpha=1.7, memory="store", sizes=(F, D), seed=0):
    return on(stirred(UnICORNN(*sizes, dt=dt, alpha=alpha, memory=memory), seed), "native")


class Paper:
    """UnICORNN Eqs. (6), (7) and appendix B, Eqs. (3)-(5), for one cell, in numpy."""

    def __init__(self, cell, inputs, state):
        names = ("weight_ih", "weight_hh", "bias", "c")
        self.V, self.w, self.b, c = (getattr(cell, name).detach().numpy() for name in names)
        self.dt, self.alpha = cell.dt, cell.alpha
        self.sigma_c = 1 / (1 + np.exp(-c))
        self.h = self.dt * self.sigma_c  # Delta t sigma-hat(c)
        self.u = inputs.numpy()
        self.x = self.u @ self.V.T + self.b
        self.steps = len(self.x)
        self.y, self.z = self.forward(*np.split(state.numpy(), 2, axis=1))

    def forward(self, y, z):
        """Eq. (6): y_0 .. y_N and z_0 .. z_N."""
        ys, zs = [y], [z]
        for x in self.x:
            z = zs[-1] - self.h * (np.tanh(self.w * ys[-1] + x) + self.alpha * ys[-1])
            ys.append(ys[-1] + self.h * z)
            zs.append(z)
        return np.stack(ys), np.stack(zs)

    def slope(self, n):
        """sigma'(w y_{n-1} + x_n)."""
        return 1 / np.cosh(self.w * self.y[n - 1] + self.x[n - 1]) ** 2

    def deltas(self, arriving):
        """Eqs. (3), (4): delta_k^z and delta_k^y, k = 0 .. N, from dE/dy_n, n = 0 .. N."""
        delta_y, delta_z = [arriving[self.steps]], [np.zeros_like(arriving[0])]
        for k in range(1, self.steps + 1):
            n = self.steps - k + 1
            delta_z.append(delta_z[-1] + delta_y[-1] * self.h)
            pull = self.slope(n) * self.w + self.alpha
            delta_y.append(delta_y[-1] - delta_z[-1] * self.h * pull + arriving[self.steps - k])
        return np.stack(delta_y), np.stack(delta_z)

    def gradients(self, arriving):
        """Eq. (5) for w, and the same sums for x and for h = Delta t sigma-hat(c), which the paper leaves out."""
        delta_y, delta_z = self.deltas(arriving)
        w, c = np.zeros_like(self.w), np.zeros_like(self.w)
        x = np.zeros_like(self.x)
        for k in range(1, self.steps + 1):
            n = self.steps - k + 1
            x[n - 1] = -delta_z[k] * self.h * self.slope(n)
            w += (x[n - 1] * self.y[n - 1]).sum(0)  # a_k
            # z_n = z_{n-1} - h force and y_n = y_{n-1} + h z_n, with z_n seen by delta_k^z as a whole.
            force = np.tanh(self.w * self.y[n - 1] + self.x[n - 1]) + self.alpha * self.y[n - 1]
            c += (delta_y[k - 1] * self.z[n] - delta_z[k] * force).sum(0)
        return {
            "inputs": x @ self.V,
            "state": np.concatenate([delta_y[-1], delta_z[-1]], axis=1),
            "weight_ih": np.einsum("nbd,nbf->df", x, self.u),
            "weight_hh": w,
            "bias": x.sum((0, 1)),
            "c": c * self.h * (1 - self.sigma_c),
        }


def torched(arrays):
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


@pytest.mark.parametrize("alpha", [0.0, 1.7])
@pytest.mark.parametrize("memory", ["store", "reconstruct"])
def test_forward_is_equation_6(alpha, memory):
    cell, inputs, state = make(alpha=alpha, memory=memory), rand(N, B, F), rand(B, 2 * D, seed=1)
    paper = Paper(cell, inputs, state)
    expected = {"states": torch.from_numpy(np.concatenate([paper.y, paper.z], axis=-1))}
    assert_close({"states": cell.scan(inputs, state).detach()}, expected)


@pytest.mark.parametrize("alpha", [0.0, 1.7])
@pytest.mark.parametrize("memory", ["store", "reconstruct"])
def test_backward_is_appendix_b(alpha, memory):
    """dE/dy_n for n = 1 .. N, as the paper has it."""
    cell, inputs, state = make(alpha=alpha, memory=memory), rand(N, B, F), rand(B, 2 * D, seed=1)
    arriving = rand(N, B, D, seed=2)
    found = differentiated(cell, inputs, state, "hidden", arriving)
    del found["output"]
    paper = Paper(cell, inputs, state)
    assert_close(found, torched(paper.gradients(np.concatenate([np.zeros((1, B, D)), arriving.numpy()]))))


def test_backward_of_the_last_state_is_appendix_b():
    """E = g y_N: the recursion starts from it and nothing arrives on the way."""
    cell, inputs, state = make(), rand(N, B, F), rand(B, 2 * D, seed=1)
    arriving = torch.cat([rand(B, D, seed=2), torch.zeros(B, D).double()], dim=1)
    found = differentiated(cell, inputs, state, "last", arriving)
    del found["output"]
    along = np.concatenate([np.zeros((N, B, D)), arriving[None, :, :D].numpy()])
    assert_close(found, torched(Paper(cell, inputs, state).gradients(along)))


def test_equation_7_unwinds_what_the_kernel_did():
    cell, inputs, state = make(), rand(N, B, F), rand(B, 2 * D, seed=1)
    states = cell.scan(inputs, state).detach()
    paper, (y, z) = Paper(cell, inputs, state), np.split(states[-1].numpy(), 2, axis=1)
    for n in range(N, 0, -1):
        y = y - paper.h * z
        z = z + paper.h * (np.tanh(paper.w * y + paper.x[n - 1]) + paper.alpha * y)
        assert_close({"state": torch.from_numpy(np.concatenate([y, z], axis=1))}, {"state": states[n - 1]}, 1e-12)


# ---- reconstruction -------------------------------------------------------------------------------------------


def gradient_error(steps, dtype, alpha, seeds=3):
    """How far "reconstruct" is off from "store" in the gradient of w, relative; the loss is at the last step."""
    squares = 0.0
    for seed in range(seeds):
        torch.manual_seed(seed)  # initial values of appendix A
        cell = on(UnICORNN(2, 16, dt=0.126, alpha=alpha), "native", dtype)
        inputs, arriving = rand(steps, 2, 2, seed=seed, dtype=dtype), rand(2, 32, seed=seed + 5, dtype=dtype)
        found = {}
        for memory in ("store", "reconstruct"):
            cell.memory = memory
            found[memory] = differentiated(cell, inputs, None, "last", arriving)["weight_hh"].double()
        error = (found["reconstruct"] - found["store"]).norm() / found["store"].norm()
        squares += float(error) ** 2 / seeds
    return squares**0.5


@pytest.mark.parametrize(
    ("steps", "dtype", "most"),
    [
        (100, torch.float64, 1e-14),
        (10_000, torch.float64, 1e-13),
        (100, torch.float32, 2e-6),
        (10_000, torch.float32, 5e-5),
    ],
)
def test_reconstruction_gives_the_gradients_of_storing(steps, dtype, most):
    """Within a hundred roundings in 10,000 steps, with dt and alpha of Table 6 (noise-padded CIFAR-10)."""
    assert 0 < gradient_error(steps, dtype, alpha=13.0) < most


def test_reconstruction_errors_grow_with_the_sequence():
    """Without a restoring force beyond all use: what the docstring of UnICORNN warns of."""
    tame = [gradient_error(steps, torch.float32, alpha=13.0) for steps in (100, 1_000, 10_000)]
    assert tame[0] < tame[1] < tame[2]
    wild = [gradient_error(steps, torch.float32, alpha=0.0) for steps in (100, 1_000, 10_000)]
    assert wild[0] < wild[1] < 1e-5 < 1e-3 < wild[2]


@pytest.mark.parametrize("keep", ["states", "hidden", "last"])
def test_the_forward_pass_is_the_same_in_either_memory(keep):
    inputs, state = rand(N, B, F), rand(B, 2 * D, seed=1)
    outs = [make(memory=memory).scan(inputs, state, keep=keep).detach() for memory in ("store", "reconstruct")]
    assert_equal({"": outs[0]}, {"": outs[1]})


# ---- memory ---------------------------------------------------------------------------------------------------


def saved(cell, inputs, keep):
    """Bytes that autograd saves during a scan besides the inputs, the parameters and x = V u + b."""
    given = {tensor.untyped_storage().data_ptr() for tensor in (inputs, *cell.parameters())}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = (storage.nbytes(), tensor)  # kept, so that no other gets its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = cell.scan(inputs, keep=keep)
    total = sum(size for pointer, (size, _) in storages.items() if pointer not in given)
    out.sum().backward()  # what was saved is enough
    x = inputs.shape[0] * inputs.shape[1] * cell.hidden_size * inputs.element_size()
    return total - x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reconstruction_saves_nothing_that_grows_with_the_sequence(dtype):
    cell = on(make(memory="reconstruct"), "native", dtype)
    held = [saved(cell, rand(steps, B, F, dtype=dtype), "last") for steps in (10, 1000)]
    item = torch.finfo(dtype).bits // 8
    # The initial and the last state and some vectors of parameters.
    assert held[0] == held[1] <= (2 * B * 2 * D + 4 * D) * item


@pytest.mark.parametrize(("keep", "numbers"), [("last", 1), ("hidden", 1), ("states", 2)])
def test_storing_saves_one_y_a_step(keep, numbers):
    """One number a unit and step; two where the caller holds y and z anyway."""
    cell = make()
    held = [saved(cell, rand(steps, B, F), keep) for steps in (10, 1000)]
    assert held[1] - held[0] == 990 * B * D * 8 * numbers


def test_kept_hidden_states_are_those_saved():
    """keep="hidden" and "store" share one buffer: nothing is held twice."""
    cell, inputs = make(), rand(50, B, F)
    pointers = set()

    def pack(tensor):
        pointers.add(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = cell.scan(inputs, keep="hidden")
    assert hidden.untyped_storage().data_ptr() in pointers


def test_no_gradient_no_memory():
    cell, inputs = make(), rand(50, B, F)

    def pack(tensor):
        raise AssertionError("nothing is to be saved")

    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        assert cell.scan(inputs, keep="last").shape == (B, 2 * D)
