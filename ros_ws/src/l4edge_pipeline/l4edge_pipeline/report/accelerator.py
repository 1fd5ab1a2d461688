"""Draws the accelerator's report: one HTML page that needs no other file and no network."""

import math
from typing import Any, Dict, Iterable, List, Sequence, Tuple

from l4edge_accel.report import RESOURCES, AcceleratorReport, kind_name, utilization
from l4edge_accel.simulation_results import LayerRun, Simulation
from l4edge_pipeline.report.charts import FULL, HALF, Axes, Html, element
from l4edge_pipeline.report.templating import rendered

WORDS = {"luts": "LUTs", "ffs": "flip-flops", "dsps": "DSP blocks", "bram18": "memory blocks (18 kb)"}
TRANSFERS = ("activations", "weights", "outputs")
COLOURS = 6
"""Stage colours that kinds of layers take in turn."""

LABEL_WIDTH, LABEL_HEIGHT = 110, 13
"""Room for the name of a point in the roofline."""


def render_accelerator(report: AcceleratorReport, made: str) -> str:
    """The page as HTML text.

    Args:
        report: its numbers.
        made: when, and with what.

    Raises:
        InputError: the template engine is not installed.
    """
    colours = _colours(report)
    window = _window(report.simulation)
    return rendered(
        "accelerator.html.j2",
        report=report,
        simulation=report.simulation,
        made=made,
        held=report.frames_per_second is None or report.simulation.frames_per_second >= report.frames_per_second,
        tiles=_tiles(report),
        roofline=roofline(report, colours),
        whole=gantt(report, (0, report.simulation.cycles), colours),
        part=gantt(report, window[1], colours) if window[0] else "",
        part_name=window[0],
        key=[{"name": name, "colour": f"var(--{style})"} for name, style in colours.items()],
        widths=rate_by_width(report) if report.widths else "",
        resources=resource_bars(report),
        parts=[{"name": name, "colour": f"var(--stage-{place % COLOURS})"} for place, name in enumerate(report.parts)],
        kinds=_kind_rows(report),
        engines=_engine_rows(report),
    )


def _colours(report: AcceleratorReport) -> Dict[str, str]:
    return {kind.name: f"stage-{place % COLOURS}" for place, kind in enumerate(report.kinds[:COLOURS])}


def _colour(name: str, colours: Dict[str, str]) -> str:
    return colours.get(kind_name(name), "stage-7")


def _tiles(report: AcceleratorReport) -> List[Tuple[str, str]]:
    simulation = report.simulation
    tiles = [
        (f"{simulation.frames_per_second:.1f}", "inferences a second, modelled"),
        (f"{1e3 * max(simulation.latencies) / simulation.clock_hz:.1f} ms", "latency of one inference"),
        (f"{simulation.cycles:,}", "cycles"),
        (f"{simulation.clock_hz / 1e6:g} MHz", "clock, assumed"),
        (f"{simulation.bytes_moved / 1e6:.0f} MB", "to and from memory"),
        (f"{simulation.memory_busy:.0%}", "of the time the memory serves"),
    ]
    return tiles + [(f"{share:.0%}", WORDS[name]) for name, share in utilization(report).items()]


class _LogAxes:
    """Two scales of powers of ten."""

    def __init__(self, x_range: Tuple[float, float], y_range: Tuple[float, float]) -> None:
        self.width, self.height = FULL, 380
        self._x = [math.floor(math.log10(x_range[0])), math.ceil(math.log10(x_range[1]))]
        self._y = [math.floor(math.log10(y_range[0])), math.ceil(math.log10(y_range[1]))]
        self.left, self.right, self.top, self.bottom = 70, FULL - 14, 14, self.height - 40

    @property
    def ends(self) -> Tuple[float, float]:
        """The values at the left and the right edge."""
        return 10.0 ** self._x[0], 10.0 ** self._x[1]

    def x(self, value: float) -> float:
        """Where a value lies across."""
        share = (math.log10(value) - self._x[0]) / max(1, self._x[1] - self._x[0])
        return self.left + share * (self.right - self.left)

    def y(self, value: float) -> float:
        """Where a value lies down."""
        share = (math.log10(value) - self._y[0]) / max(1, self._y[1] - self._y[0])
        return self.bottom - share * (self.bottom - self.top)

    def draw(self, content: Iterable[str], labels: Tuple[str, str], title: str) -> Html:
        """The chart: grid, scales, then ``content``."""
        parts = []
        for power in range(self._x[0], self._x[1] + 1):
            x = self.x(10.0**power)
            parts.append(element("line", "grid", x1=x, x2=x, y1=self.top, y2=self.bottom))
            parts.append(element("text", "tick middle", f"{10.0**power:g}", x=x, y=self.bottom + 16))
        for power in range(self._y[0], self._y[1] + 1):
            y = self.y(10.0**power)
            parts.append(element("line", "grid", x1=self.left, x2=self.right, y1=y, y2=y))
            parts.append(element("text", "tick end", f"{10.0**power:g}", x=self.left - 7, y=y + 4))
        middle = 0.5 * (self.left + self.right)
        parts.append(element("text", "label middle", labels[0], x=middle, y=self.height - 4))
        turned = f"translate(13,{0.5 * (self.top + self.bottom):.1f}) rotate(-90)"
        parts.append(element("text", "label middle", labels[1], transform=turned))
        head = f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{title}">'
        return Html("".join([head, *parts, *content, "</svg>"]))


def roofline(report: AcceleratorReport, colours: Dict[str, str]) -> Html:
    """Operations a second over operations per byte: kinds of layers under the roofs of memory and engines."""
    kinds = [kind for kind in report.kinds if kind.operations and kind.size]
    intensities = [kind.intensity for kind in kinds] or [1.0]
    rates = [kind.operations_per_s / 1e9 for kind in kinds] or [1.0]
    ridges = [roof / report.bytes_per_s for roof in report.roofs.values()]
    roofs = [roof / 1e9 for roof in report.roofs.values()]
    low = 0.5 * min(intensities + ridges)
    axes = _LogAxes((low, 2 * max(intensities + ridges)), (0.5 * min(rates), 1.2 * max(roofs)))
    content = []
    left, right = axes.ends
    for name, roof in report.roofs.items():
        ridge = roof / report.bytes_per_s
        floor = max(report.bytes_per_s * left, 10 ** math.floor(math.log10(0.5 * min(rates))) * 1e9)
        points = [(floor / report.bytes_per_s, floor), (ridge, roof), (right, roof)]
        path = " ".join(f"{axes.x(x):.1f},{axes.y(y / 1e9):.1f}" for x, y in points)
        content.append(element("polyline", "line", points=path))
        words = f"{name}: {roof / 1e9:,.0f} GOPS"
        content.append(element("text", "label end", words, x=axes.right - 4, y=axes.y(roof / 1e9) - 5))
    written: List[Tuple[float, float]] = []
    for kind in sorted(kinds, key=lambda kind: -kind.operations_per_s):
        words = (
            f"{kind.name}: {kind.operations_per_s / 1e9:,.1f} GOPS at {kind.intensity:,.1f} operations per byte, "
            f"on {', '.join(kind.engines)}"
        )
        place = {"cx": axes.x(kind.intensity), "cy": axes.y(kind.operations_per_s / 1e9), "r": 5}
        content.append(element("circle", _colour(kind.name, colours), words, **place))
        x, y = place["cx"] + 8, place["cy"] + 16
        while any(abs(x - other) < LABEL_WIDTH and abs(y - height) < LABEL_HEIGHT for other, height in written):
            y += LABEL_HEIGHT
        written.append((x, y))
        content.append(element("text", "tick", kind.name, x=x, y=y))
    return axes.draw(content, ("operations per byte moved", "GOPS (2 per multiply-accumulate)"), "Roofline")


Row = Tuple[str, List[Tuple[float, float, str, str, float]]]
"""Name, and its pieces: start, end, style, words, opacity."""


def _bars(rows: Sequence[Row], extent: Tuple[float, float], label: str, title: str, width: int = FULL) -> Html:
    pitch, thickness = 24, 17
    axes = Axes(width, len(rows) * pitch + 56, extent, (0, 1), (label, ""), left=170)
    content = []
    for index, (name, pieces) in enumerate(rows):
        y = axes.top + index * pitch + 3
        content.append(element("text", "row end", name, x=axes.left - 9, y=y + 13))
        for begin, end, style, words, opacity in pieces:
            low, high = (axes.x(min(max(value, extent[0]), extent[1])) for value in (begin, end))
            if high > low:
                place = {"x": low, "y": y, "width": max(0.4, high - low), "height": thickness}
                content.append(element("rect", style, words, opacity=f"{opacity:.2f}", **place))
    return axes.draw(content, title, y_ticks=False)


def gantt(report: AcceleratorReport, extent: Tuple[int, int], colours: Dict[str, str]) -> Html:
    """When each engine computes, and when each of its streams moves; the fainter, the more it waits meanwhile."""
    simulation = report.simulation
    per_ms = simulation.clock_hz / 1e3
    shown = [layer for layer in simulation.layers if layer.end > extent[0] and layer.start < extent[1]]
    rows: List[Row] = []
    for engine in [*(one.name for one in report.accelerator.engines), "steps"]:
        own = [layer for layer in shown if engine in layer.engines]
        rows.append((engine + (": compute" if engine != "steps" else ""), [
            _piece(layer, "compute", (layer.compute.start, layer.compute.end, layer.compute.busy), per_ms, colours)
            for layer in own
        ]))  # fmt: skip
        for kind in TRANSFERS if engine != "steps" else ():
            spans = [(layer, layer.transfers[kind]) for layer in own if kind in layer.transfers]
            rows.append(("  " + kind, [
                _piece(layer, kind, (span.start, span.end, span.busy), per_ms, colours) for layer, span in spans
            ]))  # fmt: skip
    return _bars(rows, (extent[0] / per_ms, extent[1] / per_ms), "time [ms]", "Compute and transfer by layer")


def _piece(
    layer: LayerRun, what: str, span: Tuple[int, int, int], per_ms: float, colours: Dict[str, str]
) -> Tuple[float, float, str, str, float]:
    start, end, busy = span
    share = busy / max(1, end - start)
    number = f", inference {layer.inference}" if layer.inference else ""
    words = (
        f"{layer.name}{number}, {what}: {start / per_ms:.3f} to {end / per_ms:.3f} ms, {busy:,} of {end - start:,} "
        f"cycles busy"
    )
    return start / per_ms, end / per_ms, _colour(layer.name, colours), words, 0.25 + 0.75 * min(1.0, share)


def _window(simulation: Simulation) -> Tuple[str, Tuple[int, int]]:
    """The most expensive block, such as ``blocks.3``: its name, and when its layers ran; "" where there are none."""
    blocks: Dict[str, List[LayerRun]] = {}
    for layer in simulation.layers:
        parts = layer.name.split(".")
        if layer.inference == 0 and len(parts) > 2:
            blocks.setdefault(".".join(parts[:2]), []).append(layer)
    if not blocks:
        return "", (0, 0)
    name = max(blocks, key=lambda block: sum(layer.occupied for layer in blocks[block]))
    return name, (min(layer.start for layer in blocks[name]), max(layer.end for layer in blocks[name]))


def rate_by_width(report: AcceleratorReport) -> Html:
    """Inferences a second of the fastest design of each activation width, with the rate that is asked for."""
    widths = report.widths
    most = max([point.frames_per_second for point in widths] + [report.frames_per_second or 0.0])
    ends = (widths[0].activation_bits - 0.7, widths[-1].activation_bits + 0.7)
    axes = Axes(HALF, 260, ends, (0, 1.12 * most), ("activation bits", "inferences a second"))
    content = []
    for point in widths:
        middle, y = axes.x(point.activation_bits), axes.y(point.frames_per_second)
        half = 0.36 * (axes.x(1) - axes.x(0))
        style = "stage-1" if point.activation_bits == report.activation_bits else "bar"
        words = f"{point.activation_bits} bits: {point.frames_per_second:.1f} a second, limited by {point.binding}"
        place = {"x": middle - half, "y": y, "width": 2 * half, "height": axes.bottom - y}
        content.append(element("rect", style, words, **place))
    if report.frames_per_second:
        content.append(axes.level(report.frames_per_second))
        content.append(axes.level_words(report.frames_per_second, f"asked for: {report.frames_per_second:g}"))
    return axes.draw(content, "Rate by activation width")


def resource_bars(report: AcceleratorReport) -> Html:
    """Share of the device by resource, engine by engine; what a design may use is marked."""
    rows: List[Row] = []
    for name in RESOURCES:
        begin, pieces = 0.0, []
        for place, (part, need) in enumerate(report.parts.items()):
            share = 100 * getattr(need, name) / getattr(report.available, name)
            words = f"{part}: {getattr(need, name):,.0f} {WORDS[name]}, {share:.1f} %"
            pieces.append((begin, begin + share, f"stage-{place % COLOURS}", words, 1.0))
            begin += share
        if name in report.limits:
            limit = 100 * report.limits[name]
            pieces.append((limit - 0.3, limit + 0.3, "bar over", f"a design may use {limit:g} %", 1.0))
        rows.append((WORDS[name], pieces))
    return _bars(rows, (0.0, 100.0), "share of the device [%]", "Resources", HALF)


def _kind_rows(report: AcceleratorReport) -> List[Dict[str, Any]]:
    total = sum(kind.seconds for kind in report.kinds)
    return [
        {
            "name": kind.name, "count": kind.count, "engines": ", ".join(kind.engines),
            "ms": f"{1e3 * kind.seconds:.3f}", "share": f"{kind.seconds / total:.1%}",
            "gops": f"{kind.operations_per_s / 1e9:,.1f}" if kind.operations else "",
            "intensity": f"{kind.intensity:,.1f}" if kind.size else "", "busy": f"{kind.busy_share:.0%}",
            "stalls": ", ".join(f"{reason} {share:.0%}" for reason, share in kind.stalls.items() if share >= 0.005),
        }
        for kind in report.kinds
    ]  # fmt: skip


def _engine_rows(report: AcceleratorReport) -> List[Dict[str, str]]:
    cycles = report.simulation.cycles
    rows = []
    for run in report.simulation.engines:
        config = next((engine for engine in report.accelerator.engines if engine.name == run.name), None)
        tile = f"{config.rows} x {config.inputs} x {config.lanes}" if config else ""
        formats = ", ".join(f"{group.rows} {group.format} ({group.core})" for group in config.groups) if config else ""
        bits = str(config.activation_bits) if config else ""
        idle = cycles - run.busy - run.stalled
        rows.append({
            "name": run.name, "tile": tile, "formats": formats, "bits": bits, "busy": f"{run.busy / cycles:.1%}",
            "stalled": f"{run.stalled / cycles:.1%}", "idle": f"{idle / cycles:.1%}",
        })  # fmt: skip
    return rows
