"""Every preset builds and learns two steps; its numbers are the papers'."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import dynlab
from dynlab.tasks import get_task
from dynlab.training import Learner, Settings, all_presets, build_network, find_preset

PRESETS = all_presets()


@pytest.mark.parametrize("name", PRESETS)
def test_it_builds_and_takes_two_steps(name: str) -> None:
    settings = Settings(**PRESETS[name].values)
    task = get_task(settings.task)
    torch.manual_seed(0)
    steps = min(task.length, max(task.least_steps, 12))
    inputs = torch.rand(steps, 3, task.input_size)
    shape = (3,) if task.read_at == "last" else (steps, 3)
    target = (
        torch.randint(0, task.output_size, shape) if task.target == "class" else torch.rand(*shape, task.output_size)
    )
    settings = replace(settings, hidden_size=min(settings.hidden_size, 8))
    network = build_network(settings, task)
    before = [parameter.clone() for parameter in network.parameters()]
    learner = Learner(network, task, optimizer=settings.optimizer, lr=settings.lr, lr_of=settings.lr_of,
                      schedule=settings.schedule, total=2)  # fmt: skip
    chosen = learner.configure_optimizers()
    for _ in range(2):
        loss = task.loss(learner(inputs), target)
        chosen["optimizer"].zero_grad()
        loss.backward()
        chosen["optimizer"].step()
        chosen["lr_scheduler"]["scheduler"].step()
    assert any(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    assert all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_every_number_has_a_source(name: str) -> None:
    for setting, (_, source) in PRESETS[name].settings.items():
        assert "our choice" in source or any(paper in source for paper in ("UnICORNN", "iRNN", "AntisymmetricRNN")), (
            setting
        )


# Table 6: learning rate, dropout, batch, dt, alpha; and the parameters of Tables 1 to 3.
TABLE_6 = {
    "unicornn-cifar10": (3.14e-2, 1e-1, 30, 1.26e-1, 13.0, 47e3),
    "unicornn-mnist_permuted-128": (1.14e-3, 1e-1, 64, 4.82e-1, 12.53, 35e3),
    "unicornn-mnist_permuted-256": (2.51e-3, 1e-1, 32, 1.9e-1, 30.65, 135e3),
    "unicornn-eigenworms": (8.59e-3, 0.0, 8, 3.43e-2, 0.0, 1.5e3),
}


def parameters(values: dict[str, Any]) -> int:
    network = build_network(Settings(**values), get_task(values["task"]))
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", TABLE_6)
def test_unicornn_table_6(name: str) -> None:
    lr, dropout, batch, dt, alpha, count = TABLE_6[name]
    values = PRESETS[name].values
    assert (values["lr"], values["dropout"], values["batch"]) == (lr, dropout, batch)
    network = build_network(Settings(**values), get_task(values["task"]))
    top = network.layers[-1]
    assert isinstance(top, dynlab.cells.UnICORNN) and (top.dt, top.alpha) == (dt, alpha)
    assert parameters(values) == pytest.approx(count, rel=0.05)
    if name == "unicornn-eigenworms":
        assert network.layers[0].hyperparameters["dt"] == 2.81e-5


@pytest.mark.parametrize(
    ("name", "count"),
    [("irnn-har2-K1", 4e3), ("irnn-har2-K5", 4e3), ("irnn-mnist_pixel", 4e3), ("irnn-mnist_permuted", 8e3),
     ("irnn-mnist", 6e3), ("unicornn-lorenz96-F0.9", 9e3), ("antisymmetric-mnist_pixel", 10e3),
     ("antisymmetric-cifar10_pixel", 36e3), ("antisymmetric-cifar10_pixel-gated", 37e3)],
)  # fmt: skip
def test_published_parameter_counts(name: str, count: float) -> None:
    assert parameters(PRESETS[name].values) == pytest.approx(count, rel=0.07)


def test_a_paper_and_a_task_find_it() -> None:
    assert find_preset("irnn", "adding:T=200").name == "irnn-adding-K1"
    assert find_preset("irnn", "adding:T=500", "irnn:K=5,rank=16").name == "irnn-adding-K5"
    assert find_preset("irnn", "har2", "irnn:K=5").name == "irnn-har2-K5"
    assert find_preset("unicornn", "mnist_permuted").name == "unicornn-mnist_permuted-128"
    assert find_preset("antisymmetric", "cifar10", "gated_antisymmetric").name == "antisymmetric-cifar10-gated"
    assert find_preset("unicornn", "lorenz96:F=8").name == "unicornn-lorenz96-F8"


@pytest.mark.parametrize(
    ("name", "task", "says"),
    [("lem", "adding", "expected --preset to be a paper"),
     ("irnn", "lorenz96", "expected a task that --preset irnn has"),
     ("irnn", None, "expected a TASK with --preset irnn")],
)  # fmt: skip
def test_none_found(name: str, task: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        find_preset(name, task)
