"""The notebooks as files: named, stripped and laid out alike. CI executes them with nbmake."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NAME = re.compile(r"(0[1-9])_[a-z0-9]+(_[a-z0-9]+)*\.ipynb")
SMOKE = 'SMOKE = bool(os.environ.get("DYNLAB_SMOKE"))'
# A path from the root, a home folder or a drive; not a fraction, "and/or" or an address.
PLACE = re.compile(r"""(?:^|["'`\s(=])(?:/[A-Za-z_][\w.-]*/|~/|[A-Z]:\\\w+\\)""", re.MULTILINE)

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def sources(path, kind):
    return [cell.source for cell in read(path).cells if cell.cell_type == kind]


def test_they_are_numbered_without_a_gap():
    found = [NAME.fullmatch(path.name) for path in NOTEBOOKS]
    assert [path.name for path, match in zip(NOTEBOOKS, found, strict=True) if match is None] == []
    assert [match[1] for match in found] == [f"{number:02d}" for number in range(1, 10)]


@every
def test_it_is_valid_and_stripped(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    for cell in notebook.cells:
        assert not cell.metadata, cell.id
        if cell.cell_type == "code":
            assert cell.outputs == [], cell.id
            assert cell.execution_count is None, cell.id
    # State of widgets is an output too, and holds pictures; a version of Python says whose machine it was.
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


@every
def test_it_begins_with_its_number_and_tells_a_story(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(rf"# {int(path.name[:2])} · \S", first.source), first.source[:40]
    prose, code = sources(path, "markdown"), sources(path, "code")
    assert len(prose) >= 3
    assert any(re.search(r"\$[^$]+\$", text) for text in prose), "no equation"
    assert len(code) >= 3
    assert all(text.strip() for text in prose + code), "an empty cell"


@every
def test_small_sizes_are_chosen_at_the_start(path):
    code = sources(path, "code")
    if any("SMOKE" in text for text in code):
        assert SMOKE in code[0]
        assert any(re.search(r"\bSMOKE\b", text) for text in [code[0].replace(SMOKE, ""), *code[1:]]), "chooses nothing"


@every
def test_it_names_no_place_on_a_machine(path):
    found = [match.group().strip() for cell in read(path).cells for match in PLACE.finditer(cell.source)]
    assert found == []


@pytest.mark.parametrize("text", ['open("/home/me/x")', "in ~/data", r"'C:\Users\me'", "/tmp/x.zarr", "=/usr/lib"])
def test_a_place_is_recognised(text):
    assert PLACE.search(text)


@pytest.mark.parametrize("text", [r"$\partial s_T/\partial s_0$, T/2 / 3", "and/or", "https://a.b/c/d", "a / b / c"])
def test_what_is_no_place_is_not(text):
    assert not PLACE.search(text)
