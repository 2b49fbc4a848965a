"""What the tests of the native recurrences share."""

import pytest

from .cases import cpu_library


@pytest.fixture(scope="session")
def native():
    """The CPU library, for tests that need native code."""
    return cpu_library()
