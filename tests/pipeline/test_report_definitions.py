"""Every number has a definition, where a reader of the file and where a reader of the page looks for it."""

import re
from pathlib import Path

import pytest

from l4edge_pipeline.report import latency, page
from l4edge_pipeline.report.judgement import DETECTION_KEYS, DRIVING_KEYS, TRACKING_KEYS
from l4edge_pipeline.report.tables import STAGE_COLUMNS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "report.md"
KEYS = {*latency.FRAME_KEYS, *latency.STAGE_KEYS, *latency.CHAIN_KEYS, *DETECTION_KEYS, *TRACKING_KEYS}


@pytest.mark.parametrize("key", sorted(KEYS | {key.split(".")[0] for key in DRIVING_KEYS}))
def test_the_document_defines_each_key(key):
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert any(re.search(rf"`([a-z]+\.)?{key}\b", row.split("|")[1]) for row in rows)


@pytest.mark.parametrize(
    "word", [*latency.FRAME_KEYS, *latency.SEGMENTS, "AP50", "HOTA", "glue", "incomplete", "deadline"]
)
def test_the_page_defines_each_word(word):
    text = (page.TEMPLATES / "definitions.html").read_text(encoding="utf-8")
    terms = re.findall(r"<dt>(.*?)</dt>", text)
    assert any(re.search(rf"\b{word}\b", term) for term in terms)


def test_the_table_of_stages_shows_known_keys():
    assert {key for _, key in STAGE_COLUMNS} <= set(latency.STAGE_KEYS)
