"""Predict the classes of photos, a line each."""

import argparse
import contextlib
import csv
import itertools
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

from keras_transfer.cli.arguments import load_model_or_export, path_argument
from keras_transfer.runtime.csv_tables import marked

STDIN = "-"
NONE = "none of these"
STEP = 4
STATUSES = {
    0: "all photos were read",
    1: "one could not be read, and has a line with an error",
    2: "the arguments or the model do not fit",
}


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    predict = command(
        "predict",
        _predict,
        "Predict the classes of photos, a line each.",
        statuses=STATUSES,
        needs_keras=False,
    )
    predict.add_argument(
        "model",
        type=path_argument,
        metavar="MODEL",
        help="a .keras file from train or save_classifier, or a folder from export, "
        "which needs neither Keras nor TensorFlow",
    )
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a photo; a folder, for all photos at any depth of it; or - for paths on "
        "standard input, one a line",
    )
    predict.add_argument(
        "--top",
        type=_count,
        default=0,
        metavar="K",
        help="also the K most probable classes",
    )
    predict.add_argument(
        "--format",
        choices=WRITERS,
        default="jsonl",
        help="one JSON object a line (the default), or a table of comma-separated "
        "values; a file that cannot be read has an error in place of a class. Both are "
        r"in UTF-8; a byte of a name that is not becomes \udcff, or its like. In a "
        "table ' comes before a cell that begins with one of = + - @ ', which no "
        "spreadsheet then takes for a formula",
    )
    predict.add_argument(
        "--unknown",
        action="store_true",
        help=f'answer "{NONE}" where a photo is too far from all training photos',
    )


def _predict(options: argparse.Namespace) -> int:
    from keras_transfer.classifier.prediction import FEW
    from keras_transfer.data.photo_folders import well_formed

    classifier = load_model_or_export(options.model)
    detector = classifier.unknown if options.unknown else None
    if options.unknown and detector is None:
        raise ValueError(
            f'This model keeps nothing to answer "{NONE}" by. Train it with the train '
            "command, or save it with save_classifier(..., unknown="
            "fit_unknown_detector(...)); or leave --unknown out. "
            f"Received: --unknown, {options.model}"
        )
    top = min(options.top, len(classifier.class_names))
    problems, failed = {}, False
    try:
        write = WRITERS[options.format](top, options.unknown)
        with _progress(options) as bar:
            photos = _photos(options.paths, problems)
            first = [*itertools.islice(photos, FEW)]
            # Of a list, it is known how few they are.
            photos = first if len(first) < FEW else itertools.chain(first, photos)
            for found in classifier.predict_stream(photos):
                error = problems.pop(found.path, found.error)
                row = {"path": well_formed(found.path)}
                if error is None:
                    row |= _answer(classifier, found, top, detector)
                else:
                    row["error"], failed = well_formed(error), True
                write(row)
                if bar is not None:
                    bar.update()
    except BrokenPipeError:
        pass  # Whoever read has read enough.
    return 1 if failed else 0


def _answer(classifier, found, top: int, detector) -> dict:
    """Return what is written of a photo, by column."""
    names, row = classifier.class_names, found.probabilities
    answer = {
        "class_name": found.class_name,
        "probability": _rounded(found.probability),
    }
    if top:
        best = (-row).argsort(kind="stable")[:top]
        answer["top"] = [
            {"class_name": names[index], "probability": _rounded(row[index])}
            for index in best
        ]
    if detector is None:
        return answer
    if found.unknown:
        answer |= {"class_name": NONE, "probability": None}
    return answer | {
        "unknown": found.unknown,
        "distance": _rounded(found.distance),
        "threshold": _rounded(detector.threshold),
    }


def _rounded(number: float) -> float:
    return round(float(number), 6)


def _write_json(*_) -> Callable[[dict], None]:
    # All characters but ASCII's are escaped, so that every console can take them.
    return lambda row: print(json.dumps(row), flush=True)


def _write_csv(top: int, unknown: bool) -> Callable[[dict], None]:
    with contextlib.suppress(AttributeError):  # Not a file.
        sys.stdout.reconfigure(encoding="utf-8")
    ranked = [
        f"{what}_{rank}"
        for rank in range(1, top + 1)
        for what in ("class_name", "probability")
    ]
    far = ["unknown", "distance", "threshold"] if unknown else []
    columns = ["path", "class_name", "probability", *ranked, *far, "error"]
    table = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    table.writeheader()

    def write(row):
        best = enumerate(row.pop("top", ()), 1)
        each = {f"{k}_{rank}": v for rank, one in best for k, v in one.items()}
        cells = (row | each).items()
        table.writerow({k: marked(v) if isinstance(v, str) else v for k, v in cells})
        sys.stdout.flush()

    return write


WRITERS = {"jsonl": _write_json, "csv": _write_csv}


def _count(text: str) -> int:
    """Return a number of classes that was typed."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1: {text!r}")
    return int(text)


def _photos(paths: list[str], problems: dict[str, str]) -> Iterator[str]:
    """Yield paths of photos, and of what holds none, which `problems` says."""
    from keras_transfer.data.photo_folders import photos_below

    for path in _named(paths):
        if not _is_folder(path):
            yield path
            continue
        empty = True
        for photo, reason in photos_below(pathlib.Path(path).expanduser()):
            empty = False
            if reason:
                problems[str(photo)] = f"{reason}. Received: path={photo}"
            yield str(photo)
        if empty:
            problems[path] = f"Expected a folder with photos. Received: path={path}"
            yield path


def _named(paths: list[str]) -> Iterator[str]:
    for path in paths:
        if path != STDIN:
            yield path
            continue
        # As bytes: a name may be no text.
        lines = getattr(sys.stdin, "buffer", sys.stdin)
        for line in lines:
            name = os.fsdecode(line).rstrip("\r\n")
            if name:
                yield name


def _is_folder(path: str) -> bool:
    try:
        return pathlib.Path(path).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # What it is, whoever reads it says.
        return False


@contextlib.contextmanager
def _progress(options: argparse.Namespace):
    """Show a bar where somebody is watching it, and it alone."""
    from keras_transfer.runtime.progress import progress_bar

    if sys.stdout.isatty() or not sys.stderr.isatty():
        yield None
        return
    total = None
    if STDIN not in options.paths:
        total = sum(1 for _ in _photos(options.paths, {}))
    with progress_bar(total, "predict") as bar:
        yield bar
