"""The cell and the figure in CONTRIBUTING.md are right ones."""

import re
import sys
from pathlib import Path

import pytest
import torch

from dynlab import build_cell, open_dataset
from dynlab.cli import main
from dynlab.figures import load

ROOT = Path(__file__).resolve().parents[1]
CELL, FIGURE = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_cell_of_the_guide():
    names = {}
    exec(compile(CELL, "CONTRIBUTING.md", "exec"), names)
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


def test_the_figure_of_the_guide(tmp_path, monkeypatch, capsys):
    """One file in the folder is all that it takes."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/author_fig1.py").write_text(FIGURE)
    monkeypatch.setenv("DYNLAB_FIGURES_DIR", str(tmp_path / "scripts"))
    arguments = ["--scale", "smoke", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "kept")]
    monkeypatch.setattr(sys, "argv", ["dynlab", "figures", "run", "author_fig1", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    found = open_dataset(tmp_path / "out/smoke/author_fig1.zarr").load()
    assert found["log_gradient_norm"].sizes == {"seed": 2, "time": 21}
    torch.manual_seed(1)
    cell, inputs = build_cell("gated_antisymmetric", 2, 16), torch.randn(20, 1, 2)
    states = cell.scan(inputs)
    product = torch.eye(16)
    for t in range(20):
        product = cell.step_jacobian(inputs[t], states[t]).to_dense()[0] @ product
    expected = torch.linalg.matrix_norm(product).log() - torch.tensor(16.0).log() / 2
    assert abs(float(found["log_gradient_norm"].sel(seed=1, time=0)) - float(expected)) < 1e-4
    report = (tmp_path / "out/report/report.md").read_text(encoding="utf-8")
    assert "| The gradient over the sequence is near 1 (tolerance: a factor of 10: a picture) | 1 |" in report
    assert "✓ reproduced" in report and (tmp_path / "out/report/images/author_fig1.png").is_file()

    namespace = load("author_fig1")
    assert not namespace.stays(found + 3).holds and not namespace.stays(found - 3).holds
