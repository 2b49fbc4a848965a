import shutil
import threading
from pathlib import Path

import pytest

import dynlab
from dynlab.figures import digests
from dynlab.figures.digests import code_of, versions

SOURCE = b'''"""What one sees."""
import numpy as np
from dynlab.figures.base import Item

A, B = 1, 2
C = A + 1
TABLE = {}
TABLE["x"] = 3


def helper(x):
    return x * C


def piece(x):
    """The piece."""
    return helper(x) + TABLE["x"]


def draw(dataset):
    return B


ITEM = Item("p", "n", "t", "q", ())
'''


def changed(old, new, function="piece"):
    assert old in SOURCE
    return code_of(SOURCE.replace(old, new), function) != code_of(SOURCE, function)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'helper(x) + TABLE["x"]', b'helper(x) - TABLE["x"]'),
        (b"x * C", b"x * A"),
        (b"C = A + 1", b"C = A + 2"),
        (b"A, B = 1, 2", b"A, B = 0, 2"),
        (b'TABLE["x"] = 3', b'TABLE["x"] = 4'),
        (b"def draw", b"np.seterr(all='raise')\ndef draw"),  # done whoever is called
    ],
)
def test_what_a_function_reaches_counts(old, new):
    assert changed(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"return B", b"return 2 * B"),
        (b'Item("p"', b'Item("P"'),
        (b'"""The piece."""', b'"""The work."""'),
        (b"return x * C", b"return (x  *  C)  # times C"),
        (b'"""What one sees."""', b""),
        (b"import numpy as np", b"import numpy as np\nimport scipy"),
    ],
)
def test_what_it_does_not_reach_does_not(old, new):
    assert not changed(old, new)


LOCALS = b"""
MODELS, SCALE = ("a", "b"), 2
STATE = {}


def piece(model, size):
    total = sum(one for one in range(size))
    def inner(one):
        return total + one
    return inner(SCALE), model


def other(size):
    model = size
    return [model for one in MODELS]


ITEM = Item("text", *(Claim(f"{model}", model) for model in MODELS for one in "xy"))
HIDDEN = [total := 3]
"""


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        (b'"text"', b'"other text"', False),  # its comprehension's names are piece's own, not the module's
        (b"model = size", b"model = 2 * size", False),
        (b"SCALE = (", b"SCALE, more = (", True),
        (b"total + one", b"total - one", True),
        (b"total := 3", b"total := 4", False),  # a local name of piece
        (b"total := 3", b"SCALE := 4", True),
        (b"model = size", b"global SCALE; SCALE = model = size", True),
        (b"model = size", b"STATE['x'] = model = size", False),
        (b"inner(SCALE)", b"inner(STATE)", True),
    ],
)
def test_names_are_those_of_their_scope(old, new, counts):
    assert old in LOCALS
    assert (code_of(LOCALS.replace(old, new), "piece") != code_of(LOCALS, "piece")) == counts


def test_what_fills_a_table_counts_where_the_table_does():
    source = LOCALS.replace(b"inner(SCALE)", b"inner(STATE)").replace(b"model = size", b"STATE['x'] = model = size")
    assert code_of(source, "piece") != code_of(source.replace(b"['x'] = model", b"['y'] = model"), "piece")


def test_a_star_import_may_bring_anything():
    source = LOCALS.replace(b"STATE = {}", b"from os import *")
    assert code_of(source, "piece") != code_of(source.replace(b'"text"', b'"other text"'), "piece")


def test_a_function_that_may_reach_anything():
    source = SOURCE.replace(b"return helper(x)", b"return globals()['helper'](x)")
    other = source.replace(b"return B", b"return 2 * B")
    assert code_of(source, "piece") != code_of(other, "piece")


def test_functions_differ():
    assert code_of(SOURCE, "piece") != code_of(SOURCE, "helper")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of dynlab's sources to change; ``code_of`` reads it."""
    root = Path(dynlab.__file__).parent
    copy = tmp_path / "dynlab"
    for name in (
        "cells/elman.py",
        "plots/style.py",
        "cli.py",
        "figures/base.py",
        "figures/training.py",
        "theory/base.py",
    ):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, copy / name)
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    (kernels / "a.h").write_text("// a\n")
    monkeypatch.setattr(digests, "_PACKAGE", copy)
    monkeypatch.setattr(digests._folders, "folder", lambda name: tmp_path / name)

    def digest(source=SOURCE):
        for cached in (digests._code_of, digests._of_dynlab, digests._of_files, digests._of_file):
            cached.cache_clear()
        return code_of(source, "piece")

    yield copy, digest
    for cached in (digests._code_of, digests._of_dynlab, digests._of_files, digests._of_file):
        cached.cache_clear()


def append(path, text):
    path.write_text(path.read_text() + text)


def test_what_of_dynlab_counts(package):
    copy, digest = package
    seen = [digest()]
    append(copy / "cells/elman.py", "\nNEW = 1\n")
    seen.append(digest())
    append(copy.parent / "kernels/a.h", "\n")
    seen.append(digest())
    (copy / "cells/extra.py").write_text("")
    seen.append(digest())
    assert len(set(seen)) == len(seen)
    append(copy / "cells/elman.py", "\n\n# a comment\n")
    for name in ("plots/style.py", "cli.py", "figures/base.py", "figures/training.py", "theory/base.py"):
        append(copy / name, "\nNEW = 1\n")
    assert digest() == seen[-1]


@pytest.mark.parametrize(
    ("imported", "file"),
    [
        (b"from dynlab.figures.training import x as helper", "figures/training.py"),
        (b"from dynlab.figures import training as helper", "figures/training.py"),
        (b"import dynlab\nhelper = dynlab.theory.evaluate", "theory/base.py"),
        (b"from dynlab.theory.base import finding as helper", "theory/base.py"),
    ],
)
def test_what_a_script_imports_counts_for_it(imported, file, package):
    copy, digest = package
    source = SOURCE.replace(b"def helper(x):\n    return x * C", imported)
    before, others = digest(source), digest()
    append(copy / file, "\nNEW = 1\n")
    assert digest(source) != before and digest() == others


def test_threads_may_ask_at_once(package):
    _, digest = package
    sources = [SOURCE.replace(b"A, B = 1", b"A, B = %d" % number) for number in range(2, 22)]
    errors = []

    def ask(source):
        try:
            code_of(source, "piece")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_versions():
    import numpy
    import torch

    assert versions() | {"numpy": numpy.__version__, "dynlab": dynlab.__version__} == versions()
    assert torch.__version__.startswith(versions()["torch"])
