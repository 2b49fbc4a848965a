"""Datasets and trees of them on disk."""

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab import EndToEndSpectrum, GradientNorm, SingularValues, open_dataset, record, registry, save_dataset


def example():
    return xr.Dataset(
        {
            "value": (("time", "batch"), np.arange(6.0).reshape(3, 2), {"units": "nat"}),
            "eigenvalue": (("batch",), np.array([1 + 2j, np.nan]), {"units": "1"}),
            "single": (("time",), np.array([-np.inf, 0, 1], dtype=np.float32)),
            "good": (("batch",), np.array([True, False])),
            "kind": (("batch",), np.array(["vanishing", "no"])),
            "total": ((), 3.5),
        },
        {"time": [0, 1, 2], "quantile": ("time", np.array(["largest", "median", "smallest"]))},
        {"cell": "UnICORNN", "T": 3, "alpha": 0.5, "names": ["a", "b"], "flag": True},
    )


def equal(found, expected):
    assert found.attrs == expected.attrs
    assert set(found.variables) == set(expected.variables)
    for name in expected.variables:
        np.testing.assert_array_equal(found[name].values, expected[name].values)
        assert found[name].dims == expected[name].dims
        assert found[name].attrs == expected[name].attrs
        if expected[name].dtype.kind != "U":
            assert found[name].dtype == expected[name].dtype


def test_dataset(tmp_path):
    path = tmp_path / "deep" / "one.zarr"
    data = example()
    assert save_dataset(data, path) == path
    found = open_dataset(str(path))
    assert isinstance(found, xr.Dataset)
    equal(found, data)
    assert list(path.parent.iterdir()) == [path]


def test_tree(tmp_path):
    tree = xr.DataTree.from_dict({"first": example(), "second": example().assign_attrs(cell="GRU")})
    save_dataset(tree, tmp_path / "tree.zarr")
    found = open_dataset(tmp_path / "tree.zarr")
    assert isinstance(found, xr.DataTree)
    assert set(found.children) == {"first", "second"}
    equal(found["first"].to_dataset(), example())
    assert found["second"].attrs["cell"] == "GRU"


def test_records(tmp_path):
    cells = {"a": registry["unicornn"](2, 3), "b": registry["indrnn"](2, 3)}
    data = record(cells, torch.randn(5, 2, 2), [GradientNorm(), EndToEndSpectrum(), SingularValues(times=3)])
    found = open_dataset(save_dataset(data, tmp_path / "record.zarr"))
    for name in cells:
        equal(found[name].to_dataset(), data[name].to_dataset())
    assert np.iscomplexobj(found["a"].end_to_end_eigenvalue.values)


def test_overwrites_what_was_there(tmp_path):
    path = tmp_path / "one.zarr"
    save_dataset(example(), path)
    save_dataset(xr.Dataset({"other": ("x", [1.0])}), path)
    found = open_dataset(path)
    assert list(found.data_vars) == ["other"]
    assert not found.attrs
    # And what was opened can be saved over itself, once read.
    save_dataset(found.load(), path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "one.zarr"
    save_dataset(example(), path)
    broken = xr.Dataset({"bad": ("x", np.array([object()], dtype=object))})
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the store raises
        save_dataset(broken, path)
    equal(open_dataset(path), example())
    assert list(tmp_path.iterdir()) == [path]


def test_refuses_what_is_no_store(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("text")
    for name in ("mine", "file"):
        with pytest.raises(FileExistsError, match=f"expected a Zarr store or nothing at .*{name}"):
            save_dataset(example(), tmp_path / name)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_opens_only_stores(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        with pytest.raises(FileNotFoundError, match=f"expected a Zarr store at .*{name}, found none"):
            open_dataset(tmp_path / name)
