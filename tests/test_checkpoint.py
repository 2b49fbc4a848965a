"""Checkpoints: what goes in comes out, and nothing else is taken."""

import pytest
import torch
from torch import nn

from dynlab import load_checkpoint, registry, save_checkpoint
from dynlab.cells import build_cell
from dynlab.checkpoint import FORMAT


@pytest.mark.parametrize("spec", ["irnn:K=3,alpha=0.5", "unicornn", "lstm", "gated_antisymmetric:epsilon=0.1"])
def test_round_trip(spec, tmp_path):
    cell = build_cell(spec, 2, 4)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.uniform_(-1, 1)
    path = save_checkpoint(cell, spec, tmp_path / "deep" / "one.pt", task="digits", epoch=7)
    found, extra = load_checkpoint(str(path))
    assert type(found) is type(cell)
    assert found.hyperparameters == cell.hyperparameters
    assert found.state_dict().keys() == cell.state_dict().keys()
    for name, value in cell.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    inputs = torch.randn(5, 2, 2)
    assert torch.equal(found.scan(inputs), cell.scan(inputs))
    assert extra == {"cell": spec, "input_size": 2, "hidden_size": 4, "task": "digits", "epoch": 7}
    assert list(path.parent.iterdir()) == [path]


def test_overwrites(tmp_path):
    first, second = registry["gru"](2, 3), registry["gru"](2, 3)
    save_checkpoint(first, "gru", tmp_path / "one.pt")
    save_checkpoint(second, "gru", tmp_path / "one.pt")
    found, _ = load_checkpoint(tmp_path / "one.pt")
    assert torch.equal(found.module.weight_hh, second.module.weight_hh)


@pytest.mark.parametrize("spec", ["lstm", "gru:nonsense=1", "nonsense"])
def test_a_specification_of_another_cell(spec, tmp_path):
    with pytest.raises(ValueError):  # noqa: PT011 - the messages are those of each cell
        save_checkpoint(registry["gru"](2, 3), spec, tmp_path / "one.pt")
    assert not list(tmp_path.iterdir())


def test_missing_file(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(FileNotFoundError, match="expected a checkpoint at .*, found no file"):
            load_checkpoint(path)


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "one.pt"
    path.write_text("no checkpoint at all")
    with pytest.raises(ValueError, match="expected a checkpoint of dynlab at .*, could not read it"):
        load_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="could not read it"):
        load_checkpoint(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_file(share, tmp_path):
    path = save_checkpoint(registry["gru"](2, 3), "gru", tmp_path / "one.pt")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="could not read it"):
        load_checkpoint(path)


class Trap:
    def __reduce__(self):
        return (print, ("executed",))


def test_executes_nothing(tmp_path, capsys):
    torch.save({"format": FORMAT, "cell": Trap()}, tmp_path / "one.pt")
    with pytest.raises(ValueError, match="could not read it"):
        load_checkpoint(tmp_path / "one.pt")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [{"format": "dynlab-checkpoint-0"}, {"state_dict": {}}, [1, 2], torch.zeros(3)])
def test_other_format(content, tmp_path):
    torch.save(content, tmp_path / "one.pt")
    with pytest.raises(ValueError, match=f"expected a {FORMAT} file at .*, got another format"):
        load_checkpoint(tmp_path / "one.pt")


@pytest.mark.parametrize("missing", ["cell", "input_size", "hidden_size", "state_dict"])
def test_incomplete_content(missing, tmp_path):
    path = save_checkpoint(registry["gru"](2, 3), "gru", tmp_path / "one.pt")
    content = torch.load(path, weights_only=True)
    del content[missing]
    torch.save(content, path)
    with pytest.raises(ValueError, match=missing):
        load_checkpoint(path)


def test_parameters_that_do_not_fit(tmp_path):
    path = save_checkpoint(registry["gru"](2, 3), "gru", tmp_path / "one.pt")
    content = torch.load(path, weights_only=True)
    for state_dict in (nn.GRUCell(2, 4).state_dict(), registry["gru"](2, 4).state_dict(), {}):
        torch.save({**content, "state_dict": state_dict}, path)
        with pytest.raises(ValueError, match="load_checkpoint: .*one.pt: .*state_dict"):
            load_checkpoint(path)
