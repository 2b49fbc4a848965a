from __future__ import annotations

from pathlib import Path

import pytest

from dynlab import _folders


def test_the_checkout_of_these_tests() -> None:
    assert _folders.folder("kernels") == Path(__file__).resolve().parents[1] / "kernels"


def test_the_checkout_first_then_what_the_package_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_folders, "_PACKAGE", tmp_path / "dynlab")
    carried, beside = tmp_path / "dynlab" / "_kernels", tmp_path / "kernels"
    with pytest.raises(FileNotFoundError, match="dynlab's kernels are missing: expected them at .*; reinstall dynlab"):
        _folders.folder("kernels")
    carried.mkdir(parents=True)
    beside.mkdir()
    assert _folders.folder("kernels") == carried  # the one beside it is another package's
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert _folders.folder("kernels") == carried
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "dynlab"\n')
    assert _folders.folder("kernels") == beside
