"""The papers' propositions, evaluated: a bound beside a measured value, and whether the hypotheses hold."""

from dynlab._lazy import lazy

_ORIGIN = {
    "PROPOSITIONS": "dynlab.theory._registry",
    "evaluate_all": "dynlab.theory._registry",
    "find_proposition": "dynlab.theory._registry",
    "Hypothesis": "dynlab.theory.base",
    "Proposition": "dynlab.theory.base",
    "finding": "dynlab.theory.base",
}
__all__ = sorted(_ORIGIN)
__getattr__, __dir__ = lazy(__name__, _ORIGIN)
