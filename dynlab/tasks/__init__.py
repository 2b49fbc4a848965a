"""Labelled sequences to drive and train cells with, one data set a file. Adding one is a file and a row here."""

from dynlab.tasks.base import SPLITS, Task
from dynlab.tasks.data import DataError, DataMissingError
from dynlab.tasks.digits import DIGITS
from dynlab.tasks.mnist import MNIST
from dynlab.tasks.noise import pad_with_noise

tasks: dict[str, Task] = {task.key: task for task in (DIGITS, MNIST)}
"""Every task by its key; what lists of tasks read."""


def get_task(name: str) -> Task:
    """The task of this key.

    Raises:
        ValueError: if there is none; it lists those there are.
    """
    if name not in tasks:
        raise ValueError(f"get_task: expected a task among {', '.join(tasks)}; got {name!r}")
    return tasks[name]


__all__ = ["DIGITS", "MNIST", "SPLITS", "DataError", "DataMissingError", "Task", "get_task", "pad_with_noise", "tasks"]
