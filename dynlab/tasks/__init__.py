"""Labelled sequences to drive and train cells with, one data set a file."""

from dynlab.tasks._registry import TaskEntry, get_task, registry, tasks
from dynlab.tasks.base import Task
from dynlab.tasks.data import DataError, DataMissingError
from dynlab.tasks.noise import pad_with_noise
from dynlab.tasks.samples import SPLITS, Samples
from dynlab.tasks.stored import StoredTask

__all__ = [
    "SPLITS",
    "DataError",
    "DataMissingError",
    "Samples",
    "StoredTask",
    "Task",
    "TaskEntry",
    "get_task",
    "pad_with_noise",
    "registry",
    "tasks",
]
