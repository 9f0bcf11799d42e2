"""Checks of how a model was, or will be, trained: what moves, and how far."""

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import binomtest

from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.checks.inputs import first_convolution
from keras_transfer.diagnosis.evidence import train_step
from keras_transfer.diagnosis.evidence.weights import (
    UNLIKELY,
    is_fresh,
    is_untouched,
    recognise,
)
from keras_transfer.diagnosis.findings import Check, Finding, NotExaminedError
from keras_transfer.diagnosis.labels import restored
from keras_transfer.models import graph
from keras_transfer.models.compiling import compile_settings
from keras_transfer.models.outputs import as_array
from keras_transfer.runtime.arguments import reason

# How far the median kernel may move in the first steps, as a share of its length. With
# Adam and real photos ResNet50 kept its features at 0.9 %; VGG16 lost them at 1.2 %,
# EfficientNet-Lite0 at 1.6 %.
BOUND, STEPS, PHOTOS = 0.011, 3, 8
# Kernels that move by more than their own length keep nothing of what they were.
ALL = 1.0
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def check_batch_normalization(case: Case) -> list[Finding]:
    """Find BatchNormalization that moves in a backbone that was meant to be frozen."""
    layers = graph.batch_normalizations(case.model)
    if not layers:
        return []
    suspects = _meant_still(case.model)
    if not suspects:
        return []
    images = case.some(case.trained, PHOTOS)
    before = [as_array(layer.moving_mean) for layer in suspects]
    with restored(case.model):
        case.model(images, training=True)
        after = [as_array(layer.moving_mean) for layer in suspects]
    moved = [
        float(np.linalg.norm(b - a) / max(np.linalg.norm(a), 1e-12))
        for a, b in zip(before, after, strict=True)
    ]
    if not any(moved):
        return []
    return [
        Finding(
            "serious",
            "BatchNormalization moves in a frozen backbone",
            f"{np.count_nonzero(moved)} of {len(layers)} BatchNormalization layers are "
            "trainable, although the kernels before them are frozen or the backbone is "
            f"called with training=False. One step with {len(images)} photos "
            f"changes their moving means by {np.median(moved):.2%} (median).",
            "`fit` passes training=True to every layer, whatever the call says, so the "
            "statistics drift away from those that the weights were trained with. Only "
            "`trainable = False` holds them still.",
            """
# As kt.freeze(model) and kt.unfreeze(model, from_block=...) do; after any unfreezing,
layers = [*model.layers]
for layer in layers:
    layers += getattr(layer, "layers", [])  # Those of a model in the model.
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.trainable = False
kt.compile_classifier(model, keras.optimizers.Adam(1e-5))  # and before compile
""",
            {"layers": np.count_nonzero(moved), "moved": float(np.median(moved))},
        )
    ]


def _meant_still(model: keras.Model) -> list[keras.layers.Layer]:
    """Return BatchNormalization that is trainable where all else is frozen."""
    calls = [*graph.calls(model)]
    if not calls:
        raise NotExaminedError("the model is subclassed, and its graph is not known")
    # Not what layers say of themselves: a model around them may be frozen.
    learning = {id(weight) for weight in model.trainable_weights}
    makers = {
        id(tensor): call.layer for call in calls for tensor in call.node.output_tensors
    }
    found = {}
    for call in calls:
        layer = call.layer
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        maker = makers.get(id(call.node.input_tensors[0]))
        weights = getattr(maker, "weights", None)
        frozen = weights and not any(id(weight) in learning for weight in weights)
        if layer.trainable and (frozen or call.training() is False):
            found[id(layer)] = layer
    return [*found.values()]


def check_trainable(case: Case) -> list[Finding]:
    """Find `trainable` that was changed after a first `fit`, without effect."""
    model = case.model
    if not model.compiled or model.train_function is None:
        raise NotExaminedError(
            "the model has not been in `fit` since it was compiled or loaded"
        )
    updated = train_step.updated_weights(model)
    now = {id(weight): weight for weight in model.trainable_weights}
    ignored = [weight for key, weight in now.items() if key not in updated]
    still_trained = [weight for key, weight in updated.items() if key not in now]
    if not ignored and not still_trained:
        return []
    return [
        Finding(
            "serious",
            "trainable was changed after fit, without effect",
            f"The training step that `fit` uses changes {len(updated)} arrays of "
            f"weights. By `trainable`, {len(ignored)} more should learn and "
            f"{len(still_trained)} of them should be frozen"
            f" (such as {(ignored or still_trained)[0].path}).",
            "Keras takes note of `trainable` when it compiles and when it traces the "
            "training step. A change after that is ignored without a word.",
            """
# Change `trainable` first, then compile; kt.freeze and kt.unfreeze do both.
kt.compile_classifier(model, keras.optimizers.Adam(1e-5))
""",
            {"updated": len(updated), "not_trained": len(ignored)},
        )
    ]


def check_learning_rate(case: Case) -> list[Finding]:
    """Find a learning rate that destroys the weights of an unfrozen backbone."""
    model = case.model
    if not model.compiled or model.optimizer is None:
        raise NotExaminedError("the model is not compiled, so it has no learning rate")
    first = case.once(first_convolution).convolution
    if not any(weight is first.kernel for weight in model.trainable_weights):
        return []
    known = recognise(first)
    fresh = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 0
    if known is None and not fresh:
        # It has been trained with this rate already, perhaps from the beginning.
        raise NotExaminedError(
            "whether its weights were pretrained cannot be known any more"
        )
    try:
        optimizer = compile_settings(model)["optimizer"]
    except ValueError as error:
        raise NotExaminedError(str(error).split(". ")[0]) from error
    before, after, losses, rate = _steps(case, optimizer)
    moved = [
        float(np.linalg.norm(b - a) / max(np.linalg.norm(a), 1e-12))
        for a, b in zip(before, after, strict=True)
    ]
    movement = float(np.median(np.nan_to_num(moved, nan=np.inf)))
    # Other networks than those of ImageNet may bear more, so that their loss must tell.
    worse = not losses[1] <= 2 * losses[0] + 0.1
    harmed = known is not None or movement > ALL or worse
    if movement <= BOUND or not harmed:
        return []
    return [
        Finding(
            "serious",
            "A learning rate that destroys the pretrained weights",
            f"All of the backbone is trainable. {STEPS} steps of "
            f"{type(optimizer).__name__} at {rate:.3g} move the median kernel by "
            f"{movement:.1%} of its length (more than {BOUND:.1%}); the loss of photos "
            f"it is not trained on goes from {losses[0]:.3g} to {losses[1]:.3g}. "
            "Tried and undone.",
            "What the backbone learnt from millions of photos is gone before it can "
            "help, and a few photos cannot bring it back.",
            """
# Train the head with a frozen backbone first, then all with small steps:
kt.compile_classifier(model, keras.optimizers.Adam(1e-5))
# Or only the last block:
# kt.fine_tune(model, splits, epochs=5, from_block="conv5", learning_rate=1e-4)
""",
            {"moved": movement, "loss_before": losses[0], "loss_after": losses[1]},
        )
    ]


def _steps(case: Case, optimizer):
    """Take the first steps of a new training, and undo them."""
    model, sample = case.model, case.sample(case.trained)
    # Stored photos often come class by class.
    order = np.random.default_rng(0).permutation(len(sample.images))
    images, labels = sample.images[order], sample.targets[order]
    learning = {id(weight) for weight in model.trainable_weights}
    kernels = [
        layer.kernel
        for layer in graph.layers_of(model)
        if isinstance(layer, CONVOLUTIONS) and id(layer.kernel) in learning
    ]
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    optimizer.gradient_accumulation_steps = None
    optimizer.build(model.trainable_variables)
    rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    before, losses = [as_array(kernel) for kernel in kernels], []

    def loss_of(part, training):
        outputs = model(images[part], training=training)
        return model.compute_loss(images[part], labels[part], outputs)

    try:
        with restored(model):
            unseen = slice(STEPS * PHOTOS, (STEPS + 1) * PHOTOS)
            losses.append(float(loss_of(unseen, False)))
            for start in range(0, STEPS * PHOTOS, PHOTOS):
                with tf.GradientTape() as tape:
                    loss = loss_of(slice(start, start + PHOTOS), True)
                gradients = tape.gradient(loss, model.trainable_weights)
                optimizer.apply_gradients(
                    zip(gradients, model.trainable_weights, strict=True)
                )
            losses.append(float(loss_of(unseen, False)))
            after = [as_array(kernel) for kernel in kernels]
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise NotExaminedError(f"a training step failed: {reason(error)}") from error
    return before, after, losses, rate


def check_head(case: Case) -> list[Finding]:
    """Find a last layer that was never trained."""
    layer = graph.classifying_layer(case.model, case.units)
    if layer is None:
        raise NotExaminedError("no dense layer that makes the outputs was found")
    if not is_fresh(layer):
        return []
    right = case.correct(case.scored)
    accuracy = float(right.mean())
    if not layer.use_bias and _above_chance(right, case.num_classes):
        # Small steps leave such a kernel as if drawn; a bias would have moved.
        raise NotExaminedError(f"{layer.name} has no bias, which would tell")
    return [
        Finding(
            "serious",
            "The head was never trained",
            f"The weights of {layer.name} are as its initializer draws them"
            + (", and its bias is exactly 0" if layer.use_bias else "")
            + f". {accuracy:.1%} of {len(right):,} {case.scored} photos are right; "
            f"chance is {1 / case.num_classes:.1%}.",
            "The answers are a random mixture of features. Fine-tuning a backbone "
            "under such a head also sends large, random gradients into it.",
            """
features = kt.extract_features(backbone, splits)
model = kt.fit_head(model, features)
# Loaded from a file? keras.saving.load_model(path) loads the weights as well;
# rebuilding the model and load_weights(..., skip_mismatch=True) may leave the head out.
""",
            {"accuracy": accuracy},
        )
    ]


def _above_chance(right: np.ndarray, classes: int) -> bool:
    found = binomtest(int(right.sum()), len(right), 1 / classes, "greater")
    return bool(found.pvalue < UNLIKELY)


def check_backbone(case: Case) -> list[Finding]:
    """Find a backbone whose random weights were taken for pretrained ones."""
    layers = [
        layer
        for layer in graph.layers_of(case.model)
        if isinstance(layer, CONVOLUTIONS) and layer.built
    ]
    if not layers:
        raise NotExaminedError("the model has no convolutions")
    known = recognise(case.once(first_convolution).convolution)
    if known and known.sure:
        return []
    statistics = graph.batch_normalizations(case.model)
    trained = [layer for layer in statistics if not is_untouched(layer)]
    fresh = [layer for layer in layers if is_fresh(layer)]
    # Most of them: a small kernel may look as if drawn, and a part may be frozen.
    if len(trained) > len(statistics) / 2 or len(fresh) < 0.8 * len(layers):
        return []
    untouched = len(statistics) - len(trained)
    return [
        Finding(
            "serious",
            "The backbone has random weights",
            f"{len(fresh)} of {len(layers)} kernels of convolutions are as their "
            "initializers draw them"
            + (
                f", and {untouched} of {len(statistics)} BatchNormalization layers "
                "have never seen a photo."
                if statistics
                else ", and their biases are exactly 0."
            ),
            "Random features know little of photos: transfer learning has nothing to "
            "transfer. If it was meant to be trained from scratch, it has not been.",
            f"""
backbone = kt.build_backbone("efficientnet_lite0", image_size={case.image_size})
model = kt.build_classifier(backbone, num_classes=len(splits.class_names))
model = kt.fit_head(model, kt.extract_features(backbone, splits))
# In Keras: weights="imagenet" in place of weights=None
""",
            {"fresh": len(fresh), "convolutions": len(layers)},
        )
    ]


CHECKS = (
    Check(
        "head",
        check_head,
        "the last layer's weights, beside those its initializer draws",
        "Whether a head that was trained was trained long enough.",
    ),
    Check(
        "backbone",
        check_backbone,
        "the kernels of convolutions, beside those their initializers draw",
        "What weights that were trained were trained on.",
    ),
    Check(
        "BatchNormalization",
        check_batch_normalization,
        "which layers are trainable, and one step that is undone",
        "Whether statistics moved in an earlier training, without those from before.",
    ),
    Check(
        "trainable",
        check_trainable,
        "the training step that Keras compiled, beside `trainable` now",
        "What was trained before the model was compiled the last time.",
    ),
    Check(
        "learning rate",
        check_learning_rate,
        f"the first {STEPS} steps of a new training, which are undone",
        "Whether a smaller part of the backbone is trained too fast; only a backbone "
        "that is trainable from its first kernel on is tried.",
    ),
)
