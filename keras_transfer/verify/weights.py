"""Proofs about the weights of a model: which ones training changed."""

import collections
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_transfer.backbones.blocks import block_layers
from keras_transfer.runtime.arguments import keras_model, shown, texts

STATISTICS = ("moving_mean", "moving_variance")


def snapshot(model: keras.Model) -> dict[str, np.ndarray]:
    """Return a copy of all weights, to compare with later.

    Args:
        model: Any built `keras.Model`, or the part of one that is of interest, for
            example the backbone.

    Returns:
        Arrays by the path of their variable, such as `"conv1_conv/kernel"`, the
        moving statistics of BatchNormalization among them.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> kt.verify.snapshot(backbone)["block1_conv1/kernel"].shape
    (3, 3, 3, 64)
    """
    model = _model(model)
    return {path: _value(variable) for path, variable in _variables(model).items()}


def assert_frozen(
    before: Mapping[str, np.ndarray],
    model: keras.Model,
    blocks: Sequence[str] | None = None,
) -> int:
    """Assert that no weight changed, bit for bit.

    Args:
        before: Arrays of `snapshot(...)`, taken before training. Weights that the model
            has beyond them, such as those of a head, are not looked at.
        model: `keras.Model` after training.
        blocks: Names of `block_names(model)`, or `"head"`, to look at no others.
            Defaults to all arrays in `before`.

    Returns:
        How many numbers were compared.

    Raises:
        AssertionError: If any of them changed.
        ValueError: If `before` and the model, or the blocks, do not fit together.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> before = kt.verify.snapshot(backbone)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> kt.verify.assert_frozen(before, model)
    14714688
    """
    model = _model(model)
    after = _chosen(before, model, blocks)
    changed = [k for k, v in after.items() if not same_bits(before[k], _value(v))]
    if changed and all(after[path].name in STATISTICS for path in changed):
        raise AssertionError(
            f"Only moving statistics of BatchNormalization changed ({len(changed)} "
            f"arrays, the first is {changed[0]}): `training=False` does not hold them "
            "still in fit. Set `trainable = False` on each of these layers before "
            "compile, as kt.freeze and kt.unfreeze do."
        )
    if changed:
        raise AssertionError(
            f"{len(changed)} of {len(after)} arrays that should be frozen changed, the "
            f"first is {changed[0]}. Set `trainable = False` on their layers before "
            "compile, as kt.freeze does."
        )
    return sum(before[path].size for path in after)


def assert_updated(
    before: Mapping[str, np.ndarray],
    model: keras.Model,
    blocks: Sequence[str] | None = None,
) -> dict[str, float]:
    """Assert that weights of every trainable layer changed, so training reached it.

    Args:
        before: Arrays of `snapshot(...)`, taken before training.
        model: `keras.Model` after training.
        blocks: Names of `block_names(model)`, or `"head"`, to look at no others; each
            of them must have been trained. Defaults to all arrays in `before`.

    Returns:
        For each trainable array how far it moved, as a share of its length before
        (Euclidean norms); infinite for an array that began with zeros only.

    Raises:
        AssertionError: If nothing is trainable, or a trainable layer is as it was.
        ValueError: If `before` and the model, or the blocks, do not fit together.

    Example:

    >>> import numpy as np, keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> before = kt.verify.snapshot(model)
    >>> model.layers[-1].set_weights([np.ones((512, 2)), np.ones(2)])
    >>> moved = kt.verify.assert_updated(before, model)
    >>> list(moved)
    ['head_predictions/kernel', 'head_predictions/bias']
    """
    model, blocks = _model(model), _blocks(blocks)
    _chosen(before, model, blocks)
    trainable = {id(variable) for variable in model.trainable_variables}
    moved = {}
    for block in [None] if blocks is None else blocks:
        after = _chosen(before, model, block and [block])
        trained = {k: v for k, v in after.items() if id(v) in trainable}
        if not trained:
            raise AssertionError(
                f"None of the {len(after)} arrays {f'of {block} ' if block else ''}is "
                "trainable, so training cannot reach them. Unfreeze their layers "
                "before compile, as kt.unfreeze does."
            )
        moved |= {k: _moved(before[k], _value(v)) for k, v in trained.items()}
    lost = [path for path, share in moved.items() if np.isnan(share)]
    if lost:
        raise AssertionError(
            f"{len(lost)} of {len(moved)} trainable arrays hold NaN, the first is "
            f"{lost[0]}: training diverged. Begin again from the weights before, with "
            "a lower learning rate."
        )
    layers = collections.defaultdict(list)
    for path, share in moved.items():
        layers[path.rpartition("/")[0]].append(share)
    # A bias before BatchNormalization has no effect, so no gradient moves it.
    still = [layer for layer, shares in layers.items() if not any(shares)]
    if still:
        raise AssertionError(
            f"{len(still)} of {len(layers)} trainable layers are as they were, the "
            f"first is {still[0]}. Likely reasons: `trainable` was changed after a "
            "first fit, which Keras ignores until you compile again, as kt.unfreeze "
            "does; or there was no training since `before` was taken."
        )
    return moved


def assert_batch_normalization_still(
    before: Mapping[str, np.ndarray], model: keras.Model
) -> int:
    """Assert that no moving mean or variance of BatchNormalization changed.

    Args:
        before: Arrays of `snapshot(...)`, taken before training.
        model: `keras.Model` after training.

    Returns:
        How many BatchNormalization layers were compared; 0 for a network that has
        none, such as VGG16.

    Raises:
        AssertionError: If the statistics of any layer changed.
        ValueError: If `before` and the model do not fit together, or `before` holds
            nothing of the BatchNormalization that the model has.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("resnet50", weights=None, image_size=64)
    >>> before = kt.verify.snapshot(backbone)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> kt.verify.assert_batch_normalization_still(before, model)
    53
    """
    model = _model(model)
    after = _chosen(before, model)
    statistics = {k: v for k, v in after.items() if v.name in STATISTICS}
    if not statistics and any(v.name in STATISTICS for v in model.weights):
        raise ValueError(
            "Expected `before` to hold BatchNormalization of this model: take "
            "kt.verify.snapshot of all of it. "
            f"Received: {len(after)} arrays, none of them a moving mean or variance"
        )
    moved = [k for k, v in statistics.items() if not same_bits(before[k], _value(v))]
    if moved:
        raise AssertionError(
            f"{len(moved)} of {len(statistics)} moving statistics of "
            f"BatchNormalization changed, the first is {moved[0]}: `training=False` "
            "does not hold them still in fit. Set `trainable = False` on each of these "
            "layers before compile, as kt.freeze and kt.unfreeze do."
        )
    return sum(variable.name == STATISTICS[0] for variable in statistics.values())


def same_bits(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether two arrays are the same to the last bit, NaN included."""
    alike = (first.shape, first.dtype) == (second.shape, second.dtype)
    return alike and first.tobytes() == second.tobytes()


def _moved(before: np.ndarray, after: np.ndarray) -> float:
    before = before.astype("float64")
    length = np.linalg.norm(before)
    distance = np.linalg.norm(after.astype("float64") - before)
    return float(distance / length) if length else float(np.inf if distance else 0)


def _value(variable: keras.Variable) -> np.ndarray:
    return np.array(variable.value)


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    named, times = {}, collections.Counter()
    for variable in model.weights:
        times[variable.path] += 1
        # Two networks in one model may call their layers the same.
        again = times[variable.path] > 1
        more = f" ({times[variable.path]})" if again else ""
        named[variable.path + more] = variable
    return named


def _model(model) -> keras.Model:
    """Return a built model, also that of a `Classifier`."""
    held = getattr(model, "model", None)
    return keras_model("model", held if isinstance(held, keras.Model) else model)


def _blocks(blocks: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Return names of blocks, also of a single one."""
    if blocks is None:
        return None
    return texts("blocks", [blocks] if isinstance(blocks, str) else blocks)


def _chosen(before, model, blocks: Sequence[str] | None = None) -> dict:
    """Return the variables that `before` has values of, in the blocks if any."""
    if not isinstance(before, Mapping):
        raise ValueError(
            "before must be what kt.verify.snapshot returned before training. "
            f"Received: before={shown(before)}"
        )
    blocks, variables = _blocks(blocks), _variables(model)
    unknown = [
        path
        for path, value in before.items()
        if path not in variables or tuple(variables[path].shape) != np.shape(value)
    ]
    if unknown or not before:
        raise ValueError(
            "Expected `before` to be kt.verify.snapshot of this model, or of a part of "
            f"it. Received: {len(before)} arrays, {len(unknown)} of them not in "
            f"{model.name}{f', the first is {unknown[0]}' if unknown else ''}"
        )
    chosen = {path: variables[path] for path in before}
    if blocks is None:
        return chosen
    layers = block_layers(model)
    wrong = [block for block in blocks if block not in layers]
    ids = {
        id(variable)
        for block in set(blocks) - set(wrong)
        for layer in layers[block]
        for variable in layer.weights
    }
    chosen = {path: v for path, v in chosen.items() if id(v) in ids}
    if wrong or not chosen:
        raise ValueError(
            f"Expected blocks of this model ({', '.join(layers)}) that have weights in "
            f"`before`. Received: blocks={list(blocks)}"
        )
    return chosen
