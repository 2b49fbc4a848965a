import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import dynlab
from dynlab.references import BIBTEX

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch"}
CONDA_ONLY = {"pip", "cxx-compiler", "cuda-nvcc"}
CARRIED = ("kernels", "figures", "notebooks")


def requirement(text):
    """Name and version range of a requirement such as "zarr>=3"."""
    return re.fullmatch(r"([A-Za-z0-9_-]+)\s*(.*)", text).groups()


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_conda_lists_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    *conda, last = environment["dependencies"]
    listed = dict(map(requirement, conda))
    assert listed.pop("python") == PROJECT["requires-python"]
    assert set(listed) > CONDA_ONLY
    listed = {name: version for name, version in listed.items() if name not in CONDA_ONLY}
    assert last["pip"].pop() == "--editable ."
    assert not set(last["pip"]) & set(listed)
    listed |= dict(map(requirement, last["pip"]))
    assert listed == {
        CONDA_NAMES.get(name, name): version for name, version in map(requirement, PROJECT["dependencies"])
    }


def test_every_direct_dependency_is_pinned():
    extras = PROJECT["optional-dependencies"]
    direct = {requirement(text)[0] for text in [*PROJECT["dependencies"], *extras["test"], *extras["benchmark"]]}
    assert pins()["torch"] == "2.13.0"
    assert not direct - set(pins())
    assert all(re.fullmatch(r"[\d.]+", version) for version in pins().values())


def test_every_install_of_the_makefile_is_constrained():
    installs = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "pip install" in line]
    assert installs and all("--constraint constraints.txt" in line for line in installs)


def test_license():
    # The sha256 of the Apache Software Foundation's LICENSE-2.0.txt.
    canonical = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == canonical
    assert PROJECT["license"] == "Apache-2.0"


def test_citation_agrees_with_the_references():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == dynlab.__version__
    assert citation["license"] == PROJECT["license"]
    keys = []
    for paper in citation["references"]:
        keys.append(re.search(r"cite\('(\w+)'\)", paper["notes"])[1])
        entry = " ".join(BIBTEX[keys[-1]].split())
        assert f"title = {{{paper['title']}}}" in re.sub(r"(?<== \{)\{(\w+)\}|\{(\w+)\}", r"\1\2", entry)
        names = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])
        assert f"author = {{{names}}}" in entry
        assert f"year = {{{paper['year']}}}" in entry and paper["url"] in entry
    assert keys == ["rusch2021unicornn", "kag2020rnns", "chang2019antisymmetricrnn"]


def test_import_is_light():
    heavy = (
        "xarray matplotlib scipy sklearn pykeops ipywidgets zarr pooch typer rich jupyterlab pandas torchrecurrent "
        "lightning pytorch_lightning torchmetrics tensorboard"
    ).split()
    code = "import sys, json, dynlab; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(json.loads(done.stdout))
    assert {"torch", "numpy"} <= loaded
    assert not loaded & set(heavy)
    assert done.stderr == ""


@pytest.mark.parametrize("name", dynlab.__all__)
def test_public_name(name):
    assert getattr(dynlab, name) is not None
    assert name in {*dir(dynlab), "__version__"}


@pytest.mark.slow
def test_the_wheel_carries_kernels_figures_and_notebooks(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    done = subprocess.run([*command, "--wheel-dir", str(tmp_path), str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("dynlab-*.whl")
    info = f"dynlab-{dynlab.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"{info}/METADATA").decode()
        commands = archive.read(f"{info}/entry_points.txt").decode()
    expected = files("dynlab", "dynlab") | {name for folder in CARRIED for name in files(folder, f"dynlab/_{folder}")}
    assert {name for name in names if not name.startswith(f"{info}/")} == expected
    assert "License-Expression: Apache-2.0" in metadata
    assert "dynlab = dynlab.cli:main" in commands


def files(folder, renamed):
    """The files that a folder of the sources gives to the wheel, under its name there."""
    paths = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()]
    made = {"__pycache__", "build"}
    return {
        f"{renamed}/{path.as_posix()}"
        for path in paths
        if not any(part in made or part.startswith(".") for part in path.parent.parts)
        and (folder, *path.parts)[:2] not in {("figures", "report"), ("figures", "screenshots")}
    }
