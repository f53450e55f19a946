"""Figures as SVG: a frame with axes, points of trials in a shape and colour of their own, a legend.

A figure is as wide as the page lets it; its colours are those of style.css, by class, for light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from autoopt.report.page.axes import Axis
from autoopt.report.page.html import Child, element

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 74, 16, 14, 52
"""The space around the axes, in user units."""
SHAPES = ("circle", "square", "triangle", "diamond", "down", "hexagon", "plus")
"""Names of shapes; figures deal them out in this order, each with the colour class of its place (c0, c1, ...)."""


def figure(*children: Child, title: str, width: int = WIDTH, height: int = HEIGHT, label: str = "") -> Markup:
    """A drawing with a title for screen readers, as wide as the page; `label` is the line below it."""
    drawn = element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {width} {height}",
        role="group",
        aria_label=title,
        xmlns="http://www.w3.org/2000/svg",
    )
    return element("figure", element("div", drawn, class_="figure"), element("figcaption", label) if label else None)


def across(low: float, high: float, *, log: bool = False, width: int = WIDTH) -> Axis:
    """The horizontal axis of a figure."""
    return Axis(low, high, LEFT, width - RIGHT, log)


def upwards(low: float, high: float, *, log: bool = False, height: int = HEIGHT) -> Axis:
    """The vertical axis of a figure."""
    return Axis(low, high, height - BOTTOM, TOP, log)


def frame(x: Axis, y: Axis, x_title: str, y_title: str) -> Markup:
    """The grid, the ticks with their numbers, and the titles of two axes."""
    parts: list[Child] = []
    for value in x.ticks():
        place = x.at(value)
        parts += [line((place, y.start), (place, y.end), "grid"), text(place, y.start + 18, x.text(value), "middle")]
    for value in y.ticks():
        place = y.at(value)
        parts += [line((x.start, place), (x.end, place), "grid"), text(x.start - 8, place + 4, y.text(value), "end")]
    parts += [line((x.start, y.start), (x.end, y.start), "axis"), line((x.start, y.start), (x.start, y.end), "axis")]
    middle = (y.start + y.end) / 2
    parts.append(text((x.start + x.end) / 2, y.start + 42, x_title, "middle", class_="title"))
    parts.append(text(14, middle, y_title, "middle", class_="title", transform=f"rotate(-90 14 {middle:g})"))
    return element("g", *parts, class_="frame", aria_hidden="true")


def text(x: float, y: float, shown: str, anchor: str = "start", **attributes: Any) -> Markup:
    """A line of text; `anchor` says which end of it is at the place: start, middle, end."""
    return element("text", shown, x=f"{x:g}", y=f"{y:g}", text_anchor=anchor, **attributes)


def line(start: tuple[float, float], end: tuple[float, float], class_: str, **attributes: Any) -> Markup:
    """A straight line."""
    ends = {"x1": f"{start[0]:g}", "y1": f"{start[1]:g}", "x2": f"{end[0]:g}", "y2": f"{end[1]:g}"}
    return element("line", **ends, class_=class_, **attributes)


def path(points: Sequence[tuple[float, float]], class_: str, *, closed: bool = False) -> Markup:
    """A line through points."""
    steps = "L".join(f"{x:g} {y:g}" for x, y in points)
    return element("path", d=f"M{steps}{'Z' if closed else ''}", class_=class_)


def mark(x: float, y: float, shape: str, size: float, class_: str) -> Markup:
    """A mark in one of `SHAPES`, about as large as a circle of the radius `size`."""
    if shape == "circle":
        return element("circle", cx=f"{x:g}", cy=f"{y:g}", r=f"{size:g}", class_=class_)
    corners = [(x + size * dx, y + size * dy) for dx, dy in _corners(shape)]
    return path([(round(px, 1), round(py, 1)) for px, py in corners], class_, closed=True)


def point(number: int, words: str, *children: Child, class_: str = "") -> Markup:
    """What is drawn of a trial: a link to its row, which tells its `words` to whoever points at it or hears it."""
    return element(
        "a", element("title", words), *children, href=f"#t{number}", data_n=number, class_=f"point {class_}".strip()
    )


def _corners(shape: str) -> list[tuple[float, float]]:
    if shape == "square":
        return [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
    if shape == "triangle":
        return [(0.0, -1.25), (1.15, 0.85), (-1.15, 0.85)]
    if shape == "down":
        return [(0.0, 1.25), (1.15, -0.85), (-1.15, -0.85)]
    if shape == "diamond":
        return [(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]
    if shape == "plus":
        a, b = 0.4, 1.2
        right = [(a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b)]
        return [*right, *((-px, -py) for px, py in right)]
    return [(1.1 * math.sin(math.pi * k / 3), 1.1 * math.cos(math.pi * k / 3)) for k in range(6)]
