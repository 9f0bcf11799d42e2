"""Proofs about answers: by which names, and whether they come again."""

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_transfer.classifier.model_files import model_path
from keras_transfer.models.outputs import as_array, only_output
from keras_transfer.runtime.arguments import keras_model, reason, shown, texts
from keras_transfer.runtime.processes import child_environment
from keras_transfer.runtime.status_lines import say
from keras_transfer.verify.weights import same_bits, snapshot

# A class is answered by another name only if chance is no explanation.
CHANCE = 1e-3
# Rounding differs a little between processes, more on a GPU.
TOLERANCE = 1e-3
# What it prints last is why the file loads only without how it is compiled, if so.
PREDICT = """
import sys
import keras
import numpy as np
try:
    model = keras.saving.load_model(sys.argv[1])
except Exception as error:
    model = keras.saving.load_model(sys.argv[1], compile=False)
    print(" ".join(str(error).split("\\n")[0].split())[:150])
outputs = model(np.load(sys.argv[2]), training=False)
(outputs,) = keras.tree.flatten(outputs)
np.save(sys.argv[3], keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32")))
"""


def assert_label_order(
    labels: Sequence[int], predicted: Sequence[int], class_names: Sequence[str]
) -> dict[str, float]:
    """Assert that a label and an output of the same number mean the same class.

    Classes whose names were mixed up take each other's place: most images of each are
    answered with the next one's. That is looked for. A model that is often wrong, or
    has few images of a class, gives no evidence either way, and passes.

    Args:
        labels: Integer labels `(count,)`, for example `report.labels`.
        predicted: Predicted classes `(count,)` of the same images, for example
            `report.predicted`.
        class_names: Names; label `i` means `class_names[i]`.

    Returns:
        For each class the share of its images that are answered with it.

    Raises:
        AssertionError: If classes take each other's place.
        ValueError: If labels, predictions and names do not fit together.

    Example:

    >>> import keras_transfer as kt
    >>> kt.verify.assert_label_order([0, 0, 1, 1], [0, 0, 1, 0], ["cat", "dog"])
    {'cat': 1.0, 'dog': 0.5}
    """
    from scipy.stats import binomtest
    from sklearn.metrics import confusion_matrix

    class_names = texts("class_names", class_names, 1)
    labels, predicted = _array(labels), _array(predicted)
    known = range(len(class_names))
    if (
        not {labels.dtype.kind, predicted.dtype.kind} <= {*"iuf"}
        or labels.ndim != 1
        or not labels.size
        or labels.shape != predicted.shape
        or not np.isin([*labels, *predicted], known).all()
    ):
        raise ValueError(
            "Expected one label and one predicted class for each image, integers from "
            f"0 to {len(class_names) - 1}. Received: labels of shape {labels.shape}, "
            f"predicted of shape {predicted.shape}"
        )
    matrix = confusion_matrix(labels, predicted, labels=known)
    taken_for = {}
    for label, row in enumerate(matrix):
        other = row.argmax()
        if other != label and row[other] > row.sum() / 2:
            taken_for[label] = int(other)
    # Those that no class in turn is taken for stand for a mistake, not for an order.
    while set(taken_for) != set(taken_for.values()):
        taken_for = {
            label: other
            for label, other in taken_for.items()
            if other in taken_for and label in taken_for.values()
        }
    # Each circle by itself: few images of a class are more together.
    for circle in _circles(taken_for):
        own = sum(int(matrix[label, label]) for label in circle)
        other = sum(int(matrix[label, taken_for[label]]) for label in circle)
        if binomtest(own, own + other, alternative="less").pvalue >= CHANCE:
            for label in circle:
                del taken_for[label]
    if taken_for:
        pairs = [
            f"{class_names[a]} with {class_names[b]}" for a, b in taken_for.items()
        ]
        raise AssertionError(
            f"{len(pairs)} classes take each other's place: the model answers most "
            f"images of {', of '.join(pairs[:5])}. The labels and the outputs of the "
            "model are numbered in another order: use the class names of the data that "
            "the model was trained on, such as splits.class_names, for both."
        )
    counts = np.maximum(matrix.sum(axis=1), 1)
    return {
        name: float(share)
        for name, share in zip(class_names, matrix.diagonal() / counts, strict=True)
    }


def _circles(taken_for: dict[int, int]) -> list[list[int]]:
    """Return the labels that take each other's place, each circle for itself."""
    circles, left = [], {*taken_for}
    while left:
        circle = [min(left)]
        while taken_for[circle[-1]] != circle[0]:
            circle.append(taken_for[circle[-1]])
        circles.append(circle)
        left -= {*circle}
    return circles


def _array(values) -> np.ndarray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError):  # Rows of different lengths.
        return np.asarray(None)


def assert_reproducible(function: Callable[[], object]) -> object:
    """Assert that two calls of a function give the same, bit for bit.

    Args:
        function: Takes nothing, and returns numbers, arrays, trained models, the
            `History` of `fit`, or lists, tuples and dictionaries of them. All that is
            random must begin anew in it: its seed, its model, its order of photos.

    Returns:
        What the second call returned.

    Raises:
        AssertionError: If the calls differ.
        ValueError: If the function returns nothing that can be compared.

    Example:

    >>> import keras, keras_transfer as kt
    >>> def draw():
    ...     keras.utils.set_random_seed(0)
    ...     return keras.random.uniform((3,))
    >>> kt.verify.assert_reproducible(draw).shape
    TensorShape([3])
    """
    if not callable(function):
        raise ValueError(
            "function must be a function that takes nothing; pass its name without "
            f"brackets. Received: function={shown(function)}"
        )
    first, result = _values(function())
    # Read before the second call, which may go on with the same model.
    second, again = _values(function())
    if not any(value.dtype.kind not in "OUS" for value in first) or any(
        value.dtype == object for value in first
    ):
        raise ValueError(
            "Expected a function that returns numbers, arrays, models or a History. "
            f"Received: function={shown(function)}, which returned {shown(result)}"
        )
    same = [same_bits(a, b) for a, b in zip(first, second, strict=False)]
    if len(first) != len(second) or not all(same):
        raise AssertionError(
            f"Two calls differ in {len(same) - sum(same)} of {len(same)} results. "
            "Begin the function with keras.utils.set_random_seed(...), and build the "
            "model, the augmentation and the data set that shuffles inside it; on a "
            "GPU, call tf.config.experimental.enable_op_determinism() first."
        )
    return again


def _values(result) -> tuple[list[np.ndarray], object]:
    """Return copies of all numbers in a result, and the result."""
    values = []
    # None is a leaf like any other: it can be compared with nothing.
    for leaf in [result] if result is None else keras.tree.flatten(result):
        if isinstance(leaf, keras.Model):
            values += snapshot(leaf).values()
        elif isinstance(leaf, keras.callbacks.History):
            values += _values(leaf.history)[0]
        else:
            values.append(np.array(_array(leaf)))
    return values, result


def assert_same_predictions(
    model: keras.Model, path: str | os.PathLike, images: np.ndarray
) -> float:
    """Assert that the saved model predicts the same in a new process.

    The file is loaded with `import keras` alone, as where this package is not
    installed. Where its optimizer, loss or metrics are not Keras's own, it is loaded
    without them, which is said. The process takes some seconds to start, and the model
    stays as it is.

    Args:
        model: `keras.Model` that was saved, with one output.
        path: Path of the file, such as `save_classifier` returns it.
        images: Images as the model takes them, of shape `(count, height, width, 3)`.

    Returns:
        The largest difference between two outputs.

    Raises:
        AssertionError: If the file cannot be loaded there, or an output differs by more
            than 0.001.
        FileNotFoundError: If there is no such file.
        ValueError: If the model does not take these images, or has several outputs.

    Example:

    >>> import keras, numpy as np, keras_transfer as kt
    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    >>> model.save("model.keras")
    >>> images = np.zeros((2, 8, 8, 3), "float32")
    >>> kt.verify.assert_same_predictions(model, "model.keras", images)
    0.0
    """
    keras_model("model", model)
    path = model_path("path", path).absolute()
    try:
        images = np.asarray(images)
        if images.dtype.kind not in "iuf" or not images.ndim or not len(images):
            raise ValueError("no array of at least one image")
        expected = as_array(only_output(model(images, training=False)))
    except Exception as error:
        shapes = [tuple(x.shape) for x in getattr(model, "inputs", None) or ()]
        raise ValueError(
            "Expected a model with one output, and images as its one input takes them, "
            f"of shape {shapes or 'unknown'}, as an array "
            f"({reason(error)}). "
            f"Received: images={shown(getattr(images, 'shape', images))}"
        ) from error
    if np.isnan(expected).any():
        raise AssertionError(
            f"The model gives NaN for {np.isnan(expected).sum()} of {expected.size} "
            "outputs, and NaN says nothing about the file: training diverged."
        )
    differ = len(images) > 1 and bool(np.any(images != images[:1]))
    if differ and bool(np.all(expected == expected[:1])):
        raise AssertionError(
            f"The model gives all {len(images)} images the same outputs, which another "
            "model might give as well: pass images that it tells apart, or look why "
            "its outputs are dead."
        )
    found = _predict_elsewhere(path, images)
    if found.shape != expected.shape:
        raise AssertionError(
            f"The model in {path.name} gives outputs of shape {found.shape}, this one "
            f"{expected.shape}: it is another model. Save this one again."
        )
    difference = float(np.abs(found - expected).max())
    if not np.allclose(found, expected, TOLERANCE, TOLERANCE, equal_nan=True):
        raise AssertionError(
            f"The model in {path.name} predicts otherwise, by up to {difference:.3g}. "
            "Likely reasons: it was trained on after it was saved, or its outputs "
            "depend on chance or on something outside the file. Save it again."
        )
    return difference


def _predict_elsewhere(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = (pathlib.Path(folder) / f"{x}.npy" for x in ("in", "out"))
        np.save(inputs, images)
        process = subprocess.run(
            [sys.executable, "-c", PREDICT, path, inputs, outputs],
            cwd=folder,
            env=child_environment(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if process.returncode == 0:
            if process.stdout.strip():
                say(
                    f"{path.name} loads with keras.saving.load_model(path, "
                    f"compile=False) only: {process.stdout.strip()}"
                )
            return np.load(outputs)
    text = process.stderr
    # What Keras wraps says more than what it is wrapped in.
    lines = [x for x in text.splitlines() if "Error: " in x or "encountered: " in x]
    why = lines[-1][:200] if lines else f"exit code {process.returncode}"
    raise AssertionError(
        f"{path.name} cannot be loaded with `import keras` alone ({why}). Build the "
        "model of Keras's own layers, without Lambda and classes of yours, and save it "
        "again."
    )
