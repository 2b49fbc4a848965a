"""The view of a proposition: its bound over what was measured."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable

from dynlab.plots.theory import bound_overlay, gamma_along_trace
from dynlab.theory.base import axis_of
from dynlab.widgets.views.base import Scene, View


class TheoryView(View):
    """A proposition of a paper, evaluated on one of the cells and the same inputs."""

    name, label, title = "theory", "Theory", "What a paper proves, measured"
    probes = ()
    timed = False
    size = (4.8, 3.2)

    def structure(self, scene: Scene) -> Hashable:
        return id(scene.finding)

    def build(self, scene: Scene) -> None:
        finding = scene.finding
        if finding is None:
            self.figure.text(0.5, 0.5, "no proposition is chosen", ha="center", va="center")
            return
        attrs = finding.attrs
        failed = [str(name) for name in finding["hypothesis"].values[~finding["hypothesis_holds"].values]]
        lines = [f"{attrs['proposition']} ({attrs['reference']}): {attrs['verdict']}"]
        lines += [textwrap.shorten(f"needs {'; '.join(failed)}", 90, placeholder=" …")] if failed else []
        self.figure.suptitle("\n".join(textwrap.fill(line, 84) for line in lines), fontsize=7.5, y=0.985, va="top")
        axis, traced = axis_of(finding), "gamma_along_trace" in finding
        if axis is None and not traced:
            bound, measured = finding["bound"].item(), finding["measured"].item()
            self.figure.text(
                0.5,
                0.45,
                f"measured {measured:.4g}\n{attrs['relation']} {bound:.4g}",
                ha="center",
                va="center",
                fontsize=14,
            )
            return
        axes = self.figure.subplots()
        self.figure.subplots_adjust(left=0.17, right=0.97, bottom=0.16, top=0.8)
        if traced:
            gamma_along_trace(finding, axes)
        else:
            bound_overlay(finding, axes, axis)

    def update(self, scene: Scene) -> None:
        """Nothing: a finding is drawn as a whole."""

    def sentence(self, scene: Scene) -> str:
        attrs = scene.finding.attrs if scene.finding is not None else None
        return self.title + (f": {attrs['proposition']}, {attrs['statement']}: {attrs['verdict']}" if attrs else "")
