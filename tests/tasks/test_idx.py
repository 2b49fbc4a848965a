import gzip
import struct

import numpy as np
import pytest

from dynlab.tasks import DataError
from dynlab.tasks.idx import parse_idx, read_idx

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
CONTENT = struct.pack(">4i", 2051, 2, 3, 4) + IMAGES.tobytes()


def test_images_and_labels(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(CONTENT))
    assert np.array_equal(read_idx(path, axes=3), IMAGES)
    assert np.array_equal(parse_idx(struct.pack(">2i", 2049, 3) + b"\x07\x00\x09", 1, "labels"), [7, 0, 9])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an idx header of 16 bytes, got 0 bytes"),
        (CONTENT[:15], "expected an idx header of 16 bytes, got 15 bytes"),
        (struct.pack(">4i", 2049, 2, 3, 4) + CONTENT[16:], r"expected magic number 2051 \(.*3 axes\), got 2049"),
        (struct.pack("<4i", 2051, 2, 3, 4) + CONTENT[16:], "expected magic number 2051"),
        (CONTENT[:-1], "expected 2 x 3 x 4 bytes after the header, got 23"),
        (CONTENT + b"\0", "expected 2 x 3 x 4 bytes after the header, got 25"),
        # Sizes whose product wraps around 32 and 64 bits.
        (struct.pack(">4I", 2051, 2**31, 2**31, 4), "expected 2147483648 x 2147483648 x 4 bytes"),
    ],
)
def test_bad_content(content, message):
    with pytest.raises(DataError, match=f"here: {message}"):
        parse_idx(content, 3, "here")


PACKED = gzip.compress(CONTENT)
DAMAGED = bytearray(PACKED)
DAMAGED[-6] ^= 0xFF  # in the checksum


@pytest.mark.parametrize(
    "packed", [PACKED[: len(PACKED) // 2], PACKED[:5], bytes(DAMAGED), CONTENT, PACKED[:12] + b"\xff" * 40]
)
def test_bad_gzip(tmp_path, packed):
    path = tmp_path / "images.gz"
    path.write_bytes(packed)
    with pytest.raises(DataError, match=r"images.gz: expected a complete gzip file"):
        read_idx(path, axes=3)
