"""The benchmark of the comparison's latency: its arithmetic, what the kernel notes, and a run without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import widget_latency
from benchmarks.widget_latency import SLIDERS, VIEWS, Latency, burst_row, covered, latency, row
from benchmarks.widget_page import Seen, Span, watch
from dynlab.widgets import Compare
from dynlab.widgets.comparison import PAPERS
from dynlab.widgets.views.grid import VIEWS as ALL_VIEWS


def test_a_press_ends_with_the_last_new_picture():
    seen = Seen(
        acts=[100.0],
        shown=[("gradient", 100.30), ("phase", 100.45), ("gradient", 100.40)],
        spans=[
            Span("compute", 100.02, 100.12),
            Span("draw", 100.12, 100.20),
            Span("compute", 100.20, 100.25),
            Span("draw", 100.25, 100.38),
            Span("draw", 100.44, 100.60),  # goes on after the last picture: what it draws looks the same
            Span("compute", 100.50, 101.0),
            Span("idle", 101.0, 101.0),
        ],
    )
    found = latency(seen)
    assert found == pytest.approx(Latency(total=0.45, there=0.02, compute=0.15, draw=0.22, first=0.30))
    assert found.rest == pytest.approx(0.06)
    assert latency(seen._replace(shown=[])) is None


def test_what_threads_draw_at_the_same_time_counts_once():
    spans = [Span("draw", 1.0, 4.0), Span("draw", 2.0, 3.0), Span("draw", 3.5, 6.0), Span("draw", 7.0, 9.0)]
    assert covered(spans[::-1], 8.0) == pytest.approx(6.0)


def test_rows_say_how_many_presses_changed_a_picture():
    found = [Latency(total, 0.01, 0.02, 0.03, total / 2) for total in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert row("dt", found) == ("dt", "300", "200 - 400", "10", "20", "30", "240", "150", "5")
    assert row("dt", [*found, None])[-1] == "5 of 6"
    assert row("dt", [None])[1] == "no picture changed"
    seen = Seen([10.0, 10.5, 11.0], [("gradient", 10.2), ("gradient", 11.1), ("phase", 11.25)], [])
    assert burst_row("dt", seen) == ("dt", "3", "1.00", "2", "250")


def test_the_kernel_notes_what_it_computes_and_draws(tmp_path: Path):
    # Small, and with every view that is measured: the names must fit those of the widget.
    views = VIEWS["all six"][0]
    assert set(views) == set(ALL_VIEWS) - {"layers", "theory"}
    assert tuple(SLIDERS) == PAPERS
    widget = Compare(cells=tuple(SLIDERS), hidden_size=4, steps=6, views=views, threaded=False)
    watch(widget, str(tmp_path / "spans.jsonl"))

    def noted() -> list[str]:
        spans = [Span(*json.loads(line)) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
        assert all(span.begin <= span.end for span in spans)
        assert [span.end for span in spans] == sorted(span.end for span in spans)
        return [span.kind for span in spans]

    for index, name in enumerate(SLIDERS.values()):
        control = widget.cells.rows[index].controls[name]
        assert f"dynlab-{name}" in control._dom_classes
    # What is quick is shown before the singular values.
    pressed = ["compute", "draw", "compute", "draw", "idle"]
    control.value *= 0.5
    assert noted() == pressed
    widget.time = 3
    assert noted() == [*pressed, "draw"]
    widget.close()


def test_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A run over a page that is not there, as ``main`` makes it."""
    acts: list[tuple[str, ...]] = []
    seen = Seen([0.0], [("gradient", 0.08)], [Span("compute", 0.01, 0.03), Span("draw", 0.03, 0.05)])

    class Page:
        version = "0"

        def __enter__(self) -> Page:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def press(self, cell: int, name: str, times: int = 1, every: float = 0.0) -> Seen:
            acts.append((str(cell), name))
            return seen

        def drag(self, view: str, places: list[float], every: float | None = None) -> list[Seen]:
            return [seen] * (1 if every else len(places) - 1)

    class Browser(Page):
        pass

    for name in ("opened", "browser_of"):
        monkeypatch.setattr(widget_latency, name, lambda *_: Browser())
    monkeypatch.setattr(widget_latency, "FRONT_ENDS", {"JupyterLab": lambda _: Page(), "voila": lambda _: Page()})
    monkeypatch.setattr(widget_latency.shutil, "which", lambda _: "chromium")
    monkeypatch.setattr(widget_latency, "find_spec", lambda _: True)
    out = tmp_path / "table.md"
    assert widget_latency.main(["--presses", "4", "--warm-up", "2", "--front-end", "both", "--out", str(out)]) == 0
    text = out.read_text()
    assert text.count("| gradient alone: all three sliders | 80 | 80 - 80 | 10 | 20 | 20 | 30 | 80 | 12 |") == 2
    assert "gradient alone: 80 ms, aim below 100 ms, reached" in text
    assert "all six: 80 ms, aim below 250 ms, reached" in text
    assert "| all six: cursor, dragged | 80 |" in text
    assert acts[:7] == [("0", "dt")] * 6 + [("1", "eta")]


def test_without_a_browser_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(widget_latency.shutil, "which", lambda _: None)
    assert widget_latency.main(["--quick"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "benchmarks: expected a browser to measure in, there is no chromium\n"
