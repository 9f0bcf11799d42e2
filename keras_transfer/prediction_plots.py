"""Figures of single predictions: images with what was said of them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from keras_transfer.evaluation_plots import check_predictions
from keras_transfer.image_plots import grid, show_pixels
from keras_transfer.plot_arguments import image_list, named_classes
from keras_transfer.plot_style import COLORS
from keras_transfer.runtime.arguments import whole_number


def show_predictions(
    images: np.ndarray,
    labels: Sequence[int],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    *,
    columns: int = 6,
    title: str | None = None,
) -> plt.Figure:
    """Show images with the predicted class and its probability.

    A wrong prediction has a cross, a thick frame and the true class in a second line.

    Args:
        images: Images of shape `(count, height, width, 3)`, RGB, 0 to 255.
        labels: True integer labels `(count,)`.
        probabilities: Array of shape `(count, num_classes)`, 0 to 1, as
            `class_probabilities` makes it.
        class_names: Names; label `i` means `class_names[i]`.
        columns: Images in a row, at least 1. Defaults to `6`.
        title: Title of the figure. Defaults to none.

    Returns:
        A Matplotlib `Figure`. Without images it says so in words.

    Raises:
        ValueError: If images, labels, probabilities and names do not fit each other.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> images, probabilities = np.zeros((2, 8, 8, 3)), [[0.9, 0.1], [0.6, 0.4]]
    >>> names = ["cat", "dog"]
    >>> figure = kt.plots.show_predictions(images, [0, 1], probabilities, names)
    """
    class_names, labels, probabilities = check_predictions(
        labels, probabilities, named_classes(class_names)
    )
    images = _checked_images(images, labels)
    figure, axes = grid(len(images), columns, title, row_height=2.1)
    for image, label, row, axis in zip(
        images, labels, probabilities, axes.flat, strict=False
    ):
        predicted = int(row.argmax())
        right = predicted == label
        said = f"{class_names[predicted]} {100 * row[predicted]:.0f} %"
        text = f"\u2713 {said}\n"
        if not right:
            text = f"\u2717 {said}\ntrue: {class_names[label]}"
        show_pixels(axis, image)
        axis.set_title(text, fontsize=8)
        if not right:
            _frame(axis, COLORS[1])
    return figure


def show_mistakes(
    images: np.ndarray,
    labels: Sequence[int],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    *,
    count: int = 12,
    columns: int = 6,
    title: str = "Most confident mistakes",
) -> plt.Figure:
    """Show the images that a classifier was wrong about, the surest first.

    Args:
        images: Images of shape `(count, height, width, 3)`, RGB, 0 to 255.
        labels: True integer labels `(count,)`.
        probabilities: Array of shape `(count, num_classes)`, 0 to 1, as
            `class_probabilities` makes it.
        class_names: Names; label `i` means `class_names[i]`.
        count: Most images to show, at least 1. Defaults to `12`.
        columns: Images in a row, at least 1. Defaults to `6`.
        title: Title of the figure. Defaults to `"Most confident mistakes"`.

    Returns:
        A Matplotlib `Figure`: above each image what was predicted, and below that the
        true class. Without mistakes it says so in words.

    Raises:
        ValueError: If images, labels, probabilities and names do not fit each other.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> images, probabilities = np.zeros((2, 8, 8, 3)), [[0.9, 0.1], [0.6, 0.4]]
    >>> names = ["cat", "dog"]
    >>> figure = kt.plots.show_mistakes(images, [0, 1], probabilities, names)
    """
    class_names, labels, probabilities = check_predictions(
        labels, probabilities, named_classes(class_names)
    )
    images = _checked_images(images, labels)
    count = whole_number("count", count, least=1)
    (wrong,) = np.nonzero(probabilities.argmax(axis=-1) != labels)
    surest = np.argsort(-probabilities[wrong].max(axis=-1, initial=0), kind="stable")
    chosen = wrong[surest][:count]
    return show_predictions(
        [images[index] for index in chosen],
        labels[chosen],
        probabilities[chosen],
        class_names,
        columns=columns,
        title=title,
    )


def _frame(axis: plt.Axes, color: str) -> None:
    axis.axis("on")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, color=color, linewidth=3)


def _checked_images(images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    images = image_list("images", images)
    if len(images) != len(labels):
        raise ValueError(
            "Expected one label for each image. "
            f"Received: {len(images)} images, {len(labels)} labels"
        )
    return images
