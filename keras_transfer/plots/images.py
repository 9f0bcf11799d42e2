"""Figures of images: grids, augmentation, Grad-CAM."""

import textwrap
from collections.abc import Sequence

import keras
import matplotlib.pyplot as plt
import numpy as np

from keras_transfer.plots.arguments import (
    captions,
    check_predictions,
    image_list,
    named_classes,
    plain,
)
from keras_transfer.plots.style import COLORS, say_none_found, style
from keras_transfer.runtime.arguments import (
    image_layer,
    number_array,
    reason,
    shown,
    text,
    whole_number,
)

# Letters above an image: more would reach into what is above the next one.
LETTERS = 24


def show_images(
    images: np.ndarray,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 6,
    title: str | None = None,
) -> plt.Figure:
    """Show images in a grid.

    Args:
        images: Images of shape `(count, height, width, 3)`, RGB, 0 to 255.
        titles: Text above each image. Defaults to none.
        columns: Images in a row, at least 1. Defaults to `6`.
        title: Title of the figure. Defaults to none.

    Returns:
        A Matplotlib `Figure`. Without images it says so in words.

    Raises:
        ValueError: If these are no images, or there is not one title for each.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> figure = kt.plots.show_images(np.zeros((2, 8, 8, 3)), ["left", "right"])
    """
    images = image_list("images", images)
    return _in_grid(images, titles, columns, title)


def _in_grid(images, titles, columns, title, letters: int = LETTERS) -> plt.Figure:
    titles = captions("titles", titles, len(images))
    figure, axes = grid(len(images), columns, title)
    for index, (image, axis) in enumerate(zip(images, axes.flat, strict=False)):
        show_pixels(axis, image)
        if titles is not None:
            _write_above(axis, titles[index], letters)
    return figure


def show_pairs(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    columns: int = 3,
    title: str | None = None,
) -> plt.Figure:
    """Show images in pairs, the two of each side by side.

    Args:
        first: Images of shape `(height, width, 3)`, RGB, 0 to 255.
        second: As many images, each of the size of the one beside it.
        titles: Text above each pair. Defaults to none.
        columns: Pairs in a row, at least 1. Defaults to `3`.
        title: Title of the figure. Defaults to none.

    Returns:
        A Matplotlib `Figure`. Without images it says so in words.

    Raises:
        ValueError: If the two of a pair are not of one size, or there is not one title
            for each.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> images = np.zeros((2, 8, 8, 3))
    >>> figure = kt.plots.show_pairs(images, images + 9, ["a pair", "another"])
    """
    first, second = image_list("first", first), image_list("second", second)
    shapes = [[image.shape for image in images] for images in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "Expected two images of one size for each pair. "
            f"Received: images of the shapes {shown(shapes[0])} and {shown(shapes[1])}"
        )
    joined = []
    for left, right in zip(first, second, strict=True):
        height, width, *channels = left.shape
        gap = np.full((height, max(1, width // 16), *channels), 255)
        joined.append(np.hstack([left, gap, right]))
    figure = _in_grid(joined, titles, columns, title, 2 * LETTERS)
    width, height = figure.get_size_inches()
    figure.set_size_inches(2 * width, height)
    return figure


def show_augmentation(
    image: np.ndarray,
    layer: keras.layers.Layer,
    *,
    count: int = 11,
    columns: int = 6,
    title: str | None = None,
) -> plt.Figure:
    """Show one image, and what an augmentation layer makes of it in training.

    Args:
        image: Image of shape `(height, width, 3)`, RGB, 0 to 255.
        layer: Layer from `build_augmentation`, or any other random Keras layer, or a
            list of them.
        count: Changed images, at least 1. Defaults to `11`.
        columns: Images in a row, at least 1. Defaults to `6`.
        title: Title of the figure. Defaults to the name of the layer.

    Returns:
        A Matplotlib `Figure`, the image itself first.

    Raises:
        ValueError: If this is no image, or no layer that makes images of it.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> layer = kt.build_augmentation("light")
    >>> figure = kt.plots.show_augmentation(np.zeros((8, 8, 3)), layer, count=2)
    """
    images = image_list("image", image)
    if len(images) != 1:
        raise ValueError(
            "image must be one image of shape (height, width, 3), such as images[0]. "
            f"Received: image with {len(images)} images"
        )
    image = images[0].astype("float32")
    count = whole_number("count", count, least=1)
    layer = image_layer("layer", layer)
    wanted = "layer must be a Keras layer that makes images of images"
    if layer is None:
        raise ValueError(f"{wanted}, as build_augmentation does. Received: layer=None")
    try:
        changed = layer(np.stack([image] * count), training=True)
        changed = image_list("layer", keras.ops.convert_to_numpy(changed))
    except Exception as error:  # A layer of one's own may raise anything.
        raise ValueError(
            f"{wanted} ({reason(error)}). Received: layer={shown(layer)}"
        ) from error
    title = text("title", title) or layer.name.replace("_", " ").capitalize()
    return show_images(
        [image, *changed], ["original"] + [""] * count, columns=columns, title=title
    )


def show_grad_cam(
    images: np.ndarray,
    maps: np.ndarray,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 6,
    title: str = "Grad-CAM: what speaks for the class",
) -> plt.Figure:
    """Show images, and below each of them the same one under its Grad-CAM map.

    Args:
        images: Images of shape `(count, height, width, 3)`, RGB, 0 to 255.
        maps: Array of shape `(count, height, width)`, 0 to 1, from `grad_cam`.
        titles: Text above each image, for example the class that is explained.
            Defaults to none.
        columns: Images in a row, at least 1. Defaults to `6`.
        title: Title of the figure.

    Returns:
        A Matplotlib `Figure`. Without images it says so in words.

    Raises:
        ValueError: If there is not one map of its size for each image, or one title.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> images, maps = np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8))
    >>> figure = kt.plots.show_grad_cam(images, maps, ["cat", "dog"])

    Reference:

    - [Selvaraju et al., 2016](https://arxiv.org/abs/1610.02391)
    """
    images, maps = image_list("images", images), number_array("maps", maps)
    titles = captions("titles", titles, len(images))
    if len({image.shape for image in images}) > 1 or (
        images and maps.shape != (len(images), *images[0].shape[:2])
    ):
        shapes = [image.shape for image in images]
        raise ValueError(
            "Expected one map of the same size for each image, as grad_cam makes "
            f"them. Received: images of shapes {shown(shapes)}, maps of shape "
            f"{maps.shape}"
        )
    columns = min(whole_number("columns", columns, least=1), max(1, len(images)))
    # Without titles between, the two of a pair stay close together.
    panels = 2 if len(images) else 1
    figure, axes = grid(len(images), columns, title, row_height=1.55, panels=panels)
    for index, (image, heat) in enumerate(zip(images, maps, strict=False)):
        row, column = divmod(index, columns)
        above, below = axes[2 * row, column], axes[2 * row + 1, column]
        show_pixels(above, image)
        # In grey, so that every colour is the map's.
        grey = pixels(image) if image.ndim == 2 else pixels(image).mean(axis=-1)
        below.imshow(grey, cmap="gray", vmin=0, vmax=255)
        overlay = below.imshow(heat, cmap="inferno", alpha=0.6, vmin=0, vmax=1)
        if titles is not None:
            _write_above(above, titles[index])
    if len(images):
        bar = figure.colorbar(overlay, ax=axes, shrink=0.6, aspect=30, pad=0.02)
        bar.set_label("evidence, as a share of the peak", fontsize=8)
        bar.ax.tick_params(labelsize=8)
    return figure


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return an image under its Grad-CAM map, as `show_grad_cam` draws it.

    Args:
        image: Image of shape `(height, width, 3)`, RGB, 0 to 255.
        heat: Map of shape `(height, width)`, 0 to 1.
    """
    grey = pixels(image).mean(axis=-1, keepdims=True)
    color = 255 * plt.colormaps["inferno"](heat)[..., :3]
    return pixels(0.4 * grey + 0.6 * color)


def show_pixels(axes: plt.Axes, image: np.ndarray) -> None:
    """Draw an image; one of a single channel in grey."""
    axes.imshow(pixels(image), cmap="gray", vmin=0, vmax=255)


def grid(
    count: int,
    columns: int,
    title: str | None,
    row_height: float = 1.85,
    panels: int = 1,
) -> tuple[plt.Figure, np.ndarray]:
    """Return a figure for `count` images, with `panels` below each other for each."""
    columns = min(whole_number("columns", columns, least=1), max(1, count))
    title = text("title", title)
    rows = panels * max(1, -(-count // columns))
    # Wide enough for a title above a single image, or above none.
    width = max(1.6 * columns, 4.0 if title else 0)
    with style():
        figure, axes = plt.subplots(
            rows, columns, figsize=(width, row_height * rows), squeeze=False
        )
    for axis in axes.flat:
        axis.axis("off")
    if count == 0:
        say_none_found(axes[0, 0])
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, axes


def pixels(image: np.ndarray) -> np.ndarray:
    """Return an image as Matplotlib draws it; what is no number is black."""
    return np.nan_to_num(image).clip(0, 255).astype("uint8")


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
        _write_above(axis, text)
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


def _write_above(axis: plt.Axes, text: str, letters: int = LETTERS) -> None:
    """Write lines above an image, those that are longer than it is wide in several."""
    lines = [textwrap.fill(line, letters) for line in text.split("\n")]
    axis.set_title(plain("\n".join(lines)), fontsize=8)


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
