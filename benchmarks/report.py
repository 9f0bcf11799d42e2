"""Keep what the benchmarks measured: report.json, a Markdown table and a figure."""

import json
import pathlib
import statistics

import matplotlib.pyplot as plt

from keras_transfer.lessons.report import write_between
from keras_transfer.plots.style import COLORS, style
from keras_transfer.runtime.atomic_files import write_whole_text, written_whole
from keras_transfer.runtime.tables import markdown_table


def keep(folder: pathlib.Path, name: str, entry: dict) -> None:
    """Merge one finished measurement into `report.json` and draw all of it anew."""
    report = read(folder) | {name: entry}
    write_whole_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    write_whole_text(folder / "report.md", markdown(report) + "\n")
    with written_whole(folder / "bench.png") as temporary:
        draw(report).savefig(temporary, dpi=150)


def read(folder: pathlib.Path) -> dict[str, dict]:
    """Return the measurements that are kept in `folder`, by name."""
    path = folder / "report.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def markdown(report: dict[str, dict]) -> str:
    """Return the targets and the figures of all measurements as two tables."""
    targets = [("measurement", "result", "measured", "target", "reached")]
    figures = [("measurement", "what", "way", "median", "lowest to highest", "runs")]
    notes = []
    for name, entry in report.items():
        targets += [(name, *_target_cells(target)) for target in entry["targets"]]
        figures += [(name, *_figure_cells(figure)) for figure in entry["figures"]]
        settings = [f"{key} {value}" for key, value in entry["settings"].items()]
        about = "; ".join([entry["data"], *settings])
        remarks = " ".join([*entry["remarks"], entry["measured_on"]])
        notes.append(f"- {name}: {about}. {remarks}")
    return "\n\n".join(
        [markdown_table(targets), markdown_table(figures), "\n".join(notes)]
    )


def into_readme(folder: pathlib.Path, readme: pathlib.Path) -> None:
    """Write the results that have a target into a README, and the figure beside it.

    The README has a line `<!-- bench:start -->` and a line `<!-- bench:end -->`.
    """
    report = read(folder)
    figure = pathlib.Path(__file__).with_name("bench.png")
    with written_whole(figure) as temporary:
        draw(report).savefig(temporary, dpi=100)
    header = ("benchmark", "result", "measured", "target", "reached")
    rows = [
        (name, *_target_cells(target))
        for name, entry in report.items()
        for target in entry["targets"]
        if target["reached"] is not None
    ]
    machines = dict.fromkeys(entry["measured_on"] for entry in report.values())
    picture = f"![Medians of all benchmarks](benchmarks/{figure.name})"
    text = [markdown_table([header, *rows]), picture, " ".join(machines)]
    write_between(readme, "bench", "\n\n".join(text))


def draw(report: dict[str, dict]) -> plt.Figure:
    """Draw the medians as bars, with the spread from the lowest to the highest."""
    panels = {}
    for name, entry in report.items():
        for figure in entry["figures"]:
            if figure["values"]:
                # Parts of one benchmark, "extraction: ...", share a panel.
                subject = name.split(":")[0].replace("_", " ").capitalize()
                title = f"{subject}: {figure['unit']}"
                panels.setdefault(title, []).append(figure)
    columns = _columns(panels)
    rows = max(sum(_height(panels[title]) for title in column) for column in columns)
    with style(**{"axes.grid.axis": "x"}):
        chart = plt.figure(figsize=(6.5 * len(columns), 0.2 * rows + 0.6))
        parts = chart.subfigures(1, len(columns), squeeze=False)[0]
        for part, column in zip(parts, columns, strict=True):
            heights = [_height(panels[title]) for title in column]
            all_axes = part.subplots(len(column), squeeze=False, height_ratios=heights)
            for axes, title in zip(all_axes[:, 0], column, strict=True):
                _draw_bars(axes, panels[title])
                axes.set_title(title)
        machines = dict.fromkeys(entry["measured_on"] for entry in report.values())
        chart.supxlabel("\n".join(machines), fontsize=7)
    plt.close(chart)
    return chart


def _height(figures: list[dict]) -> float:
    # The title and the numbers below take as much as three bars.
    return 3 + len(figures)


def _columns(panels: dict[str, list[dict]]) -> list[list[str]]:
    """Return the titles in two columns of about the same height, or in one."""
    left, right, filled = [], [], 0
    total = sum(map(_height, panels.values()))
    for title, figures in panels.items():
        (left if filled < total / 2 else right).append(title)
        filled += _height(figures)
    return [column for column in (left, right) if column]


def _draw_bars(axes: plt.Axes, figures: list[dict]) -> None:
    axes.set_axisbelow(True)
    for row, figure in enumerate(figures):
        values = figure["values"]
        median = statistics.median(values)
        axes.barh(
            row,
            median,
            xerr=[[median - min(values)], [max(values) - median]],
            color=COLORS[0] if figure["way"].startswith("ours") else COLORS[4],
            capsize=2,
        )
        axes.annotate(
            f" {_number(median)}", (max(values), row), va="center", fontsize=7
        )
    labels = [f"{figure['group']}: {figure['way']}" for figure in figures]
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=7)
    axes.margins(x=0.15)


def _target_cells(target: dict) -> tuple[str, ...]:
    bounds = [
        f"{text} {target[key]:g}"
        for key, text in (("at_least", "at least"), ("at_most", "at most"))
        if target[key] is not None
    ]
    reached = {True: "yes", False: "no", None: "-"}[target["reached"]]
    measured = target["measured"]
    shown = "not measured" if measured is None else _number(measured)
    return target["what"], shown, " and ".join(bounds) or "-", reached


def _figure_cells(figure: dict) -> tuple[str, ...]:
    values = figure["values"]
    group, way = figure["group"], figure["way"]
    if not values:
        return group, way, figure["remark"], "-", "0"
    spread = f"{_number(min(values))} to {_number(max(values))}"
    median = f"{_number(statistics.median(values))} {figure['unit']}"
    return group, way, median, spread, str(len(values))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
