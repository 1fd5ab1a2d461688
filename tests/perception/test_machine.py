import platform

import pytest

from l4edge_perception.machine import processor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n", "Some CPU @ 2 GHz"),
        ("processor\t: 0\nHardware\t: x\nModel\t: Jetson AGX Xavier\n", "Jetson AGX Xavier"),
    ],
)
def test_the_processor_names_itself(tmp_path, text, expected):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert processor(path) == expected


def test_a_board_whose_cores_have_no_name_is_named_by_its_device_tree(tmp_path):
    cpuinfo, tree = tmp_path / "cpuinfo", tmp_path / "model"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: \n")
    tree.write_bytes(b"Some Board\0")
    assert processor(cpuinfo, tree) == "Some Board"


def test_a_machine_without_cpuinfo_is_no_error(tmp_path):
    assert processor(tmp_path / "missing")


def test_a_machine_that_names_nothing_says_its_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert processor(tmp_path / "missing") == platform.machine()
