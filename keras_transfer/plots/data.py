"""Figures of a data set: how many images a class has, and how its features lie."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from keras_transfer.data.splits import Splits
from keras_transfer.plots.arguments import (
    class_labels,
    image_list,
    legend_label,
    named_classes,
    named_series,
    plain,
)
from keras_transfer.plots.images import pixels
from keras_transfer.plots.style import (
    MARKERS,
    axes_or_new,
    check_axes,
    color_of,
    say_none_found,
    style,
)
from keras_transfer.runtime.arguments import number_array, one_of, text, whole_number

METHODS = ("pca", "tsne")
# Up to so many points, t-SNE without approximation is the faster one.
EXACT = 200


def show_class_balance(
    labels: Splits | Mapping[str, Sequence[int]],
    class_names: Sequence[str] | None = None,
    title: str = "Images of each class",
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show how many images each class has in each split.

    Args:
        labels: A mapping from the name of a split to its integer labels, for example
            `{"train": features.train.labels}`, or `Splits`, of which every image is
            read once.
        class_names: Names; label `i` means `class_names[i]`. Defaults to those of the
            `Splits`; a mapping needs them.
        title: Title of the axes. Defaults to `"Images of each class"`.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`, the first class on top, the splits of a class in one bar.

    Raises:
        ValueError: If a mapping comes without class names, or a label has none.

    Example:

    >>> import keras_transfer as kt
    >>> labels = {"train": [0, 0, 1], "test": [1]}
    >>> axes = kt.plots.show_class_balance(labels, ["cat", "dog"])
    """
    check_axes(axes, title)
    if class_names is None and isinstance(labels, Splits):
        class_names = labels.class_names
    if class_names is None:
        raise ValueError(
            "Expected the names of the classes with a mapping of labels. "
            f"Received: class_names={class_names}"
        )
    class_names = named_classes(class_names)
    if isinstance(labels, Splits):
        splits = labels
        labels = {
            split: np.concatenate(
                [batch for _, batch in splits.ordered(split).as_numpy_iterator()]
            )
            for split in splits.counts
        }
    labels = named_series("labels", labels, "labels, as splits have them")
    labels = {
        split: class_labels(found, len(class_names)) for split, found in labels.items()
    }
    rows = np.arange(len(class_names))
    left = np.zeros(len(class_names), int)
    with style():
        axes = axes_or_new(axes, (6, min(1.3 + 0.32 * len(class_names), 12)), title)
        for index, (split, found) in enumerate(labels.items()):
            counts = np.bincount(found, minlength=len(class_names))
            axes.barh(
                rows,
                counts,
                left=left,
                color=color_of(index),
                # Told apart in grey print too.
                hatch=("", "///", "...")[index % 3],
                edgecolor="white",
                label=legend_label(f"{split} ({counts.sum():,})"),
            )
            left = left + counts
        fontsize = 8 if len(rows) < 55 else 5
        if left.any():
            for row, total in zip(rows, left, strict=True):
                axes.text(total, row, f" {total:,}", va="center", fontsize=fontsize)
        else:
            say_none_found(axes)
        axes.set_yticks(rows, [*map(plain, class_names)], fontsize=fontsize)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, max(1, 1.1 * left.max(initial=0)))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("images")
        if labels:
            # Beside the bars: in them it would hide some.
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def show_embedding(  # noqa: PLR0913
    features: np.ndarray,
    labels: Sequence[int],
    class_names: Sequence[str],
    *,
    method: str = "pca",
    thumbnails: np.ndarray | None = None,
    seed: int = 0,
    title: str | None = None,
    axes: plt.Axes | None = None,
) -> plt.Axes:
    """Show feature vectors as points in a plane, so that alike images lie together.

    Args:
        features: Array of shape `(count, channels)`, for example
            `extract_features(...).test.features`; at least 3.
        labels: Integer labels `(count,)`.
        class_names: Names; label `i` means `class_names[i]`.
        method: `"pca"` for the two directions in which the features differ most, or
            `"tsne"`, which keeps neighbours together, but no distances, and takes some
            seconds for a thousand images. Defaults to `"pca"`.
        thumbnails: The images `(count, height, width, 3)`, RGB, 0 to 255; as many are
            drawn as find room. Defaults to none.
        seed: Seed of `"tsne"`, from 0. Defaults to `0`.
        title: Title of the axes. Defaults to one that names the method.
        axes: Matplotlib `Axes` to draw in. Defaults to those of a new figure.

    Returns:
        A Matplotlib `Axes`.

    Raises:
        ValueError: If there is no such method, or the arrays do not fit each other.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> features, labels = np.eye(6, 4), [0, 0, 0, 1, 1, 1]
    >>> axes = kt.plots.show_embedding(features, labels, ["cat", "dog"])

    Reference:

    - [van der Maaten and Hinton, 2008](https://jmlr.org/papers/v9/vandermaaten08a.html)
      (t-SNE)
    """
    class_names = named_classes(class_names)
    method = one_of("method", method, METHODS)
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    features, labels = (
        number_array("features", features),
        number_array("labels", labels),
    )
    if thumbnails is not None:
        thumbnails = image_list("thumbnails", thumbnails)
    _check_embedding(features, labels, thumbnails)
    labels = class_labels(labels, len(class_names))
    title = text("title", title)
    title = title or f"Features in a plane ({'PCA' if method == 'pca' else 't-SNE'})"
    with style():
        axes = axes_or_new(axes, (7, 5), title)
        if not len(features):
            say_none_found(axes)
            return axes
        points, names = _embed(features.astype("float32"), method, seed)
        axes.set(xlabel=names[0], ylabel=names[1])
        for label in np.unique(labels):
            axes.scatter(
                *points[labels == label].T,
                s=16,
                color=color_of(label),
                marker=MARKERS[label % len(MARKERS)],
                label=legend_label(class_names[label]),
            )
        if method == "tsne":
            axes.set(xticks=[], yticks=[])
        columns = -(-len(class_names) // 24)
        axes.legend(
            frameon=False,
            fontsize=8,
            ncols=columns,
            loc="upper left",
            bbox_to_anchor=(1, 1),
        )
        if thumbnails is not None:
            axes.margins(0.1)  # So that none of them reaches into the title.
            _add_thumbnails(axes, points, labels, thumbnails)
    return axes


def _embed(features, method, seed) -> tuple[np.ndarray, list[str]]:
    """Return points `(count, 2)` and what the two axes mean."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    names = ["t-SNE 1 (no unit)", "t-SNE 2 (no unit)"]
    # The authors of t-SNE take 30 components first: faster, and less noise.
    components = 2 if method == "pca" else min(30, *features.shape)
    with np.errstate(invalid="ignore"):  # Of features that are all the same.
        pca = PCA(components, random_state=seed)
        points = pca.fit_transform(features)
    if method == "pca":
        shares = 100 * np.nan_to_num(pca.explained_variance_ratio_)
        names = [
            f"component {number} ({share:.0f} % of the variance)"
            for number, share in enumerate(shares, start=1)
        ]
    if method == "pca" or not points.any():  # t-SNE would divide by their spread.
        return points[:, :2], names
    perplexity = min(30, (len(features) - 1) / 3)
    # Its tree of points pays only where there are many.
    way = "exact" if len(features) <= EXACT else "barnes_hut"
    tsne = TSNE(2, perplexity=perplexity, random_state=seed, method=way)
    return tsne.fit_transform(points), names


def _add_thumbnails(axes, points, labels, images, side: int = 30) -> None:
    """Draw images at their points, each where no other one is in the way."""
    axes.figure.draw_without_rendering()  # Only then points have a place in pixels.
    places = axes.transData.transform(points)
    room = 1.15 * side * axes.figure.dpi / 72
    taken = []
    for index, place in enumerate(places):
        if any(np.abs(place - other).max() < room for other in taken):
            continue
        taken.append(place)
        image = pixels(images[index])
        axes.add_artist(
            AnnotationBbox(
                OffsetImage(image, zoom=side / max(image.shape[:2])),
                points[index],
                pad=0.1,
                bboxprops={"edgecolor": color_of(labels[index]), "linewidth": 2},
            )
        )


def _check_embedding(features, labels, thumbnails) -> None:
    counts = [
        len(array) if np.ndim(array) else 0
        for array in (features, labels, *([] if thumbnails is None else [thumbnails]))
    ]
    if len({*counts}) > 1:
        raise ValueError(
            "Expected one label, and one thumbnail or none, for each feature vector. "
            f"Received: {counts[0]} features, {counts[1]} labels, thumbnails="
            f"{None if thumbnails is None else len(thumbnails)}"
        )
    if counts[0] and (features.ndim != 2 or min(features.shape) < 3):
        raise ValueError(
            "Expected at least 3 feature vectors (count, channels) with at least 3 "
            f"channels. Received: features of shape {features.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError(
            "features must be finite. "
            f"Received: {np.sum(~np.isfinite(features)):,} that are not"
        )
