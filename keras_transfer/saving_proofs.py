"""Proof that a saved model predicts the same in a new process."""

import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_transfer.classifier.model_files import model_path
from keras_transfer.models.outputs import as_array, only_output
from keras_transfer.runtime.arguments import keras_model, reason, shown
from keras_transfer.runtime.status_lines import say

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
    # The process finds the modules that can be imported here.
    search_path = os.pathsep.join(filter(None, map(str, sys.path)))
    variables = os.environ | {"PYTHONPATH": search_path}
    variables.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    variables.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = (pathlib.Path(folder) / f"{x}.npy" for x in ("in", "out"))
        np.save(inputs, images)
        process = subprocess.run(
            [sys.executable, "-c", PREDICT, path, inputs, outputs],
            cwd=folder,
            env=variables,
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
    reason = lines[-1][:200] if lines else f"exit code {process.returncode}"
    raise AssertionError(
        f"{path.name} cannot be loaded with `import keras` alone ({reason}). Build the "
        "model of Keras's own layers, without Lambda and classes of yours, and save it "
        "again."
    )
