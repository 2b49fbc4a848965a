import pytest

from dynlab.tasks.scaling import pixel_scale, standardised


def test_in_words():
    assert standardised((5.0,), (2.0,)) == "(pixel - 5) / 2, the mean and standard deviation of all training pixels"
    assert standardised((1.0, 2.0), (3.0, 4.0)).startswith("(pixel - (1, 2)) / (3, 4)")
    assert standardised((1.0, 2.0), (3.0, 4.0)).endswith("of all training pixels, by channel")


def test_fields():
    assert pixel_scale("unit", (5.0,), (2.0,)) == {"mean": 0.0, "std": 255.0, "normalisation": "pixel / 255"}
    one, three = pixel_scale("standard", (5.0,), (2.0,)), pixel_scale("standard", (1.0, 2.0), (3.0, 4.0), repeat=2)
    assert (one["mean"], one["std"]) == (5.0, 2.0)
    assert (three["mean"], three["std"]) == ((1.0, 1.0, 2.0, 2.0), (3.0, 3.0, 4.0, 4.0))
    with pytest.raises(ValueError, match="expected scale to be one of 'standard', 'unit', got 'log'"):
        pixel_scale("log", (5.0,), (2.0,))
