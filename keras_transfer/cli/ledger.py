"""Use what a run of the lessons measured."""

import argparse
import json
import pathlib
from collections.abc import Callable

from keras_transfer.cli.arguments import path_argument, there_is_no
from keras_transfer.runtime.status_lines import say

# What the table of a ledger is made of.
ENTRY = {
    "lesson": str,
    "profile": str,
    "seconds": int | float,
    "peak_memory_mb": int | float,
    "passed": bool,
}


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    ledger = command(
        "ledger",
        _ledger,
        "Use what a run of the lessons measured.",
        needs_keras=False,
    )
    ledger.add_argument(
        "ledgers",
        type=path_argument,
        nargs="+",
        help="such as build/lessons/ledger.json",
    )
    ledger.add_argument(
        "--readme", type=path_argument, help="write the table between its markers"
    )
    ledger.add_argument(
        "--bands", type=path_argument, help="merge the accuracies into this JSON file"
    )


def _ledger(options: argparse.Namespace) -> int:
    from keras_transfer.lessons import ledger, report
    from keras_transfer.runtime import paths

    entries = [entry for path in options.ledgers for entry in _entries(path)]
    if options.bands and options.bands.is_file():
        _json(options.bands, dict, "file of accuracy bands")
    if options.readme and not options.readme.is_file():
        raise FileNotFoundError(there_is_no("README", options.readme))
    for path in filter(None, (options.readme, options.bands)):
        paths.make_folder(path.absolute().parent, "another path")
    if options.readme:
        report.update_readme(entries, options.readme)
        say(f"Wrote the table of {len(entries)} lessons into {options.readme}.")
    if options.bands:
        count = ledger.merge_bands(entries, options.bands)
        say(f"Wrote {count} accuracy bands into {options.bands}.")
    if not (options.readme or options.bands):
        say(report.text_table(entries))
        say(report.measured_on(entries))
    return 0


def _entries(path: pathlib.Path) -> list[dict]:
    what = "ledger of lessons"
    entries = _json(path, list, what)
    for entry in entries:
        found = entry if isinstance(entry, dict) else {}
        missing = [
            name
            for name, kind in ENTRY.items()
            if not isinstance(found.get(name), kind)
        ]
        if missing:
            raise ValueError(
                f"Expected a {what}: each entry has {', '.join(ENTRY)}. "
                f"Received: {path}, where one has no {missing[0]}"
            )
    return entries


def _json(path: pathlib.Path, kind: type, what: str):
    if not path.is_file():
        raise FileNotFoundError(there_is_no(what, path))
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"Expected a {what}, and this file is no JSON ({error}). Received: {path}"
        ) from error
    if not isinstance(read, kind):
        raise ValueError(f"Expected a {what}. Received: {path} with other JSON")
    return read
