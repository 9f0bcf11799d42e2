"""The forms in which networks are given pixels, as affine maps of RGB from 0 to 255."""

import functools
import itertools
import typing
from collections.abc import Callable

import keras
import numpy as np

from keras_transfer.backbones import preprocessing, registry

CORNERS = 255.0 * np.array([*itertools.product((0, 1), repeat=3)])
# Below this share of the expected range, two forms are the same to a network.
SAME = 0.02


class Affine(typing.NamedTuple):
    """Map a colour to what a network is given for it: `matrix @ colour + offset`.

    Attributes:
        matrix: Array of shape `(3, 3)`.
        offset: Array of shape `(3,)`.
    """

    matrix: np.ndarray
    offset: np.ndarray

    def apply(self, colours: np.ndarray) -> np.ndarray:
        """Map colours of shape `(..., 3)`."""
        return colours @ self.matrix.T + self.offset

    def after(self, first: "Affine") -> "Affine":
        """Return the map that applies `first` and then this one."""
        return Affine(self.matrix @ first.matrix, self.apply(first.offset))

    def reversed(self) -> "Affine":
        """Return the map with the channels of its output in reverse order."""
        return Affine(self.matrix[::-1], self.offset[::-1])

    @property
    def low(self) -> np.ndarray:
        """The lowest value of each channel that comes out."""
        return self.apply(CORNERS).min(axis=0)

    @property
    def high(self) -> np.ndarray:
        """The highest value of each channel that comes out."""
        return self.apply(CORNERS).max(axis=0)

    def distance(self, expected: "Affine") -> float:
        """Return how far two maps differ at most, as a share of the expected range."""
        width = np.max(expected.high - expected.low)
        difference = self.apply(CORNERS) - expected.apply(CORNERS)
        return float(np.abs(difference).max() / width)

    def describe(self) -> str:
        """Return the range and the order of the channels in words."""
        low, high = self.low.min(), self.high.max()
        # What is left of 0 after a fit is rounding.
        zero = max(high - low, 1e-12) / 1e3
        shown = [0.0 if abs(x) < zero else x for x in (low, high)]
        numbers = f"{shown[0]:.4g} to {shown[1]:.4g}"
        sizes = np.abs(self.matrix)
        if np.trace(sizes) > 0.9 * sizes.sum():
            return f"{numbers} in RGB order"
        if np.trace(sizes[::-1]) > 0.9 * sizes.sum():
            return f"{numbers} in BGR order"
        return f"{numbers}, channels mixed"


def probe(run: Callable, shape: tuple[int, int, int]) -> Affine | None:
    """Return the map that `run` applies to each pixel, or `None` if it is not affine.

    Plain images of black, red, green and blue determine it; a fifth one must agree.
    """
    tests = np.float32([[0] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 90, 30]])
    images = np.broadcast_to(tests[:, None, None], (len(tests), *shape))
    outputs = np.asarray(keras.ops.convert_to_numpy(run(images)), "float64")
    if outputs.ndim != 4 or outputs.shape[-1] != 3:
        return None
    # In the middle, because padding puts zeros around.
    found = outputs[:, outputs.shape[1] // 2, outputs.shape[2] // 2]
    affine = Affine((found[1:4] - found[0]).T / 255, found[0])
    width = max(np.ptp(found), 1e-12)
    if not np.allclose(affine.apply(tests[4]), found[4], atol=SAME * width):
        return None
    return affine


def fit(colours: np.ndarray, values: np.ndarray) -> tuple[Affine, float]:
    """Return the map from colours to values, and what it leaves unexplained.

    Args:
        colours: RGB pixels of shape `(count, 3)`, 0 to 255.
        values: What a network is given for them, of the same shape.

    Returns:
        The `Affine` of least squares, and the typical (root mean square) difference
        from `values`, in levels of the 255.
    """
    columns = np.column_stack([colours, np.ones(len(colours))]).astype("float64")
    solution, *_ = np.linalg.lstsq(columns, values.astype("float64"), rcond=None)
    residuals = values - columns @ solution
    affine = Affine(solution[:3].T, solution[3])
    scale = np.abs(affine.matrix).sum(axis=1).mean()
    return affine, float(np.sqrt(np.mean(residuals**2)) / max(scale, 1e-12))


def of_range(low: np.ndarray, high: np.ndarray) -> Affine | None:
    """Return the narrowest usual form whose values reach from `low` to `high`.

    Args:
        low: Lowest value of each channel in a few photos.
        high: The highest ones.
    """
    fitting = []
    for form in forms().values():
        width = form.high - form.low
        inside = np.all(low >= form.low - SAME * width)
        inside &= np.all(high <= form.high + SAME * width)
        # Photos nearly always hold something dark and something bright.
        if inside and np.all(high - low > 0.5 * width):
            fitting.append((width.prod(), form))
    return min(fitting, key=lambda pair: pair[0])[1] if fitting else None


def name_of(affine: Affine) -> str | None:
    """Return the usual name of a form, or `None`."""
    for name, form in forms().items():
        if affine.distance(form) < SAME:
            return name
    return None


def preprocessing_of(architecture: str) -> Affine | None:
    """Return the form that the weights of a backbone were trained with.

    It is `None` where the preprocessing is not affine, as one from outside may be.
    """
    return _form(registry.architecture(architecture).preprocess)


def _form(preprocess: Callable) -> Affine | None:
    inputs = keras.Input((1, 1, 3))
    return probe(keras.Model(inputs, preprocess(inputs)), (1, 1, 3))


def _scaled(scale, offset) -> Affine:
    return Affine(np.eye(3) * scale, np.broadcast_to(np.asarray(offset, float), (3,)))


@functools.cache
def forms() -> dict[str, Affine]:
    """Return the usual forms, and usual mistakes, by name."""
    pixels, unit = _scaled(1.0, 0.0), _scaled(1 / 255, 0.0)
    centred = _scaled(1 / 127.5, -1.0)
    caffe = _form(preprocessing.caffe)
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    standard = _scaled(1 / deviation, -mean / deviation).after(unit)
    once = {
        "raw pixels": pixels,
        "pixels / 255": unit,
        "pixels / 127.5 - 1": centred,
        "the mean and deviation of ImageNet (the torch mode)": standard,
        "BGR less the mean of ImageNet (the caffe mode)": caffe,
    }
    return once | {
        "the caffe mode without its change to BGR": caffe.reversed(),
        "pixels / 255 twice": unit.after(unit),
        "pixels / 127.5 - 1 of pixels / 255": centred.after(unit),
        "pixels / 127.5 - 1 twice": centred.after(centred),
        "the caffe mode twice": caffe.after(caffe),
        "the caffe mode of pixels / 255": caffe.after(unit),
        "pixels / 255 of the caffe mode": unit.after(caffe),
        "pixels / 127.5 - 1 of the caffe mode": centred.after(caffe),
        "the torch mode of pixels / 255": standard.after(unit),
    }
