from pathlib import Path

import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.packages import load_package
from l4edge_perception.training.detector_page import figures
from l4edge_perception.training.pages import BEGIN, END, updated

PAGE = Path(__file__).resolve().parents[2] / "docs" / "detector.md"


def test_the_page_says_what_the_shipped_package_says(shipped_detector):
    page = PAGE.read_text(encoding="utf-8")
    assert page == updated(page, figures(load_package(shipped_detector)), str(PAGE)), (
        "run: python -m l4edge_perception.training.detector_page models/detector docs/detector.md"
    )


def test_only_the_figures_change():
    assert updated(f"a\n{BEGIN}\nold\n{END}\nb\n", "new", "page") == f"a\n{BEGIN}\nnew\n{END}\nb\n"


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END} {BEGIN}"])
def test_a_page_without_its_marks_is_an_input_error(page):
    with pytest.raises(InputError, match="are missing"):
        updated(page, "new", "page")
