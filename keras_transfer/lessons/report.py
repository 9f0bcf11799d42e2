"""Say what a run of the lessons gave: as a table, in the README, in a line."""

import importlib.metadata
import os
import pathlib
import platform
import re

from keras_transfer.runtime import atomic_files, tables

COLUMNS = (
    "lesson",
    "data",
    "backbone",
    "accuracy",
    "seconds",
    "peak memory",
    "passed",
)


def table_rows(entries: list[dict]) -> list[tuple[str, ...]]:
    """Return the printable cells of a ledger's table, a tuple a lesson.

    Args:
        entries: The entries of a ledger.

    Returns:
        A list of tuples in the order of `COLUMNS`.
    """
    return [
        (
            entry["lesson"],
            str(entry.get("data", "-")),
            str(entry.get("backbone", "-")),
            _percent(entry.get("test_accuracy")),
            f"{entry['seconds']:.0f}",
            f"{entry['peak_memory_mb'] / 1000:.1f} GB",
            "yes" if entry["passed"] else "no",
        )
        for entry in entries
    ]


def text_table(entries: list[dict]) -> str:
    """Return the table of a ledger for a terminal."""
    rows = [COLUMNS, *table_rows(entries)]
    return tables.text_table(rows, words=range(len(COLUMNS)), rule=True)


def markdown_table(entries: list[dict]) -> str:
    """Return the table of a ledger in Markdown."""
    return tables.markdown_table([COLUMNS, *table_rows(entries)])


def outcome(entry: dict) -> str:
    """Return one line that says how a lesson ended."""
    if not entry["passed"]:
        return f"FAILED after {entry['seconds']:.0f} s: {first_line(entry['error'])}"
    accuracy = entry.get("test_accuracy")
    measured = "" if accuracy is None else f", accuracy {_percent(accuracy)}"
    memory = f"{entry['peak_memory_mb'] / 1000:.1f} GB"
    return f"passed, {entry['seconds']:.0f} s{measured}, {memory}"


def update_readme(entries: list[dict], readme: str | os.PathLike) -> None:
    """Write the table of a ledger between the markers of a README.

    Args:
        entries: The entries of a ledger.
        readme: The file, with a line `<!-- lessons:start -->` and a line
            `<!-- lessons:end -->`.

    Raises:
        ValueError: If the markers are not there.
    """
    text = f"{markdown_table(entries)}\n\n{measured_on(entries)}"
    write_between(readme, "lessons", text)


def write_between(path: str | os.PathLike, name: str, text: str) -> None:
    """Replace what stands between the lines `<!-- name:start -->` and `:end`."""
    path = pathlib.Path(path).expanduser()
    first, last = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, start, rest = path.read_text(encoding="utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not (start and end):
        raise ValueError(
            f"A file to write a table into needs the lines {first} and {last}. "
            f"Received: {path}"
        )
    atomic_files.write_whole_text(path, f"{before}{start}\n{text}\n{end}{after}")


def measured_on(entries: list[dict]) -> str:
    """Return the line under a table that names profile, machine and date."""

    def distinct(key: str) -> str:
        values = (str(entry[key]) for entry in entries if entry.get(key))
        return "; ".join(dict.fromkeys(values)) or "-"

    return (
        f"Profile {distinct('profile')}, device {distinct('device')}. "
        f"Measured on {distinct('machine')}, {distinct('date')}."
    )


def machine() -> str:
    """Return one line that describes this machine and the versions that matter."""
    import psutil

    versions = [f"Python {platform.python_version()}"]
    for label, package in (("TensorFlow", "tensorflow"), ("Keras", "keras")):
        try:
            versions.append(f"{label} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {label}")
    memory = psutil.virtual_memory().total / 2**30
    return ", ".join(
        [
            _processor(),
            f"{psutil.cpu_count()} cores",
            f"{memory:.0f} GiB",
            f"{platform.system()} {platform.release()}",
            *versions,
        ]
    )


def first_line(text: str | None) -> str:
    """Return the first line of an error, short enough for a terminal."""
    line = plain_text(text or "").strip().partition("\n")[0]
    return line if len(line) <= 160 else line[:157] + "..."


def plain_text(text: str) -> str:
    """Return a text without terminal colours and what XML cannot hold."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _processor() -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        match = re.search(
            r"model name\s*:\s*(.+)", cpuinfo.read_text("utf-8", "replace")
        )
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()
