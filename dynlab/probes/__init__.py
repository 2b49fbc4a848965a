"""Probes, one quantity a file. ``PROBES`` is what lists of probes read."""

from dynlab._lazy import lazy

PROBES: dict[str, str] = {
    "GradientNorm": "dynlab.probes.gradient_norm",
    "InputGradient": "dynlab.probes.input_gradient",
    "EndToEndJacobian": "dynlab.probes.end_to_end",
    "StepSpectrum": "dynlab.probes.step_spectrum",
    "EndToEndSpectrum": "dynlab.probes.end_to_end",
    "SingularValues": "dynlab.probes.exponents",
    "LyapunovSpectrum": "dynlab.probes.exponents",
    "TimeSteps": "dynlab.probes.time_steps",
    "PhasePortrait": "dynlab.probes.phase_portrait",
    "Equilibrium": "dynlab.probes.equilibrium",
    "Energy": "dynlab.probes.energy",
    "LossGradient": "dynlab.probes.loss_gradient",
    "Trajectory": "dynlab.probes.trajectory",
}
_ORIGIN = {"Probe": "dynlab.probes.base", "Observer": "dynlab.probes.base", "Variable": "dynlab.probes.base", **PROBES}
__all__ = ["PROBES", *sorted(_ORIGIN)]
__getattr__, __dir__ = lazy(__name__, _ORIGIN)
