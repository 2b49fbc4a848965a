import sys

import pytest

import dynlab.figures
from dynlab.figures.discover import PREFIX, VARIABLE, load, names, scripts_folder


def test_dynlabs_own_folder_is_the_one_without_the_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert (scripts_folder() / "README.md").is_file()
    assert set(names()) == {path.stem for path in scripts_folder().glob("*_*.py")}


def test_names_are_those_of_scripts_in_natural_order(scripts):
    for name in ("irnn_fig9.py", "irnn_fig10.py", "irnn_fig9b.py", "_hidden_one.py", "plain.py", "Irnn_fig1.py"):
        (scripts / name).touch()
    (scripts / "irnn_fig7.toml").touch()
    assert names() == ["irnn_fig9", "irnn_fig9b", "irnn_fig10", "toy_walk"]


def test_a_script_is_a_module_and_loaded_again_when_it_changes(scripts):
    first = load("toy_walk")
    assert first.__name__ == PREFIX + "toy_walk" and sys.modules[first.__name__] is first
    assert first.ITEM.number == "Fig. 1" and load("toy_walk") is first
    path = scripts / "toy_walk.py"
    path.write_text(path.read_text().replace("Fig. 1", "Fig. 2"))
    assert load("toy_walk").ITEM.number == "Fig. 2"
    assert not (scripts / "__pycache__").exists()


def test_near_names_are_listed(scripts):
    with pytest.raises(ValueError, match="expected the name of a figure, got 'toy_wlak'; did you mean toy_walk?"):
        load("toy_wlak")
    with pytest.raises(ValueError, match="got '../conftest'; 'dynlab figures list' shows them"):
        load("../conftest")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("ITEM = Item(", "THING = Item("), "expected ITEM, a dynlab.figures.Item, got NoneType"),
        (("SCALES = {", "SCALES = {}\nOTHERS = {"), "expected SCALES, settings by scale with 'smoke'"),
        (('"laptop": {', '"desktop": {'), "others among smoke, laptop, paper, got smoke, desktop"),
        (("def draw(", "def paint("), "expected a function draw"),
        (("import torch\n", "import torch\nimport no_such\n"), "cannot be loaded: ModuleNotFoundError: No module"),
        (("def draw(", "def draw(("), "cannot be loaded: SyntaxError"),
    ],
)
def test_what_is_no_script_is_refused(change, says, scripts):
    good = load("toy_walk")
    path = scripts / "toy_walk.py"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ValueError, match=says) as caught:
        load("toy_walk")
    assert str(path) in str(caught.value)
    assert sys.modules[PREFIX + "toy_walk"] is good


def test_a_missing_folder(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="expected a folder of scripts at .*none"):
        names()


def test_public_names():
    for name in dynlab.figures.__all__:
        assert getattr(dynlab.figures, name) is not None
