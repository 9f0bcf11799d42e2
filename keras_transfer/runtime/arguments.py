"""Take an argument in every form that has one meaning, and refuse the others plainly.

People come with NumPy's integers, one callback in place of a list, `(160, 160)`, a
path with `~`. What can only mean one thing is taken; all else raises a `ValueError`
that says what was expected and what was received, before any work is done.
"""

import keyword
import math
import numbers
import os
import pathlib
import re
import typing
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping


def whole_number(
    name: str, value: typing.Any, least: int | None = None, most: int | None = None
) -> int:
    """Return an integer argument as a Python `int`.

    NumPy's integers, arrays of one number and floats without a fraction are taken;
    `True` and text are not.

    Args:
        name: Name of the argument, for the error.
        value: What was given.
        least: Lowest value allowed. Defaults to any.
        most: Highest value allowed. Defaults to any.
    """
    number = _number(value)
    if (
        number is None
        or not _finite(number)
        or number != int(number)
        or (least is not None and number < least)
        or (most is not None and number > most)
    ):
        allowed = _range(("at least", least), ("at most", most))
        raise ValueError(
            f"{name} must be a whole number{allowed}. Received: {name}={shown(value)}"
        )
    return int(number)


def real_number(
    name: str,
    value: typing.Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """Return a finite number as a Python `float`.

    Args:
        name: Name of the argument, for the error.
        value: What was given.
        least: Lowest value allowed. Defaults to any.
        above: All values allowed are higher. Defaults to any.
        most: Highest value allowed. Defaults to any.
        below: All values allowed are lower. Defaults to any.
    """
    number = _number(value)
    if (
        number is None
        or not _finite(number)
        or (least is not None and number < least)
        or (above is not None and number <= above)
        or (most is not None and number > most)
        or (below is not None and number >= below)
    ):
        allowed = _range(
            ("at least", least), ("above", above), ("at most", most), ("below", below)
        )
        raise ValueError(
            f"{name} must be a number{allowed}. Received: {name}={shown(value)}"
        )
    return float(number)


def square_size(name: str, value: typing.Any, least: int = 1) -> int:
    """Return the side of square images, which may also come as `(side, side)`.

    Args:
        name: Name of the argument, for the error.
        value: What was given.
        least: Smallest side allowed, in pixels. Defaults to `1`.
    """
    # A pair may also be an array, or the shape of a tensor.
    pair = elements(value) if _number(value) is None else None
    sides = pair if pair and len(pair) == 2 else [value]
    try:
        sides = {whole_number(name, side, least) for side in sides}
    except ValueError:
        sides = ()
    if len(sides) != 1:
        raise ValueError(
            f"{name} must be the side of square images in whole pixels, at least "
            f"{least}. Received: {name}={shown(value)}"
        )
    return sides.pop()


def flag(name: str, value: typing.Any) -> bool:
    """Return a truth value, which may also be NumPy's or a tensor's."""
    given = _plain(value)
    if isinstance(given, bool):
        return given
    raise ValueError(f"{name} must be True or False. Received: {name}={shown(value)}")


def one_of(name: str, value: typing.Any, choices: Collection) -> typing.Any:
    """Return an argument that is one of `choices`."""
    # Not `in` alone: an array beside a text compares to an array.
    if isinstance(value, str | None) and value in choices:
        return value
    known = ", ".join(str(choice) for choice in choices)
    raise ValueError(f"{name} must be one of {known}. Received: {name}={shown(value)}")


def file_path(name: str, value: typing.Any) -> pathlib.Path:
    """Return a path, `~` resolved."""
    if isinstance(value, str | os.PathLike) and str(value).strip():
        try:
            path = pathlib.Path(value).expanduser()
            if "\0" in str(path):
                raise ValueError("no path holds a null character")
            return path
        # No such user; a path of bytes.
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{name} must be a path that can be resolved ({error}). "
                f"Received: {name}={shown(value)}"
            ) from error
    raise ValueError(
        f"{name} must be the path of a file or folder. Received: {name}={shown(value)}"
    )


def texts(name: str, value: typing.Any, least: int = 0) -> tuple[str, ...]:
    """Return a sequence of texts, such as class names, as a tuple.

    Args:
        name: Name of the argument, for the error.
        value: List, tuple or array of texts; a single text is refused, because its
            letters would be taken for names, and a set, because it has no order.
        least: How many there must be. Defaults to `0`.
    """
    found = None if isinstance(value, set | frozenset) else elements(value)
    # NumPy's texts are texts as well.
    if (
        found is not None
        and len(found) >= least
        and all(isinstance(each, str) for each in found)
    ):
        return tuple(str(each) for each in found)
    count = f" of at least {least}" if least else ""
    raise ValueError(
        f"{name} must be a list{count} of texts. Received: {name}={shown(value)}"
    )


def keras_model(name: str, value: typing.Any, *, built: bool = True):
    """Return a `keras.Model`, which must be built unless `built` is false."""
    import keras

    if not isinstance(value, keras.Model):
        hint = ""
        if isinstance(getattr(value, "model", None), keras.Model):
            hint = " Of what load_classifier returns, pass its model: classifier.model."
        raise ValueError(
            f"{name} must be a keras.Model, such as build_backbone or build_classifier "
            f"make it, or keras.saving.load_model.{hint} "
            f"Received: {name}={shown(value)}"
        )
    if built and not value.built:
        raise ValueError(
            f"{name} must be built: begin it with keras.Input, or call it once on some "
            f"images. Received: {name}={shown(value)} without weights"
        )
    return value


def callback_list(value: typing.Any) -> list:
    """Return callbacks as a list, of none, one or several, `~` in paths resolved."""
    import keras

    if value is None:
        return []
    if isinstance(value, keras.callbacks.CallbackList):
        return _with_whole_paths(value.callbacks)
    one = isinstance(value, keras.callbacks.Callback)
    given = (value,) if one else elements(value)
    if given is not None and all(
        isinstance(each, keras.callbacks.Callback) for each in given
    ):
        return _with_whole_paths(given)
    raise ValueError(
        "callbacks must be a Keras callback, or a list of them; of a class, pass an "
        f"instance, with brackets after its name. Received: callbacks={shown(value)}"
    )


def image_layer(name: str, value: typing.Any):
    """Return a layer that changes images, `None`, or a list of layers as one."""
    import keras

    if value is None or isinstance(value, keras.layers.Layer):
        return value
    layers = value if isinstance(value, list | tuple) else ()
    if layers and all(isinstance(each, keras.layers.Layer) for each in layers):
        if len({layer.name for layer in layers}) < len(layers):
            raise ValueError(
                f"The layers of {name} must have names of their own, and each be there "
                f"once. Received: {name}={shown(value)}"
            )
        return layers[0] if len(layers) == 1 else keras.Sequential(list(layers))
    raise ValueError(
        f"{name} must be a Keras layer such as build_augmentation makes it, a list of "
        f"layers, or None. Received: {name}={shown(value)}"
    )


def batched_dataset(name: str, value: typing.Any, *, labeled: bool = True):
    """Return a batched, finite `tf.data.Dataset` of images and labels.

    Args:
        name: Name of the argument, for the error.
        value: What was given.
        labeled: Whether it must give pairs of images and labels. Defaults to `True`.
    """
    import tensorflow as tf

    wanted = "(images, labels)" if labeled else "images, or of (images, labels)"
    if not isinstance(value, tf.data.Dataset):
        hint = ""
        if hasattr(value, "ordered") and hasattr(value, "train"):
            hint = f" Of Splits, pass one part, such as {name}=splits.test."
        elif isinstance(value, tuple | list) or hasattr(value, "shape"):
            hint = (
                " Of arrays, make one: "
                "tf.data.Dataset.from_tensor_slices((images, labels)).batch(32)."
            )
        raise ValueError(
            f"{name} must be a batched tf.data.Dataset of {wanted}, such as "
            f"splits.test.{hint} Received: {name}={shown(value)}"
        )
    spec = value.element_spec
    if not labeled and isinstance(spec, tf.TensorSpec):
        spec = (spec, spec)
    if (
        not isinstance(spec, tuple)
        or len(spec) != 2
        or not all(isinstance(part, tf.TensorSpec) for part in spec)
    ):
        raise ValueError(
            f"{name} must be a batched tf.data.Dataset of {wanted}; map other elements "
            f"to such pairs. Received: {name} with elements {spec}"
        )
    if spec[1].shape.rank == 0:  # The label of a single image.
        raise ValueError(
            f"{name} must be batched: a data set of single images needs .batch(32). "
            f"Received: {name}={shown(value)}"
        )
    if value.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"{name} must end. Leave out .repeat(), or add .take(steps). "
            f"Received: {name}={shown(value)}"
        )
    return value


def class_weights(
    value: typing.Any,
    num_classes: int,
    class_names: Iterable[str] | None = None,
    labels: Callable[[], Iterable[int]] | None = None,
) -> dict[int, float] | None:
    """Return one weight a class as Keras takes them: a dict of integers to floats.

    Args:
        value: `None`, a mapping from labels or from class names to weights, or one
            weight for each class in a list or array. Classes that a mapping leaves out
            weigh 1. Or `"auto"`: all classes together count the same.
        num_classes: Number of classes.
        class_names: Their names, where they are known. Defaults to none.
        labels: Returns the integer labels that are trained on, for `"auto"`; called
            only for that. Defaults to none, which refuses it.
    """
    if value is None:
        return None
    if labels is not None and isinstance(value, str) and value == "auto":
        return _balanced(labels())
    names = {name: index for index, name in enumerate(class_names or ())}
    known = f"from 0 to {num_classes - 1}"
    if names:
        known += f", or by name, of {', '.join(names)}"
    weights = {}
    pairs = None
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1:
        pairs = enumerate(value) if len(value) == num_classes else None
    for label, weight in pairs or ():
        index = names.get(label) if isinstance(label, str) else _number(label)
        number = _number(weight)
        if (
            index is None
            or index not in range(num_classes)
            or index in weights
            or number is None
            or not _finite(number)
            or number < 0
        ):
            pairs = None
            break
        weights[int(index)] = float(number)
    if pairs is None or not weights:
        raise ValueError(
            f"class_weight must hold a number from 0 for labels {known}: as a dict, or "
            f"a list of {num_classes}{'' if labels is None else '; or be auto'}. "
            f"Received: class_weight={shown(value)}"
        )
    return weights


def _balanced(labels: Iterable[int]) -> dict[int, float]:
    """Return weights with which each class that is there has the same sum."""
    counts = Counter(map(int, labels))
    count = counts.total()
    return {label: count / (len(counts) * counts[label]) for label in sorted(counts)}


def shown(value: typing.Any, width: int = 200) -> str:
    """Return what was received as it is shown in an error: one short line.

    A text stands there as it is, unless it could be taken for something else.
    """
    plain = isinstance(value, str) and value.isidentifier()
    # None, True and nan are no texts.
    if plain and not keyword.iskeyword(value) and value not in ("nan", "inf"):
        text = value
    else:
        try:
            text = " ".join(repr(value).split())
        except Exception:  # A broken `__repr__` must not hide what is wrong.
            text = f"<{type(value).__name__}>"
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _plain(value):
    """Return NumPy's, TensorFlow's and Keras's scalars as Python's own."""
    if not hasattr(value, "dtype"):
        return value
    try:  # Also of an array or tensor of one number.
        return value.item() if hasattr(value, "item") else value.numpy().item()
    except Exception:  # No scalar, a tensor of a graph, a class.
        return None


def reason(error: Exception, width: int = 150) -> str:
    """Return in one line, without a full stop, what another library's error says."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:\w*\].*", "", str(error))  # TensorFlow's marks.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # TensorFlow puts a traceback before what was raised inside of a graph.
    line = lines[-1] if lines[0] == "in user code:" else lines[0]
    return line.partition(". ")[0].rstrip(".")[:width]


def _number(value) -> numbers.Real | None:
    """Return a number as Python's own, or `None`."""
    number = _plain(value)
    is_number = isinstance(number, numbers.Real) and not isinstance(number, bool)
    return number if is_number else None


def _finite(number: numbers.Real) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # An integer beyond all floats.
        return False


def _range(*bounds: tuple[str, float | None]) -> str:
    words = [
        f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}"
        for word, bound in bounds
        if bound is not None
    ]
    return f", {' and '.join(words)}" if words else ""


def elements(value: typing.Any) -> tuple | None:
    """Return what a list, array or other iterable holds; `None` of what is none.

    A text is no iterable of its letters here, a mapping none of its keys, and a data
    set, which may never end, none of its batches.
    """
    if (
        isinstance(value, str | bytes | Mapping)
        or not isinstance(value, Iterable)
        or hasattr(value, "element_spec")
    ):
        return None
    try:
        return tuple(value)
    except Exception:  # An array of no axes, a tensor of a graph.
        return None


def text(name: str, value: typing.Any) -> str | None:
    """Return a text, such as a title, or `None`."""
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{name} must be a text or None. Received: {name}={shown(value)}")


def number_array(name: str, value: typing.Any):
    """Return numbers as a NumPy array, of lists and tensors as well."""
    import numpy as np

    is_data = isinstance(value, str | bytes | Mapping) or hasattr(value, "element_spec")
    try:
        array = np.asarray(None if is_data else value)
        if str(array.dtype) == "bfloat16":
            array = array.astype("float32")
    except Exception:  # Rows of different lengths, a tensor of a graph.
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be an array of numbers. Received: {name}={shown(value)}"
        )
    return array


def verbosity(value: typing.Any) -> int | str:
    """Return how much Keras is to print: `"auto"`, 0, 1 or 2."""
    if isinstance(value, str) and value == "auto":
        return value
    if type(value).__name__ in ("bool_", "bool"):
        return int(value)
    try:
        return whole_number("verbose", value, 0, 2)
    except ValueError as error:
        raise ValueError(
            f"verbose must be auto, 0, 1 or 2. Received: verbose={shown(value)}"
        ) from error


def check_keeps_shape(name: str, layer: typing.Any, shape: tuple) -> None:
    """Raise an error if a layer is known to give images of another shape.

    Args:
        name: Name of the argument, for the error.
        layer: Keras layer that changes images.
        shape: Shape of one image.
    """
    try:
        # Not called: that would use up a draw.
        made = tuple(layer.compute_output_shape((None, *shape)))
    except NotImplementedError:
        return
    except Exception as error:
        made = reason(error)
    if len(made) != len(shape) + 1 or any(
        side not in (None, given) for side, given in zip(made[1:], shape, strict=True)
    ):
        raise ValueError(
            f"{name} must be a layer that gives images of the shape it takes, {shape}. "
            f"Received: {name}={shown(layer)}, which gives {made}"
        )


def _with_whole_paths(callbacks: Iterable) -> list:
    """Resolve `~` in the paths of callbacks, so that all write to one place."""
    import keras

    from keras_transfer.runtime.keras_internals import CALLBACK_PATHS

    callbacks = list(callbacks)
    for kind, attributes in CALLBACK_PATHS.items():
        for callback in callbacks:
            if not isinstance(callback, getattr(keras.callbacks, kind)):
                continue
            for attribute in attributes:
                path = getattr(callback, attribute, None)
                if str(path).startswith("~"):
                    whole = file_path(f"{kind}.{attribute}", path)
                    setattr(callback, attribute, str(whole))
    return callbacks
