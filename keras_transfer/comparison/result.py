"""`Comparison`: what recipes achieved, what they cost, what can be concluded."""

import dataclasses
import html
from collections.abc import Mapping, Sequence

import numpy as np

from keras_transfer.comparison.store import Run
from keras_transfer.evaluation.statistics import compare_pairs, wilson_interval
from keras_transfer.runtime.tables import html_table, text_table

HEADER = (
    "recipe",
    "accuracy",
    "95 % interval",
    "lowest to highest seed",
    "seconds",
    "peak memory",
    "trained parameters",
)


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison:
    """Hold the figures of each recipe; prints as text, shows as a table in a notebook.

    Attributes:
        rows: Tuple of dicts, one a recipe: `recipe` (its name), `accuracies` (of each
            seed, on the test photos), `accuracy` (their mean), `interval` (95 %, of
            the mean, for other photos of this kind), `seconds` (median over the
            seeds), `peak_memory` (the most that its process held, in bytes, TensorFlow
            included; `None` on Windows) and `trained_parameters`.
        pairs: Tuple of dicts, one for every two recipes: `better`, `worse`,
            `difference`, its 95 % `interval`, `p_value` and whether it is `clear`.
        verdict: Sentences that say what these figures support, and what they do not.
        test_images: Number of test photos.
        seeds: The seeds.
        comparable_seconds: Whether the seconds of the recipes can be compared: all
            runs had a machine for themselves, and the machines are of one kind.
    """

    rows: tuple[dict, ...]
    pairs: tuple[dict, ...]
    verdict: str
    test_images: int
    seeds: tuple[int, ...]
    comparable_seconds: bool = True

    def to_dict(self) -> dict:
        """Return all of it as plain values, which `json.dumps` takes."""
        return {
            "rows": [dict(row) for row in self.rows],
            "pairs": [dict(pair) for pair in self.pairs],
            "verdict": self.verdict,
            "test_images": self.test_images,
            "seeds": list(self.seeds),
            "comparable_seconds": self.comparable_seconds,
        }

    def __str__(self) -> str:
        table = text_table(self._table())
        return f"{table}\n\n{self.verdict}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        table = html_table(self._table())
        verdict = html.escape(self.verdict).replace("\n", "<br>")
        return f"{table}<p>{verdict}</p>"

    def _table(self) -> list[tuple[str, ...]]:
        header = HEADER
        if not self.comparable_seconds:
            said = ("seconds, not comparable" if x == "seconds" else x for x in HEADER)
            header = (*said,)
        return [header, *map(_cells, self.rows)]


def summarize(runs: Mapping[str, Sequence[Run]], seeds: Sequence[int]) -> Comparison:
    """Make a `Comparison` of finished runs.

    Args:
        runs: For each recipe its runs, one a seed, all on the same test photos.
        seeds: The seeds, in the same order.
    """
    right = {name: np.array([run.right for run in of]) for name, of in runs.items()}
    rows = []
    for name, of in runs.items():
        figures = [run.figures for run in of]
        memory = [figure["peak_memory"] for figure in figures]
        rows.append(
            {
                "recipe": name,
                "accuracies": right[name].mean(axis=1).tolist(),
                "accuracy": float(right[name].mean()),
                "interval": list(wilson_interval(right[name])),
                "seconds": float(np.median([f["seconds"] for f in figures])),
                "peak_memory": None if None in memory else max(memory),
                "trained_parameters": figures[0]["trained_parameters"],
            }
        )
    pairs = compare_pairs(right)
    photos = next(iter(right.values())).shape[1]
    figures = [run.figures for of in runs.values() for run in of]
    kinds = {each.get("machine") for each in figures}
    comparable = len(kinds) == 1 and all(each.get("alone", True) for each in figures)
    return Comparison(
        rows=tuple(rows),
        pairs=pairs,
        verdict=_verdict(rows, pairs, photos, len(seeds), comparable),
        test_images=photos,
        seeds=tuple(seeds),
        comparable_seconds=comparable,
    )


def _verdict(
    rows: list[dict],
    pairs: Sequence[dict],
    photos: int,
    seeds: int,
    comparable_seconds: bool,
) -> str:
    if not pairs:
        return (
            f"{rows[0]['recipe']} got {rows[0]['accuracy']:.1%} of {photos:,} test "
            "photos right. With nothing to compare it to, that is all there is to say."
        )
    best, *others = sorted(rows, key=lambda row: -row["accuracy"])
    of_best = {
        pair["worse"] if pair["better"] == best["recipe"] else pair["better"]: pair
        for pair in pairs
        if best["recipe"] in (pair["better"], pair["worse"])
    }
    lines = []
    for other in others:
        line = _sentence(best, other, of_best[other["recipe"]], photos)
        if comparable_seconds:
            line += f" {best['recipe']} takes {duration(best)}, {other['recipe']} "
            line += f"{duration(other)}."
        lines.append(line)
    if not comparable_seconds:
        lines.append(
            "Their seconds cannot be compared: runs shared a machine, or were made on "
            "machines of different kinds."
        )
    if len(pairs) > 1:
        lines.append(f"The p-values are corrected for {len(pairs)} comparisons.")
    luck = (
        "One training of each says nothing about how much luck is in a training."
        if seeds == 1
        else f"{seeds} seeds give but a rough idea of how much luck is in a training."
    )
    lines.append(f"{luck} Other photos or settings may end in another order.")
    return "\n".join(lines)


def _sentence(best: dict, other: dict, pair: dict, photos: int) -> str:
    low, high = (100 * bound for bound in pair["interval"])
    p_value = pair["p_value"]
    chance = f"p = {p_value:.2g}" if p_value >= 0.001 else "p < 0.001"
    found = (
        f"{100 * pair['difference']:.1f} points (95 % interval {low:.1f} to "
        f"{high:.1f}, {chance}) on {photos:,} test photos"
    )
    if pair["clear"]:
        return f"{best['recipe']} beats {other['recipe']} by {found}."
    # Without a single photo that tells them apart, this bounds what such photos could
    # show; of many photos it is the rule of three (Hanley and Lippman-Hand, 1983).
    margin = max((high - low) / 2, 100 * (1 - 0.05 ** (1 / photos)))
    return (
        f"The difference between {best['recipe']} and {other['recipe']} is no more "
        f"than noise: {found}, where differences below about {margin:.1f} points "
        "cannot be told apart."
    )


def _cells(row: dict) -> tuple[str, ...]:
    low, high = row["interval"]
    lowest, highest = min(row["accuracies"]), max(row["accuracies"])
    memory = row["peak_memory"]
    return (
        row["recipe"],
        f"{row['accuracy']:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{lowest:.1%} to {highest:.1%}" if len(row["accuracies"]) > 1 else "one seed",
        f"{row['seconds']:.1f}",
        "unknown" if memory is None else f"{memory / 1e9:.1f} GB",
        f"{row['trained_parameters']:,}",
    )


def duration(row: dict) -> str:
    """Return the seconds of a row, as they are shown."""
    seconds = row["seconds"]
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:,.0f} s"
