"""Figures as SVG."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from autoopt.report.page import svg


def test_a_figure_is_well_formed_and_its_points_are_links() -> None:
    """The drawing is XML, has a title, and each point links to the row of its trial and says what it is."""
    x, y = svg.across(1, 100, log=True), svg.upwards(0.8, 1.0)
    marks = [svg.mark(x.at(10), y.at(0.9), shape, 5, "c0") for shape in svg.SHAPES]
    made = svg.figure(svg.frame(x, y, "ms", "a < b"), svg.point(47, "#47 & more", *marks), title="Trials")
    tree = ET.fromstring(made)
    link = tree.find(".//{http://www.w3.org/2000/svg}a")
    assert link is not None and link.attrib["href"] == "#t47" and link[0].text == "#47 & more"
    assert len(link) == 1 + len(svg.SHAPES) and "a < b" in "".join(tree.itertext())
