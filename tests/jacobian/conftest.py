"""What several tests of Jacobians run through."""

import pytest

import dynlab.trace


@pytest.fixture(params=["formed together", "formed one by one", "structured"])
def form(request, monkeypatch):
    """Small step Jacobians are formed many at once, larger ones each when it is used, or not at all: all the same."""
    if request.param != "formed together":
        monkeypatch.setattr(dynlab.trace, "FORMED_BYTES", 0)
    if request.param == "structured":
        monkeypatch.setattr("dynlab.jacobian.step.FORMED_SIZE", 0)
    return request.param
