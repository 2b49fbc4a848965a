import numpy as np
import pytest

from dynlab.tasks import DataError
from dynlab.tasks.npz import read_npz

SHAPES = {"x": (2, 3), "y": ()}


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.npz"


def test_arrays(path):
    x, y = np.arange(24, dtype=np.uint8).reshape(4, 2, 3), np.arange(4, dtype=np.uint8)
    np.savez(path, x=x, y=y, another=np.zeros(3))
    arrays = read_npz(path, SHAPES, np.uint8)
    assert list(arrays) == ["x", "y"] and np.array_equal(arrays["x"], x) and np.array_equal(arrays["y"], y)


def test_a_pickle_is_not_executed(path):
    np.savez(path, x=np.array([Trap()], dtype=object), y=np.zeros(1))
    with pytest.raises(DataError, match="file.npz: expected an npz file without pickles"):
        read_npz(path, SHAPES, np.uint8)


def test_cut_short(path):
    np.savez(path, x=np.zeros((4, 2, 3), np.uint8), y=np.zeros(4, np.uint8))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", np.lib.format.magic(1, 0)):
        path.write_bytes(content)
        with pytest.raises(DataError, match="expected a complete npz file, got one that does not unpack"):
            read_npz(path, SHAPES, np.uint8)
    path.write_bytes(whole[:150] + b"\xff" + whole[151:])
    with pytest.raises(DataError, match="expected an npz file without pickles, got one that does not load"):
        read_npz(path, SHAPES, np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((4, 2, 3), np.uint8)}, "expected an array y, found none"),
        ({"x": np.zeros((4, 3, 2), np.uint8), "y": np.zeros(4, np.uint8)},
         r"expected x of shape \(sample, 2, 3\), got uint8 \(4, 3, 2\)"),
        ({"x": np.zeros((4, 2, 3)), "y": np.zeros(4, np.uint8)}, r"expected x of .*, got float64 \(4, 2, 3\)"),
        ({"x": np.zeros((4, 2, 3), np.uint8), "y": np.uint8(1)}, r"expected y of shape \(sample\), got uint8 \(\)"),
    ],
)  # fmt: skip
def test_another_content(path, arrays, message):
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        read_npz(path, SHAPES, np.uint8)
