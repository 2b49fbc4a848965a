"""The registry: every task by its key; lists of tasks read this. Adding a task is a file, and a row here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dynlab._specs import parse_spec
from dynlab.tasks.adding import adding
from dynlab.tasks.base import Task
from dynlab.tasks.cifar10 import cifar10, cifar10_pixel
from dynlab.tasks.copying import copying
from dynlab.tasks.digits import digits, digits_rows
from dynlab.tasks.eigenworms import eigenworms
from dynlab.tasks.har2 import har2
from dynlab.tasks.lorenz96 import lorenz96
from dynlab.tasks.mnist import mnist, mnist_permuted, mnist_pixel


@dataclass(frozen=True)
class TaskEntry:
    """One row: call it with options to make the task.

    Attributes:
        key: name on the command line. build: makes the task; its parameters are the options.
    """

    key: str
    build: Callable[..., Task]

    @property
    def options(self) -> dict[str, Any]:
        """Every option and its default."""
        return {name: parameter.default for name, parameter in inspect.signature(self.build).parameters.items()}

    def __call__(self, **options: Any) -> Task:
        """The task, whose ``key`` names the options that are not the defaults.

        Raises:
            TypeError, ValueError: for an option the task does not have, or a value it refuses.
        """
        defaults = self.options
        if unknown := [name for name in options if name not in defaults]:
            raise ValueError(
                f"{self.key}: expected options among {', '.join(defaults) or '(none)'}; got {', '.join(unknown)}"
            )
        chosen = ",".join(
            f"{name}={options[name]}" for name in defaults if options.get(name, defaults[name]) != defaults[name]
        )
        return replace(self.build(**options), key=f"{self.key}:{chosen}" if chosen else self.key)


_BUILDERS: dict[str, Callable[..., Task]] = {
    "adding": adding,
    "copying": copying,
    "digits": digits,
    "digits_rows": digits_rows,
    "mnist": mnist,
    "mnist_pixel": mnist_pixel,
    "mnist_permuted": mnist_permuted,
    "cifar10": cifar10,
    "cifar10_pixel": cifar10_pixel,
    "har2": har2,
    "lorenz96": lorenz96,
    "eigenworms": eigenworms,
}

registry: dict[str, TaskEntry] = {key: TaskEntry(key, build) for key, build in _BUILDERS.items()}
"""Every task by its key, to be made with options."""

tasks: dict[str, Task] = {key: entry() for key, entry in registry.items()}
"""Every task by its key, with its default options; what lists of tasks read."""


def get_task(spec: str) -> Task:
    """The task of a specification: a key, or one with options, "adding:T=500", "har2:subset=true".

    Raises:
        TypeError, ValueError: for an unknown key or option, listing those there are, or a value the task refuses.
    """
    key, options = parse_spec(spec)
    if key not in registry:
        raise ValueError(f"get_task: expected a task among {', '.join(registry)}; got {key!r}")
    return registry[key](**options)
