"""The cell in CONTRIBUTING.md is a right one."""

import re
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


def test_the_cell_of_the_guide():
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(compile(source, "CONTRIBUTING.md", "exec"), names)
    torch.manual_seed(0)
    cell = names["Leaky"](3, 5, epsilon=0.3).double()
    x, state = torch.randn(4, 3).double(), torch.randn(4, 5).double()

    new = cell(x, state)
    pull = torch.tanh(state @ cell.weight_hh.T + x @ cell.weight_ih.T + cell.bias)
    torch.testing.assert_close(new, 0.7 * state + 0.3 * pull)
    for measured, argument in ((cell.step_jacobian(x, state).to_dense(), 1), (cell.input_jacobian(x, state), 0)):
        exact = torch.func.vmap(torch.func.jacrev(lambda x, s: cell(x[None], s[None])[0], argument))(x, state)
        torch.testing.assert_close(measured, exact.detach())
    assert cell.scan(x.unsqueeze(1)).shape == (5, 1, 5)
    assert cell.time_steps().values.tolist() == [0.3] * 5
