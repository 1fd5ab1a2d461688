"""Options and end of the benchmarks that have bounds."""

import json

import click
import pytest
from click.testing import CliRunner

from l4edge_pipeline.commands import bench_accel, bench_esb, bench_rtl
from l4edge_pipeline.commands.bench_options import finish, json_option, part_option


@click.command()
@json_option
@part_option(("first", "second"))
def command(as_json, parts):
    """A benchmark whose bound is that the second part is left out."""
    finish({"parts": sorted(parts), "passed": "second" not in parts}, as_json, lambda found: click.echo(found["parts"]))


def test_a_part_alone_passes_and_all_of_them_do_not():
    alone = CliRunner().invoke(command, ["--part", "first", "--json"])
    assert (alone.exit_code, json.loads(alone.output)) == (0, {"parts": ["first"], "passed": True})
    everything = CliRunner().invoke(command, [])
    assert (everything.exit_code, everything.output) == (1, "['first', 'second']\n")


def test_an_unknown_part_is_refused():
    assert CliRunner().invoke(command, ["--part", "third"]).exit_code == 2


@pytest.mark.parametrize("module", [bench_accel, bench_rtl])
def test_benchmarks_know_their_parts(module, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "measure", lambda *given: asked.append(given) or {"passed": True})
    monkeypatch.setattr(module, "_print", lambda results: None)
    for options in ([], ["--part", module.PARTS[1]]):
        assert CliRunner().invoke(module.command, options, catch_exceptions=False).exit_code == 0
    whole, alone = ([part for part in given if isinstance(part, frozenset)] for given in asked)
    assert (whole, alone) == ([frozenset(module.PARTS)], [frozenset(module.PARTS[1:2])])


def test_a_missed_bound_of_the_formats_ends_with_exit_code_1(monkeypatch):
    monkeypatch.setattr(bench_esb, "measure", lambda: {"passed": False})
    assert CliRunner().invoke(bench_esb.command, ["--json"]).exit_code == 1
