"""``l4edge bench esb``: the elastic number formats against the constants their author published."""

from typing import TYPE_CHECKING, Any, Dict, List, Tuple

import click

from l4edge_pipeline.commands.bench_options import finish, json_option

if TYPE_CHECKING:
    from l4edge_compression.quantization.esb import ElasticFormat

PUBLISHED = {
    (2, 0): 1.2240,
    (3, 0): 0.5181, (3, 1): 1.3015,
    (4, 0): 0.0381, (4, 1): 0.4871, (4, 2): 1.4136,
    (5, 1): 0.0391, (5, 2): 0.4828, (5, 3): 1.5460,
    (6, 2): 0.0406, (6, 3): 0.4997, (6, 4): 1.6878,
    (7, 3): 0.0409, (7, 4): 0.5247, (7, 5): 1.8324,
    (8, 4): 0.0412, (8, 5): 0.5527, (8, 6): 1.9757,
    (9, 5): 0.0416, (9, 6): 0.5816,
}
"""(bits, significant bits): alpha in the author's code (github.com/GongCheng1919/autoqnn-pytorch, MIT licence).

Its entry for (9, 7) is that of (8, 6) again and is left out."""

PUBLISHED_AT_OTHER_MINIMA = ((4, 0), (5, 1))
"""Where the published alpha is a local minimum of the same error, but not the least."""

PUBLISHED_OFFSET = {2: 0.9957, 3: 0.5860, 4: 0.3352, 5: 0.1881, 6: 0.1041, 7: 0.0569, 8: 0.0308}
"""Bits: alpha there for the offset uniform grid, which stands in for formats of one exponent bit."""

DECIBELS = {
    (2, 0): 7.21, (3, 0): 13.23, (3, 1): 13.29, (4, 0): 14.23, (4, 1): 18.97, (4, 2): 18.90, (5, 1): 19.73,
    (5, 2): 24.87, (5, 3): 24.33, (6, 2): 25.58, (6, 3): 30.81, (6, 4): 29.71, (7, 4): 36.75, (8, 5): 42.67,
    (8, 6): 40.54,
}
DECIBELS_OFFSET = {2: 9.25, 3: 14.27, 4: 19.38, 5: 24.57, 6: 29.83, 7: 35.17, 8: 40.57}
"""Signal to noise at the best alpha, as a separate search by other means found it before; dB."""

ALPHA_TOLERANCE = 1e-3
DECIBEL_TOLERANCE = 0.02
SPREAD, POINTS = 12.0, 100_001
"""The check by numerical integration: how far out, in standard deviations, and with how many points."""

FIGURE = {"bits": 5, "significant": 2, "value": 4.77, "expected": 5.0, "largest": 7.0}
"""The paper's figure 4: 2.98 / alpha = 4.77 becomes 5; the largest value is 7."""

QUANTILES = 20_001
DISTRIBUTIONS = {"normal": ("norm", ()), "Laplace": ("laplace", ()), "Student t, 4": ("t", (4,))}
"""Name: distribution in scipy.stats and its parameters; from light tails to heavy ones."""

COLUMNS = {
    "alpha": "alpha", "published": "published", "matches": "matches", "decibels": "SQNR [dB]",
    "expected_decibels": "expected", "integrated_decibels": "by integration", "levels": "levels", "largest": "largest",
    "passed": "passed",
}


@click.command()
@json_option
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
def command(as_json: bool, markdown: bool) -> None:
    """Align ESB formats with the normal distribution, and compare with the author's published code.

    Alpha is what the value 1 stands for, in standard deviations. A published alpha may be another local minimum of the
    error than the least. The signal to quantization noise ratio (SQNR) is in closed form, and once more by numerical
    integration over the quantizer itself. Ends with exit code 1 if anything is off.
    """
    results = measure()
    finish(results, as_json, lambda found: _print(found, markdown))


def measure() -> Dict[str, Any]:
    """Run the benchmark and return what the command prints as JSON."""
    from l4edge_compression.quantization.esb import ElasticFormat

    rows = [
        _row(ElasticFormat(bits, significant, formula=True), alpha, DECIBELS.get((bits, significant)))
        for (bits, significant), alpha in PUBLISHED.items()
    ]
    rows += [
        _row(ElasticFormat(bits, bits - 2), alpha, DECIBELS_OFFSET[bits]) for bits, alpha in PUBLISHED_OFFSET.items()
    ]
    figure = _figure()
    return {
        "formats": rows,
        "against_uniform": [_against_uniform(name, bits) for name in DISTRIBUTIONS for bits in range(3, 9)],
        "figure": figure,
        "max_alpha_deviation": max(row["alpha_deviation"] for row in rows),
        "max_decibel_deviation": max(row["decibel_deviation"] for row in rows),
        "alpha_tolerance": ALPHA_TOLERANCE,
        "decibel_tolerance": DECIBEL_TOLERANCE,
        "failures": sum(not row["passed"] for row in rows) + (not figure["passed"]),
        "passed": all(row["passed"] for row in rows) and figure["passed"],
    }


def _row(elastic: "ElasticFormat", published: float, expected_decibels: Any) -> Dict[str, Any]:
    from l4edge_compression.quantization.esb import align

    minima = align(elastic)
    best = minima[0]
    nearest = min(minima, key=lambda minimum: abs(minimum.alpha - published))
    deviation = abs(nearest.alpha - published)
    integrated = _integrated(elastic, best.alpha)
    allowed = nearest is best or (elastic.bits, elastic.significant) in PUBLISHED_AT_OTHER_MINIMA
    references = [integrated] + ([] if expected_decibels is None else [expected_decibels])
    decibel_deviation = max(abs(best.decibels - reference) for reference in references)
    levels = elastic.level_set()
    return {
        "format": f"({elastic.bits},{elastic.significant})" + (" offset" if elastic.midrise else ""),
        "alpha": round(best.alpha, 4),
        "published": published,
        "matches": "least" if nearest is best else f"minimum {minima.index(nearest) + 1}",
        "alpha_deviation": round(deviation, 6),
        "minima": [{"alpha": round(one.alpha, 4), "decibels": round(one.decibels, 3)} for one in minima],
        "decibels": round(best.decibels, 2),
        "expected_decibels": expected_decibels,
        "integrated_decibels": round(integrated, 2),
        "decibel_deviation": round(decibel_deviation, 4),
        "levels": len(levels.integers),
        "largest": elastic.largest_value,
        # 1e-9: expected values are rounded to the digit that the tolerance counts in.
        "passed": allowed and deviation <= ALPHA_TOLERANCE and decibel_deviation <= DECIBEL_TOLERANCE + 1e-9
        and len(levels.integers) == 2**elastic.bits - (not elastic.midrise),
    }


def _integrated(elastic: "ElasticFormat", alpha: float) -> float:
    """Return the signal to noise ratio in dB by the sum over many normally weighted numbers, through the quantizer."""
    import math

    import numpy as np

    from l4edge_compression.quantization.formats import project_array

    numbers = np.linspace(-SPREAD, SPREAD, POINTS)
    weights = np.exp(-0.5 * numbers**2)
    levels = elastic.level_set()
    quantized = project_array(levels, numbers / (alpha * elastic.largest_value)) / elastic.unit * alpha
    return -10 * math.log10(float(np.average((numbers - quantized) ** 2, weights=weights)))


def _figure() -> Dict[str, Any]:
    import numpy as np

    from l4edge_compression.quantization.esb import ElasticFormat
    from l4edge_compression.quantization.formats import project_array

    elastic = ElasticFormat(int(FIGURE["bits"]), int(FIGURE["significant"]))
    normalized = np.array([FIGURE["value"] / elastic.largest_value])
    integer = float(project_array(elastic.level_set(), normalized)[0])
    found = integer / elastic.unit
    shifted = float(elastic.shift_and_round(FIGURE["value"]))
    return dict(
        FIGURE, found=found, by_shift_and_round=shifted, found_largest=elastic.largest_value,
        passed=found == shifted == FIGURE["expected"] and elastic.largest_value == FIGURE["largest"],
    )


def _against_uniform(distribution: str, bits: int) -> Dict[str, Any]:
    """Compare formats of the same bits on evenly spaced quantiles of a distribution, each at its best alpha."""
    import numpy as np
    from scipy import stats

    from l4edge_compression.quantization.esb import ElasticFormat, align_samples, candidates

    family, parameters = DISTRIBUTIONS[distribution]
    numbers = getattr(stats, family)(*parameters).ppf((np.arange(QUANTILES) + 0.5) / QUANTILES)
    found = {
        each.significant: align_samples(each, numbers)[0].decibels
        for each in candidates(bits) if each.exponent_bits > 1
    }
    best = max(found, key=lambda significant: found[significant])
    fixed = align_samples(ElasticFormat(bits, bits - 2, formula=True), numbers)[0].decibels
    offset = align_samples(ElasticFormat(bits, bits - 2), numbers)[0].decibels
    return {
        "distribution": distribution, "bits": bits, "format": f"({bits},{best})", "esb": round(found[best], 2),
        "fixed": round(fixed, 2), "offset": round(offset, 2), "gain": round(found[best] - max(fixed, offset), 2),
    }


def _cells(row: Dict[str, Any]) -> List[str]:
    texts = {True: "yes", False: "NO", None: ""}
    values = (row[key] for key in COLUMNS)
    return [row["format"]] + [
        texts[value] if value is None or isinstance(value, bool) else f"{value:.10g}" if isinstance(value, float)
        else str(value) for value in values
    ]


def _print(results: Dict[str, Any], markdown: bool) -> None:
    headers = ["format", *COLUMNS.values()]
    _table("ESB formats on N(0, 1); published: the author's code", headers,
           [(_cells(row), row["passed"]) for row in results["formats"]], markdown)
    click.echo("figure 4, (5,2): {value} becomes {found:g}, expected {expected:g}; largest {found_largest:g}".format(
        **results["figure"]
    ))
    click.echo((
        "alpha off by at most {max_alpha_deviation:.1g} (allowed {alpha_tolerance}), SQNR by at most "
        "{max_decibel_deviation:.2g} dB (allowed {decibel_tolerance}); {failures} failures"
    ).format(**results))
    headers = ["distribution", "bits", "best ESB", "ESB [dB]", "fixed point [dB]", "offset uniform [dB]", "gain [dB]"]
    rows = [([str(value) for value in row.values()], True) for row in results["against_uniform"]]
    _table("SQNR of ESB with two or more exponent bits against uniform formats", headers, rows, markdown)


def _table(title: str, headers: List[str], rows: List[Tuple[List[str], bool]], markdown: bool) -> None:
    if markdown:
        lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *(cells for cells, _ in rows)]
        click.echo("\n".join(["", *("| " + " | ".join(line) + " |" for line in lines), ""]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*headers, title=title)
    for cells, passed in rows:
        table.add_row(*cells, style=None if passed else "red")
    Console().print(table)
