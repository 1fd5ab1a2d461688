"""The report's charts as SVG text. Colours come from the page's style sheet, so that they follow light and dark."""

import math
from html import escape
from typing import Any, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from l4edge_pipeline.report.latency import SEGMENTS

FULL, HALF = 1080, 530
"""Widths of a chart: of the page's column, and of one of two side by side."""

MOST_POINTS = 1000
"""More points than the chart has columns cannot be told apart; see :func:`thin`."""

TIME = "time of the frame [s]"


class Html(str):
    """Text that is HTML already: by the ``__html__`` protocol, template engines do not escape it again."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def element(tag: str, style: str, words: str = "", **attributes: Any) -> str:
    """One SVG element.

    Args:
        tag: such as ``rect``.
        style: classes of the style sheet.
        words: of a ``text``; of any other element, shown when a pointer rests on it.
        attributes: numbers are cut to 0.1 units.
    """
    pairs = "".join(
        ' {}="{}"'.format(name, f"{value:.1f}" if isinstance(value, float) else escape(str(value)))
        for name, value in attributes.items()
    )
    content = escape(words) if tag == "text" or not words else f"<title>{escape(words)}</title>"
    return f'<{tag} class="{escape(style)}"{pairs}>{content}</{tag}>'


class Axes:
    """A rectangle with two linear scales.

    Args:
        width, height: of the whole chart.
        x_range, y_range: values at the edges.
        labels: of both scales, with units.
        left: room for the names of rows or the scale's numbers.
    """

    def __init__(
        self,
        width: int,
        height: int,
        x_range: Tuple[float, float],
        y_range: Tuple[float, float],
        labels: Tuple[str, str],
        left: int = 60,
    ) -> None:
        self.width, self.height = width, height
        self.x_range, self.y_range = x_range, y_range
        self.left, self.top = left, 18
        self.right, self.bottom = width - 14, height - 36
        self._labels = labels

    def x(self, value: float) -> float:
        """Where a value lies across."""
        low, high = self.x_range
        return self.left + float(value - low) / ((high - low) or 1) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Where a value lies down."""
        low, high = self.y_range
        return self.bottom - float(value - low) / ((high - low) or 1) * (self.bottom - self.top)

    def curve(self, xs: Iterable[float], ys: Iterable[float], style: str = "line") -> str:
        """A polyline."""
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys))
        return element("polyline", style, points=points)

    def level(self, value: float) -> str:
        """A horizontal limit."""
        return element("line", "limit", x1=self.left, x2=self.right, y1=self.y(value), y2=self.y(value))

    def level_words(self, value: float, words: str) -> str:
        """The name of a horizontal limit; comes after what it must stay legible on."""
        return element("text", "limit-label end", words, x=self.right - 4, y=self.y(value) - 5)

    def upright(self, value: float, words: str) -> str:
        """A marked vertical limit."""
        x = self.x(value)
        line = element("line", "limit", x1=x, x2=x, y1=self.top, y2=self.bottom)
        x = min(max(x, self.left + 50), self.right - 50)
        return line + element("text", "limit-label middle", words, x=x, y=self.top - 5)

    def draw(self, content: Iterable[str], title: str, y_ticks: bool = True) -> Html:
        """The chart: grid, scales, then ``content``."""
        parts = []
        for value in ticks(*self.x_range):
            x = self.x(value)
            parts.append(element("line", "grid", x1=x, x2=x, y1=self.top, y2=self.bottom))
            parts.append(element("text", "tick middle", f"{value:g}", x=x, y=self.bottom + 16))
        for value in ticks(*self.y_range) if y_ticks else ():
            y = self.y(value)
            parts.append(element("line", "grid", x1=self.left, x2=self.right, y1=y, y2=y))
            parts.append(element("text", "tick end", f"{value:g}", x=self.left - 7, y=y + 4))
        across, up = self._labels
        parts.append(element("text", "label middle", across, x=0.5 * (self.left + self.right), y=self.height - 4))
        if up:
            turned = f"translate(13,{0.5 * (self.top + self.bottom):.1f}) rotate(-90)"
            parts.append(element("text", "label middle", up, transform=turned))
        head = f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(title)}">'
        return Html("".join([head, *parts, *content, "</svg>"]))


def ticks(low: float, high: float, most: int = 8) -> List[float]:
    """Round values between ``low`` and ``high``: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if (high - low) / (factor * power) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def thin(times: np.ndarray, values: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """At most MOST_POINTS points that keep every peak: the largest value of each short stretch."""
    if len(values) <= MOST_POINTS:
        return times, values
    starts = np.linspace(0, len(values), MOST_POINTS, endpoint=False).astype(int)
    peaks = [start + int(np.argmax(part)) for start, part in zip(starts, np.split(values, starts[1:]))]
    return times[peaks], values[peaks]


def latency_over_time(
    times_s: np.ndarray, latencies_ms: np.ndarray, missing_s: Sequence[float], budget_ms: float
) -> Html:
    """Latency of each frame; marks at the foot for the frames that gave no result, arrows for those beyond the top."""
    end = max([*times_s[-1:].tolist(), *missing_s, 1e-3])
    top = _longest(latencies_ms, budget_ms)
    axes = Axes(FULL, 250, (0, end), (0, 1.06 * top), (TIME, "ms"))
    xs, ys = thin(times_s, latencies_ms)
    gaps = np.unique(np.searchsorted(xs, missing_s))
    content = [axes.level(budget_ms)]
    content += [
        axes.curve(part, values)
        for part, values in zip(np.split(xs, gaps), np.split(np.minimum(ys, top), gaps))
        if len(part) > 1
    ]
    for x, y in zip(xs, ys):
        words = f"{x:.2f} s: {y:.2f} ms"
        if y > top:
            content.append(element("path", "beyond", words, d=f"M{axes.x(x):.1f} {axes.y(top):.1f}l-4 8h8z"))
        else:
            style = "dot over" if y > budget_ms else "dot"
            content.append(element("circle", style, words, cx=axes.x(x), cy=axes.y(y), r=2.4))
    for moment in missing_s[:MOST_POINTS]:
        foot = f"M{axes.x(moment):.1f} {axes.bottom}v-9"
        content.append(element("path", "missing", f"{moment:.2f} s: no result", d=foot))
    content.append(axes.level_words(budget_ms, f"budget {budget_ms:g} ms"))
    return axes.draw(content, "Chain latency over time")


def _longest(latencies_ms: np.ndarray, budget_ms: float) -> float:
    """The largest latency that a chart has room for: one frame far out must not flatten all others."""
    return max(budget_ms, min(float(latencies_ms.max(initial=0)), 3 * budget_ms))


def latency_distribution(latencies_ms: np.ndarray, budget_ms: float) -> Html:
    """Histogram of the frames, and over it the share of frames that took no longer; the last bar takes the rest."""
    longest = _longest(latencies_ms, budget_ms) * 1.05
    counts, edges = np.histogram(np.minimum(latencies_ms, longest), bins=60, range=(0, longest))
    axes = Axes(HALF, 240, (0, longest), (0, 1), ("latency [ms]", "share of frames"))
    tallest = counts.max(initial=1)
    content = []
    for place, count in enumerate(counts):
        if count:
            low, high = edges[place : place + 2]
            y = axes.y(0.9 * count / tallest)
            style = "bar over" if low >= budget_ms else "bar"
            more = " and more" if place == len(counts) - 1 else ""
            words = f"{low:.1f} to {high:.1f} ms{more}: {count} frames"
            width, height = axes.x(high) - axes.x(low) - 1, axes.bottom - y
            content.append(element("rect", style, words, x=axes.x(low), y=y, width=width, height=height))
    ordered = np.sort(latencies_ms)
    xs, ys = thin(ordered, np.arange(1, len(ordered) + 1) / max(1, len(ordered)))
    inside = xs <= longest
    xs, ys = xs[inside], ys[inside]
    content.append(axes.curve([0.0, *xs[:1], *xs, longest], [0.0, 0.0, *ys, *(ys[-1:] if len(ys) else [0.0])]))
    content.append(axes.upright(budget_ms, f"budget {budget_ms:g} ms"))
    return axes.draw(content, "Distribution of the chain latency")


class Span(NamedTuple):
    """One piece of a row; ``style`` names classes of the style sheet."""

    start: float
    length: float
    style: str
    words: str


Row = Tuple[str, Sequence[Span]]


def _bars(
    rows: Sequence[Row], width: int, longest: float, labels: Tuple[str, str], mark: Optional[Tuple[float, str]] = None
) -> Html:
    """Rows of spans, cut off at ``longest``; ``labels`` are those of the scale and of the chart."""
    pitch, thickness = 26, 17
    axes = Axes(width, len(rows) * pitch + 54, (0, longest), (0, 1), (labels[0], ""), left=136)
    content = []
    for index, (name, spans) in enumerate(rows):
        y = axes.top + index * pitch + 4
        content.append(element("text", "row end", name, x=axes.left - 9, y=y + 13))
        for span in spans:
            start, end = (axes.x(min(value, longest)) for value in (span.start, span.start + span.length))
            place = {"x": start, "y": y, "width": max(0.0, end - start), "height": thickness}
            content.append(element("rect", span.style, span.words, **place))
    if mark:
        content.append(axes.upright(*mark))
    return axes.draw(content, labels[1], y_ticks=False)


def segment_bars(stages: Sequence[str], mean_ms: np.ndarray) -> Html:
    """Where the time of a stage goes.

    Args:
        stages: S names.
        mean_ms: (S, 4) mean of each of ``SEGMENTS``.
    """
    rows = []
    for stage, values in zip(stages, mean_ms):
        spans = [
            Span(start, length, "segment-" + name, f"{stage}: {name} {length:.2f} ms")
            for name, start, length in zip(SEGMENTS, np.cumsum(values) - values, values)
        ]
        rows.append((stage, spans))
    longest = max(float(mean_ms.sum(axis=1).max(initial=0)), 1e-3) * 1.05
    return _bars(rows, HALF, longest, ("mean time of a frame in the stage [ms]", "Time per stage by kind"))


def frame_bars(labels: Sequence[str], stages: Sequence[str], segments_ms: np.ndarray, budget_ms: float) -> Html:
    """What happened when to single frames.

    Args:
        labels: F names of frames.
        stages: S names.
        segments_ms: (F, S, 4) by ``SEGMENTS``.
        budget_ms: of the chain.
    """
    names = [(stage, index, name) for index, stage in enumerate(stages) for name in SEGMENTS]
    rows = []
    for label, lengths in zip(labels, segments_ms.reshape(len(labels), -1)):
        spans = [
            Span(start, length, f"stage-{index % 8} part-{name}", f"{stage}: {name} {length:.2f} ms")
            for (stage, index, name), start, length in zip(names, np.cumsum(lengths) - lengths, lengths)
        ]
        rows.append((label, spans))
    longest = _longest(segments_ms.sum(axis=(1, 2)), budget_ms) * 1.03
    words = ("time since the frame arrived [ms]", "The slowest frames, step by step")
    return _bars(rows, FULL, longest, words, (budget_ms, f"budget {budget_ms:g} ms"))


def life_bars(rows: Sequence[Row], end_s: float) -> Html:
    """Rows of spans over the time of the recording."""
    return _bars(rows, FULL, max(end_s, 1e-3), (TIME, "When each track was seen"))


class Line(NamedTuple):
    """A curve with its name and the classes of its style."""

    name: str
    style: str
    xs: np.ndarray
    ys: np.ndarray


def curves(lines: Sequence[Line], y_label: str, title: str) -> Html:
    """Several curves over the time of the recording."""
    low = min(0.0, *(float(np.min(line.ys)) for line in lines))
    high = max(0.1, *(float(np.max(line.ys)) for line in lines))
    end = max(1e-3, *(float(line.xs[-1]) for line in lines))
    axes = Axes(HALF, 200, (0, end), (low, low + 1.1 * (high - low)), (TIME, y_label))
    return axes.draw([axes.curve(line.xs, line.ys, "line " + line.style) for line in lines], title)
