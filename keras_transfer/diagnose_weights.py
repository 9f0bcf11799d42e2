"""Checks of weights that should have been trained: the head's and the backbone's."""

import keras
import numpy as np
from scipy.stats import binomtest

from keras_transfer import imagenet_kernels
from keras_transfer.diagnose_inputs import first_convolution
from keras_transfer.examination import Case
from keras_transfer.findings import Check, Finding, NotExaminedError
from keras_transfer.fresh_weights import UNLIKELY, is_fresh, is_untouched
from keras_transfer.models import graph

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


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
    known = imagenet_kernels.recognise(case.once(first_convolution).convolution)
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
)
