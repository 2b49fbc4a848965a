import re
from pathlib import Path

import pytest

from dynlab.tasks import Task, get_task, registry, tasks
from dynlab.tasks.metrics import METRICS

README = (Path(__file__).parents[2] / "README.md").read_text()
KEYS = ("adding copying digits digits_rows mnist mnist_pixel mnist_permuted cifar10 cifar10_pixel har2 lorenz96 "
        "eigenworms").split()  # fmt: skip


def test_keys():
    assert list(tasks) == list(registry) == KEYS


@pytest.mark.parametrize("key", KEYS)
def test_a_task_says_what_it_is(key):
    task = get_task(key)
    assert isinstance(task, Task) and task == tasks[key] and task.key == key
    for text in (task.summary, task.source, task.license, task.splits, task.normalisation):
        assert text and "\n" not in text
    assert task.metric in METRICS and task.target in ("class", "value") and task.read_at in ("last", "every")
    assert task.input_size >= 1 and task.output_size >= 1 and task.least_steps <= task.length
    assert task.baseline > 0


@pytest.mark.parametrize("key", KEYS)
def test_the_readme_lists_it(key):
    # The readme shortens no summary.
    assert re.search(
        rf"^\| `{key}` \| {re.escape(tasks[key].summary)} \| {tasks[key].input_size}, ", README, re.MULTILINE
    )


def test_options():
    task = get_task("adding:T=30")
    assert task.length == 30 and task.key == "adding:T=30"
    assert get_task("adding:T=200") == tasks["adding"], "a default is not said"
    assert get_task(" digits : ".replace(" ", "")) == tasks["digits"]
    noisy = get_task("cifar10:validation=0.1, noise=shared,subset=true")
    assert noisy.key == "cifar10:noise=shared,subset=True,validation=0.1"
    assert get_task(noisy.key) == noisy
    assert registry["lorenz96"](F=8).key == "lorenz96:F=8" and registry["lorenz96"].options == {"F": 0.9, "lag": 25}
    assert get_task("mnist_permuted:permutation=irnn").key == "mnist_permuted:permutation=irnn"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (
            "imagenet",
            ValueError,
            "get_task: expected a task among adding, copying, digits, .*, eigenworms; got 'imagenet'",
        ),
        ("", ValueError, "got ''"),
        ("adding:steps=3", ValueError, "adding: expected options among T; got steps"),
        ("eigenworms:T=3", ValueError, r"eigenworms: expected options among \(none\); got T"),
        ("adding:30", ValueError, "'adding:30': expected options as name=value, got '30'"),
        ("adding:T=", TypeError, "adding: expected T to be an integer"),
        ("mnist:noise=pink", ValueError, "expected noise to be one of 'gaussian', 'uniform', 'shared', got 'pink'"),
        ("mnist:scale=log", ValueError, "expected scale to be one of 'standard', 'unit', got 'log'"),
        ("mnist_permuted:permutation=1", ValueError, "expected permutation to be one of 'unicornn', .* got 1"),
        ("digits:validation=most", TypeError, "digits: expected validation to be a number, got 'most'"),
    ],
)
def test_bad_specifications(spec, error, message):
    with pytest.raises(error, match=message):
        get_task(spec)
