import pytest

from l4edge_perception.errors import InputError, exit_on_input_error


@pytest.mark.parametrize(
    ("options", "line"), [((), "l4edge: error: x: no such file\n"), (("other",), "other: x: no such file\n")]
)
def test_a_fault_of_the_input_ends_a_program_with_one_line(capsys, options, line):
    with pytest.raises(SystemExit) as ended, exit_on_input_error(*options):
        raise InputError("x: no such file")
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", line)


def test_a_defect_is_not_hidden():
    with pytest.raises(ValueError, match="a defect"), exit_on_input_error():
        raise ValueError("a defect")
