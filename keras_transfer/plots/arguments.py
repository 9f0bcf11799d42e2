"""Take what a figure is to show in every form that has one meaning."""

import typing
from collections.abc import Mapping, Sequence

import numpy as np

from keras_transfer.evaluation.calibration import checked_labels
from keras_transfer.runtime.arguments import elements, number_array, shown


def image_list(name: str, value: typing.Any) -> list[np.ndarray]:
    """Return images of an array, a tensor or a list; a single one as a list of one."""
    given = value
    if getattr(value, "ndim", 0) == 3 and np.shape(value)[-1] == 3:
        given = [value]
    images = elements(given)
    if images is not None:
        # Of grey images, Matplotlib takes the single channel as it is.
        images = [number_array(name, image) for image in images]
        if all(
            image.size
            and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4)))
            for image in images
        ):
            return images
    of = f" of shapes {[image.shape for image in images[:3]]}" if images else ""
    raise ValueError(
        f"{name} must be images of shape (count, height, width, 3), or a list of them. "
        "Of a data set, pass the images of one batch: images, labels = "
        f"next(iter(dataset)). Received: {name}={shown(value)}{of}"
    )


def captions(
    name: str, value: typing.Any, count: int | None = None
) -> list[str] | None:
    """Return texts or numbers to write, one for each of `count`; `None` of `None`."""
    if value is None:
        return None
    given = None if isinstance(value, set | frozenset) else elements(value)
    words = [] if given is None else [_caption(each) for each in given]
    if given is None or None in words or len(words) != (count or len(words)):
        many = "" if count is None else f", one for each of {count}"
        raise ValueError(
            f"{name} must be a list of texts{many}. Received: {name}={shown(value)}"
        )
    return words


def plain(text: str) -> str:
    """Return a text as Matplotlib draws it letter by letter."""
    # Of two dollar signs, it takes what is between them for a formula.
    return text.replace("$", r"\$")


def legend_label(text: str) -> str:
    """Return a text as Matplotlib draws it letter by letter in a legend."""
    # What begins with an underscore would be left out.
    return plain(f" {text}" if text.startswith("_") else text)


def named_classes(class_names: Sequence[str]) -> list[str]:
    """Return the names of classes, of which there is at least one."""
    names = captions("class_names", class_names)
    if not names:
        raise ValueError(
            "class_names must be a list of the names of the classes. "
            f"Received: class_names={shown(class_names)}"
        )
    return names


def class_labels(
    value: typing.Any, num_classes: int, name: str = "labels"
) -> np.ndarray:
    """Return integer labels, also of one-hot ones, each of them with a class."""
    labels = number_array(name, value)
    try:
        return checked_labels(labels, num_classes)
    except ValueError as error:
        raise ValueError(f"{name} must name a class of each image. {error}") from error


def check_predictions(
    labels: Sequence[int],
    probabilities: np.ndarray,
    class_names: list[str] | None = None,
) -> tuple[list[str] | None, np.ndarray, np.ndarray]:
    """Return names and both arrays, or raise an error if they do not fit each other."""
    labels = number_array("labels", labels)
    probabilities = number_array("probabilities", probabilities)
    columns = probabilities.shape[-1:] if class_names is None else (len(class_names),)
    if probabilities.size == 0 and labels.size == 0:
        empty = probabilities.reshape(0, *columns)
        return class_names, labels.reshape(0).astype(int), empty
    if (
        labels.ndim not in (1, 2)
        or probabilities.ndim != 2
        or len(probabilities) != len(labels)
        or probabilities.shape[1:] != columns
    ):
        raise ValueError(
            "Expected one label and one row of probabilities for each image, with one "
            "column a class, as class_probabilities makes them. Received: labels of "
            f"shape {labels.shape}, probabilities of shape {probabilities.shape}, "
            f"class_names={shown(class_names)}"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError(
            "probabilities must be finite: what is no number may come from a training "
            "that diverged. Received: probabilities with "
            f"{np.sum(~np.isfinite(probabilities)):,} that are not"
        )
    return class_names, class_labels(labels, *columns), probabilities


def named_series(name: str, value: typing.Any, what: str) -> dict[str, typing.Any]:
    """Return a mapping from names to what is drawn for each."""
    if isinstance(value, Mapping):
        return {str(key): each for key, each in value.items()}
    raise ValueError(
        f"{name} must be a mapping from names to {what}, such as {{'ours': ...}}. "
        f"Received: {name}={shown(value)}"
    )


def _caption(value) -> str | None:
    if isinstance(value, str):
        return str(value)
    number = getattr(value, "dtype", None) is not None and np.ndim(value) == 0
    return str(value) if number or isinstance(value, int | float) else None
