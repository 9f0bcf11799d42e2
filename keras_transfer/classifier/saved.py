"""Save a finished classifier with its class names, load it, predict from files.

The `.keras` file stays Keras's own: it loads with `import keras` alone. What Keras has
no place for (class names, image size, temperature, what it was trained on) is kept in
more members of the same zip archive, which Keras passes over.
"""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import os
import pathlib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence

import keras
import numpy as np

from keras_transfer.classifier.members import read_members, write_members
from keras_transfer.classifier.model_files import model_path, read_model, write_model
from keras_transfer.classifier.network import Run, as_it_is, compiled, pooled_channels
from keras_transfer.classifier.prediction import (
    AHEAD,
    BATCH_SIZE,
    FEW,
    Meaning,
    Prediction,
    check_path,
    path_iterator,
    predictions,
    read_photos,
)
from keras_transfer.classifier.unknown import UnknownDetector
from keras_transfer.data.decoding import load_pixels
from keras_transfer.features.inference import ENGINES
from keras_transfer.models.graph import image_shape
from keras_transfer.models.outputs import (
    asked_outputs,
    checked_class_names,
    class_probabilities,
)
from keras_transfer.models.tempering import tempered
from keras_transfer.runtime import atomic_files, paths, workers
from keras_transfer.runtime.arguments import (
    elements,
    file_path,
    keras_model,
    one_of,
    real_number,
    reason,
    shown,
    square_size,
    whole_number,
)
from keras_transfer.runtime.tables import html_table, text_table

ERRORS = ("raise", "return")
# The parts of the data that a choice was made on.
KNOWN = ("train", "validation")
# And what was kept out of the test, because it is nearly the same as what is in it.
LEFT_OUT = "left out"
SHA256 = re.compile("[0-9a-f]{64}")
# More names fit no line.
SHOWN_NAMES = 10
PACKAGES = ("keras", "tensorflow", "keras-transfer")


@dataclasses.dataclass(frozen=True, repr=False)
class Classifier:
    """Hold a model with what it needs to predict from image files, and what it is.

    Attributes:
        model: The plain `keras.Model`, from RGB images 0-255.
        class_names: Tuple of names in the order of the model's outputs.
        image_size: Side of the square images, in pixels.
        temperature: What probabilities are calibrated by, or `None`.
        unknown: `UnknownDetector` for photos of none of the classes, or `None`.
        trained_on: The SHA-256 of each photo file, in hexadecimal digits, that choices
            were made on: a dict of tuples by `"train"` and `"validation"`, and by
            `"left out"` what was kept out of all splits; or `None`.
        details: Dict of what else is known, such as `backbone`, `test`, `versions` and
            `saved`; or `None`.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    image_size: int
    temperature: float | None = None
    unknown: UnknownDetector | None = dataclasses.field(default=None, compare=False)
    trained_on: Mapping[str, tuple[str, ...]] | None = dataclasses.field(
        default=None, compare=False
    )
    details: Mapping | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self):
        size = _checked_size(keras_model("model", self.model), self.image_size)
        photo = np.zeros((1, size, size, 3), "float32")
        outputs = asked_outputs(
            self.model,
            lambda: self.model(photo, training=False),
            f"image_size={size}",
        )
        checked = {
            "image_size": size,
            "class_names": checked_class_names(self.class_names, outputs.num_classes),
            "temperature": _checked_temperature(self.temperature),
            "unknown": _checked_unknown(self.unknown, self.model),
            "trained_on": _checked_photos(self.trained_on),
            "details": _checked_details(self.details),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def predict(
        self,
        paths: str | os.PathLike | Iterable[str | os.PathLike],
        errors: str = "raise",
        engine: str = "auto",
    ) -> list[Prediction]:
        """Predict the class of image files, decoded and resized as in training.

        Probabilities are calibrated where the classifier has a temperature. Of many
        photos, `predict_stream` gives the first answers before it has read the last.

        Args:
            paths: Paths of image files, as `load_image` reads them, or a single one.
            errors: `"raise"`, or `"return"` for a `Prediction` with an `error` in place
                of a file that cannot be read. Defaults to `"raise"`.
            engine: As in `extract_features`; `"auto"` calls the model as it is for less
                than 128 photos, which takes less time than to make a graph. Defaults
                to `"auto"`.

        Returns:
            One `Prediction` a path, in the same order.

        Raises:
            UnreadableImageError: If a file is no such image.
            OSError: If a file cannot be opened.
            ValueError: If these are no paths of files.
        """
        raises = one_of("errors", errors, ERRORS) == "raise"
        files = _photo_paths(paths, raises)
        if one_of("engine", engine, ENGINES) == "auto" and len(files) < FEW:
            run = as_it_is(self.model)
        else:
            run = compiled(self.model, self.image_size, "float32", engine=engine)
        return [*self._predictions(files, run, raises, BATCH_SIZE)]

    def predict_stream(
        self,
        paths: Iterable[str | os.PathLike],
        errors: str = "return",
        batch_size: int = BATCH_SIZE,
        dtype: typing.Any = None,
        engine: str = "auto",
    ) -> Iterator[Prediction]:
        """Predict the class of any number of image files, in memory that stays flat.

        Files are decoded by threads while the network works, in one graph, which takes
        seconds to make the first time; a list of less than 128 paths goes without. Up
        to four batches are on their way. A file that cannot be read has a `Prediction`
        with an `error` in its place.

        Args:
            paths: Paths of image files, also an iterator that makes them one by one.
            errors: `"return"`, or `"raise"` to end at a file that cannot be read.
                Defaults to `"return"`.
            batch_size: Photos that go through the network at once. Defaults to `32`.
            dtype: `"float32"` or `"bfloat16"`, which on some processors takes half the
                time and moves probabilities by some hundredths. Defaults to the faster
                one of them here.
            engine: As in `extract_features`. Defaults to `"auto"`.

        Returns:
            An iterator over one `Prediction` a path, in the same order.

        Raises:
            ValueError: If these are no paths of files, or an argument is wrong.
        """
        raises = one_of("errors", errors, ERRORS) == "raise"
        batch_size = whole_number("batch_size", batch_size, least=1)
        few = isinstance(paths, Sequence) and len(paths) < FEW
        files = path_iterator(paths)
        if one_of("engine", engine, ENGINES) == "auto" and few and dtype is None:
            run = as_it_is(self.model)
        else:
            run = compiled(
                self.model, self.image_size, dtype, engine=engine, batch_size=batch_size
            )
        return self._predictions(files, run, raises, batch_size)

    def _predictions(
        self, files: Iterable, run: Run, raises: bool, batch_size: int
    ) -> Iterator[Prediction]:
        load = functools.partial(load_pixels, image_size=self.image_size)
        photos = read_photos(files, load, AHEAD * batch_size, raises)
        return predictions(photos, run, self.meaning(), batch_size)

    def meaning(self) -> Meaning:
        """Return what the numbers mean that the model gives for photos."""
        return Meaning(self.class_names, self._probabilities, self.unknown)

    def _probabilities(self, outputs: np.ndarray) -> np.ndarray:
        rows = class_probabilities(self.model, outputs)
        if self.temperature is None or not np.isfinite(rows).all():
            return rows
        return tempered(rows, self.temperature)

    def __repr__(self) -> str:
        return text_table(self._rows(), words=(0, 1))

    def _repr_html_(self) -> str:
        return html_table([("Classifier", self.model.name), *self._rows()])

    def _rows(self) -> list[tuple[str, str]]:
        details, photos = self.details or {}, self.trained_on or {}
        names = ", ".join(self.class_names[:SHOWN_NAMES])
        if len(self.class_names) > SHOWN_NAMES:
            names += ", ..."
        backbone = details.get("backbone") or f"of {self.model.name}"
        calibrated, unknown = "no", "not known"
        if self.temperature is not None:
            calibrated = f"yes, temperature {self.temperature:.2f}"
        if self.unknown is not None:
            unknown = f"farther than {self.unknown.threshold:.3f} from training photos"
        counts = [f"{len(sums):,} {name}" for name, sums in photos.items() if sums]
        by = _texts(details.get("versions") or {})
        saved = [str(details.get("saved") or ""), *map(" ".join, by)]
        return [
            ("classes", f"{len(self.class_names)}: {names}"),
            ("backbone", f"{backbone}, images of {self.image_size} px"),
            ("test accuracy", _accuracy(details.get("test"))),
            ("photos", ", ".join(counts) or "not known"),
            ("calibrated", calibrated),
            ("none of these", unknown),
            ("saved", ", ".join(filter(None, saved)) or "not known"),
        ]


def save_classifier(  # noqa: PLR0913
    model: keras.Model,
    path: str | os.PathLike,
    class_names: Sequence[str],
    image_size: int | None = None,
    *,
    temperature: float | None = None,
    unknown: UnknownDetector | None = None,
    trained_on: Mapping[str, Sequence[str]] | None = None,
    details: Mapping | None = None,
) -> pathlib.Path:
    """Save a classifier as one `.keras` file, with its class names and image size.

    `import keras` alone loads the file again, in any process. How the model is compiled
    is kept, with a stock optimizer in place of that of `discriminative_learning_rates`;
    where the optimizer, the loss or a metric is not Keras's own, the saved model is
    uncompiled. The model in memory stays as it is. Of several workers, the first one
    may call it alone.

    Args:
        model: Classifier from square RGB images 0-255, compiled or not.
        path: Where to write; must end in `.keras`. An older file is replaced only
            when the new one is whole, and a folder that is not there is made.
        class_names: Names in the order of the model's outputs, for example
            `splits.class_names`.
        image_size: Side of the images that the model was trained with, in pixels;
            needed only where it takes any size. Defaults to that of the model.
        temperature: Of `fit_temperature` on the validation photos, above 0: what
            `Classifier.predict` calibrates probabilities by. Defaults to none.
        unknown: Of `fit_unknown_detector`, on the features of this model. Defaults to
            none.
        trained_on: SHA-256 of the photo files that choices were made on, in
            hexadecimal digits: a mapping with `"train"` and `"validation"`, such as
            `[photo.sha256 for photo in splits.photos["train"]]`; and with `"left out"`,
            if `splits.left_out` holds any. Defaults to none.
        details: What else is to be known, a mapping of values that JSON can hold:
            `"backbone"`, and as `"test"` what `kept_figures(report, temperature)`
            returns. The date and the versions are added. Defaults to none.

    Returns:
        The path.

    Raises:
        ValueError: If the path has another suffix, there are more or fewer names than
            classes, or the model is no classifier of square RGB images.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> path = kt.save_classifier(model, "model.keras", ["cat", "dog"])
    >>> kt.load_classifier(path).class_names
    ('cat', 'dog')
    """
    path = file_path("path", path)
    if path.suffix != ".keras":
        raise ValueError(
            "The path must end in .keras, in small letters, such as model.keras. "
            f"Received: path={path}"
        )
    if path.is_dir() or not paths.existing_parent(path.parent).is_dir():
        raise ValueError(
            "The path must be that of a file, in a folder; one of the two is not. "
            f"Received: path={path}"
        )
    details = {"saved": today(), "versions": versions()} | (
        _checked_details(details) or {}
    )
    classifier = Classifier(
        model, class_names, image_size, temperature, unknown, trained_on, details
    )
    # Where one of several workers saves, no other has to wait for the variables that
    # Keras makes on the way.
    with workers.alone(), atomic_files.written_whole(path) as temporary:
        write_model(model, temporary)
        write_members(temporary, classifier)
    return path


def load_classifier(path: str | os.PathLike) -> Classifier:
    """Load a classifier that `save_classifier` wrote, ready to predict from files.

    Args:
        path: Path of the `.keras` file.

    Returns:
        A `Classifier`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no Keras model, holds no class names, or they, the image
            size or the resize rule do not fit the model and this version.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> path = kt.save_classifier(
    ...     model, "model.keras", ["cat", "dog"], temperature=1.5
    ... )
    >>> kt.load_classifier(path).temperature
    1.5
    """
    path = model_path("path", path)
    kept = read_members(path)
    model = read_model(path)
    try:
        return Classifier(model, **kept)
    except ValueError as error:
        raise ValueError(
            f"Model and description in this file do not fit together. {error}, "
            f"path={path}"
        ) from error


def known_photos(classifier: Classifier) -> dict[str, str]:
    """Return for the SHA-256 of each photo that choices were made on its split."""
    kept = classifier.trained_on or {}
    return {each: name for name in KNOWN for each in kept.get(name, ())}


def left_out_photos(classifier: Classifier) -> set[str]:
    """Return the SHA-256 of photos that are nearly the same as those of a split."""
    return {*(classifier.trained_on or {}).get(LEFT_OUT, ())}


def versions() -> dict[str, str]:
    """Return the versions of the packages that a model is made by."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _photo_paths(paths, raises: bool) -> list:
    files = [*path_iterator(paths)]
    for path in files:
        check_path(path)
        if raises and file_path("paths", path).is_dir():
            raise ValueError(
                "paths must name photos, not their folder; list what is in it: "
                f"sorted(pathlib.Path({str(path)!r}).iterdir()). Received: paths={path}"
            )
    return files


def _checked_size(model: keras.Model, size: int | None) -> int:
    """Return the side of the images, as it was given or as the model has it."""
    shape = image_shape(model) or (None, None, None)
    height, width, channels = shape
    if channels not in (None, 3) or height != width:
        raise ValueError(
            "Expected a model of square RGB images, as photos are loaded. "
            f"Received: model={shown(model)}, with images of shape {shape}"
        )
    if size is None and height is None:
        raise ValueError(
            "This model takes images of any size, so the one that it was trained with "
            "is needed: pass image_size=224, or whichever it was. "
            f"Received: image_size={size}, images of shape {shape}"
        )
    size = height if size is None else square_size("image_size", size)
    if height not in (None, size):
        raise ValueError(
            f"The model takes images of {height} px. Received: image_size={size}"
        )
    return size


def _checked_temperature(value: typing.Any) -> float | None:
    return None if value is None else real_number("temperature", value, above=0)


def _checked_unknown(value: typing.Any, model: keras.Model) -> UnknownDetector | None:
    if value is None:
        return None
    if not isinstance(value, UnknownDetector):
        raise ValueError(
            "unknown must be what fit_unknown_detector returns, or None. "
            f"Received: unknown={shown(value)}"
        )
    made, kept = pooled_channels(model), value.features.shape[1]
    if made != kept:
        raise ValueError(
            "The detector must be fitted on the pooled features of this model: "
            "pooled_features_of(model, dataset). The model makes "
            f"{made or 'none'}. Received: unknown={shown(value)} of {kept} channels"
        )
    return value


def _checked_photos(value: typing.Any) -> dict[str, tuple[str, ...]] | None:
    if value is None:
        return None
    found = {}
    names = (*KNOWN, LEFT_OUT)
    if isinstance(value, Mapping) and {*value} <= {*names}:
        found = {name: elements(value[name]) for name in names if name in value}
    if not all(map(_are_checksums, found.values())):
        found = {}
    if not found:
        raise ValueError(
            'trained_on must be a mapping from "train" and "validation" to the SHA-256 '
            "of photo files, 64 hexadecimal digits each. "
            f"Received: trained_on={shown(value)}"
        )
    return found


def _are_checksums(values: tuple | None) -> bool:
    return values is not None and all(
        isinstance(each, str) and SHA256.fullmatch(each) for each in values
    )


def _checked_details(value: typing.Any) -> dict | None:
    if value is None:
        return None
    try:
        if not isinstance(value, Mapping):
            raise TypeError("no mapping")
        return json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            "details must be a mapping of values that JSON can hold "
            f"({reason(error)}). Received: details={shown(value)}"
        ) from error


def _accuracy(test: typing.Any) -> str:
    """Return the figures of a test as text, as far as they are there."""
    try:
        low, high = test["accuracy_interval"]
        photos = f"{test['images']:,} photos"
        if test.get("groups"):
            photos += f" of {test['groups']:,} groups"
        return (
            f"{test['accuracy']:.1%} of {photos} (95% interval {low:.1%} to {high:.1%})"
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return "not known"


def _texts(found: typing.Any) -> list[tuple[str, str]]:
    pairs = found.items() if isinstance(found, Mapping) else ()
    return [(str(name), str(version)) for name, version in pairs]


def today() -> str:
    """Return the date and time of now as ISO 8601 writes them, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
