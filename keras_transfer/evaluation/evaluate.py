"""Evaluate a classifier: one pass over the data, and all figures from that pass."""

import typing
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import (
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
)

from keras_transfer.evaluation.calibration import (
    apply_temperature,
    checked_labels,
    expected_calibration_error,
)
from keras_transfer.evaluation.report import ClassificationReport
from keras_transfer.evaluation.statistics import (
    accuracy_interval,
    group_numbers,
    grouped_accuracy_interval,
)
from keras_transfer.features.inference import (
    Network,
    UnsupportedError,
    Use,
    engines,
    openvino_network,
)
from keras_transfer.models.graph import as_graph
from keras_transfer.models.outputs import (
    as_array,
    asked_outputs,
    checked_class_names,
    class_probabilities,
    classifier_outputs,
    knows_shapes,
)
from keras_transfer.runtime.arguments import (
    batched_dataset,
    keras_model,
    real_number,
    shown,
)
from keras_transfer.runtime.devices import on_all_devices

# For fewer batches than this, OpenVINO takes longer to compile than it saves.
FEW_BATCHES = 8


def evaluate_classifier(
    model: keras.Model,
    dataset: tf.data.Dataset,
    class_names: Sequence[str],
    *,
    engine: str = "auto",
) -> ClassificationReport:
    """Measure how well a classifier does on a data set, in one pass over it.

    Labels and predictions come from the same batches, so the figures do not depend on
    the order of the images, and a data set that shuffles may be used. Of each image
    only the label and the probabilities are kept.

    Args:
        model: Classifier that ends in one sigmoid unit, softmax or logits. It need not
            be compiled, and is left as it is. It may have several inputs, or be
            subclassed.
        dataset: Batched, finite `tf.data.Dataset` of images of the model's input shape
            and integer or one-hot labels, for example `splits.test`. For a model of
            several inputs, the first of each pair is a tuple or dict of them.
        class_names: Names in the order of the model's outputs, for example
            `splits.class_names`.
        engine: As in `extract_features`, always in the precision of the model; for a
            data set of less than 8 batches, or of unknown length, `"auto"` is
            `"tensorflow"`, which is ready sooner. Defaults to `"auto"`.

    Returns:
        A `ClassificationReport`: accuracy with its 95 % interval, precision, recall and
        F1, ROC-AUC, mean average precision, log loss, expected calibration error and
        confusion matrix as attributes, `mistakes()` with the surest ones, `to_dict()`
        for JSON. The index of a mistake is its position in this pass: it names an image
        only if the data set keeps its order, as `splits.test` does.

    Raises:
        ValueError: If model, data set and class names do not fit together, the data set
            is empty or endless, a label is out of range or a prediction not finite.

    Example:

    >>> import numpy as np, tensorflow as tf, keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> images, labels = np.zeros((4, 64, 64, 3), "float32"), [0, 0, 1, 1]
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
    >>> kt.evaluate_classifier(model, dataset, ["cat", "dog"]).accuracy
    0.5

    Reference:

    - [Wilson, 1927](https://doi.org/10.1080/01621459.1927.10502953), the interval
    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599), the calibration error
    """
    keras_model("model", model)
    if knows_shapes(model):
        checked_class_names(class_names, classifier_outputs(model).num_classes)
    inputs = _checked_inputs(model, dataset)

    engines(model, engine)

    def answer(images):
        outputs = keras.tree.flatten(model(images, training=False))
        return outputs[0] if len(outputs) == 1 else outputs

    # For any number of images: the last batch, a smaller one, is traced no second time.
    run = tf.function(on_all_devices(answer), input_signature=[inputs])
    shapes = keras.tree.flatten(keras.tree.map_structure(lambda x: x.shape, inputs))
    num_classes = asked_outputs(
        model,
        lambda: run.get_concrete_function().structured_outputs,  # By tracing alone.
        f"images of shape {shapes}",
    ).num_classes
    names = checked_class_names(class_names, num_classes)
    if network := _by_openvino(model, answer, inputs, dataset, engine):
        made = network.stream(dataset)
    else:
        made = ((as_array(run(images)), given) for images, given in dataset)
    labels, outputs = [], []
    for batch_outputs, batch_labels in made:
        labels.append(checked_labels(batch_labels, num_classes))
        if len(batch_outputs):
            outputs.append(batch_outputs)
    if not outputs:  # Nor where each batch is empty, of a class that is not there.
        raise ValueError(
            "Expected a data set with at least one image. Received: an empty dataset"
        )
    # All at once, because numbers may have to tell whether they are probabilities.
    probabilities = class_probabilities(model, np.concatenate(outputs))
    return measure(np.concatenate(labels), probabilities, names)


def measure(
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    groups: Sequence[int | None] | None = None,
) -> ClassificationReport:
    """Return the report of integer labels and the probabilities of the same images.

    Args:
        labels: Integer labels.
        probabilities: Of shape `(count, num_classes)`.
        class_names: Names in the order of the columns.
        groups: For each image what it belongs to, such as a patient, or `None` where it
            is alone. Defaults to none: all are alone.
    """
    broken = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(broken):
        raise ValueError(
            "The model's predictions are not finite. Likely reasons: a learning rate "
            "so high that training diverged, or images that hold NaN. Received: NaN "
            f"for {len(broken)} of {len(labels)} images, first at index {broken[0]}"
        )
    predicted = probabilities.argmax(axis=1)
    all_classes = range(len(class_names))
    hits = predicted == labels
    interval = accuracy_interval(int(hits.sum()), len(labels))
    if groups is not None:
        groups = group_numbers(groups)
        interval = grouped_accuracy_interval(hits, groups)
    classes = _by_class(labels, probabilities, predicted, class_names)
    present = [row for row in classes if row["images"]]
    roc_auc = _mean(present, "roc_auc")
    if len(class_names) == 2:  # Both are the same but for rounding of `1 - p`.
        roc_auc = classes[1]["roc_auc"]
    return ClassificationReport(
        class_names=tuple(class_names),
        labels=labels,
        probabilities=probabilities,
        accuracy=int(hits.sum()) / len(labels),
        accuracy_interval=interval,
        classes=tuple(classes),
        macro={key: _mean(present, key) for key in ("precision", "recall", "f1")},
        roc_auc=roc_auc,
        mean_average_precision=_mean(present, "average_precision"),
        log_loss=float(log_loss(labels, probabilities, labels=all_classes)),
        expected_calibration_error=expected_calibration_error(labels, probabilities),
        confusion_matrix=confusion_matrix(labels, predicted, labels=all_classes),
        groups=groups,
    )


def calibrated(
    report: ClassificationReport, temperature: float | None
) -> ClassificationReport:
    """Return a report with a temperature applied; the same one where there is none."""
    if temperature is None:
        return report
    probabilities = apply_temperature(report.probabilities, temperature)
    return measure(report.labels, probabilities, report.class_names, report.groups)


def kept_figures(
    report: ClassificationReport, temperature: float | None = None
) -> dict[str, typing.Any]:
    """Return the figures of a test as they are kept with a model.

    They are those of the model as it will answer, with its temperature applied, and
    name no photo: neither mistakes nor the confusion matrix are among them.

    Args:
        report: `ClassificationReport` of the test photos from `evaluate_classifier`,
            not calibrated.
        temperature: The one that is saved with the model. Defaults to none.

    Returns:
        Dict of plain values for JSON, for `save_classifier(..., temperature=
        temperature, details={"test": figures})`. Its `"temperature"` says how it was
        calibrated.

    Raises:
        ValueError: If these are no report and no temperature.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> splits = kt.load_dataset("sample_cats_vs_dogs", image_size=64, max_images=36)
    >>> report = kt.evaluate_classifier(model, splits.test, splits.class_names)
    >>> figures = kt.kept_figures(report, temperature=1.5)
    >>> figures["images"], figures["temperature"]
    (5, 1.5)
    """
    if not isinstance(report, ClassificationReport):
        raise ValueError(
            "report must be what evaluate_classifier returns. "
            f"Received: report={shown(report)}"
        )
    if temperature is not None:
        temperature = real_number("temperature", temperature, above=0)
    figures = calibrated(report, temperature).to_dict()
    del figures["mistakes"], figures["confusion_matrix"]
    return figures | {"temperature": temperature}


def _by_openvino(model, answer, inputs, dataset, engine) -> Network | None:
    """Return the model as OpenVINO runs it, where that is asked for or worth it."""
    few = int(dataset.cardinality()) < FEW_BATCHES
    if engines(model, engine)[0] != "openvino" or (engine == "auto" and few):
        return None
    try:
        # Another training makes another model: this one is not kept.
        use = Use("outputs", keep=False)
        return openvino_network(model, answer, inputs, "float32", use)
    except UnsupportedError:
        if engine == "openvino":
            raise
        return None


def _by_class(labels, probabilities, predicted, class_names) -> list[dict]:
    precision, recall, f1, images = precision_recall_fscore_support(
        labels, predicted, labels=range(len(class_names)), zero_division=0
    )
    present = np.flatnonzero(images)
    figures = {"precision": precision[present]}
    figures |= {"recall": recall[present], "f1": f1[present]}
    if len(present) > 1:
        # Of classes without images there is nothing to rank.
        figures["roc_auc"], figures["average_precision"] = np.transpose(
            [_ranked(labels == label, probabilities[:, label]) for label in present]
        )
    rows = [
        {"class": name, "images": int(count)}
        | dict.fromkeys(("precision", "recall", "f1", "roc_auc", "average_precision"))
        for name, count in zip(class_names, images, strict=True)
    ]
    for name, values in figures.items():
        for index, value in zip(present, values, strict=True):
            rows[index][name] = float(value)
    return rows


def _ranked(right: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Return ROC-AUC and average precision, as scikit-learn has them.

    Which checks its arguments anew for each class: of 1,000 classes it takes 15 s.
    """
    order = np.argsort(-scores, kind="stable")
    # Where the score changes: of photos with the same score none comes first.
    ends = np.flatnonzero(np.append(np.diff(scores[order]), 1))
    found = np.cumsum(right[order])[ends]
    others, new = 1 + ends - found, np.diff(found, prepend=0)
    area = np.sum(np.diff(others, prepend=0) * (found - new / 2))
    precision = np.sum(new * found / (1 + ends))
    return area / (found[-1] * others[-1]), precision / found[-1]


def _mean(rows: list[dict], key: str) -> float | None:
    values = [row[key] for row in rows]
    return None if None in values else float(np.mean(values))


def _checked_inputs(model: keras.Model, dataset: tf.data.Dataset):
    """Return the specification of the model's inputs, for batches of any size."""
    tensors = getattr(as_graph(model), "inputs", None) or ()
    shapes = [tf.TensorShape((None, *x.shape[1:])) for x in tensors]
    spec = getattr(dataset, "element_spec", None)
    if isinstance(dataset, tf.data.Dataset):
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "Expected a data set that ends. Leave out .repeat(), or add "
                f".take(steps). Received: dataset={shown(dataset)}"
            )
        if isinstance(spec, tuple) and len(spec) == 3:
            raise ValueError(
                "Expected pairs of (images, labels), without weights: dataset.map("
                "lambda images, labels, weights: (images, labels)). "
                f"Received: dataset with elements {spec}"
            )
    if len(shapes) < 2:
        batched_dataset("dataset", dataset)
    elif not isinstance(dataset, tf.data.Dataset) or (
        not isinstance(spec, tuple) or len(spec) != 2
    ):
        raise ValueError(
            "dataset must be a batched tf.data.Dataset of (inputs, labels), with a "
            f"tuple or dict of {len(shapes)} inputs as this model takes them. "
            f"Received: dataset={shown(dataset)}"
        )
    given = keras.tree.flatten(spec[0])
    fit = all(isinstance(x, tf.TensorSpec) for x in given)
    if shapes:
        fit = fit and len(given) == len(shapes)
        fit = fit and all(
            x.shape.is_compatible_with(shape)
            for x, shape in zip(given, shapes, strict=True)
        )
    else:
        fit = fit and given[0].shape.rank == 4
    if not fit or spec[1].shape.rank == 0:
        expected = ", ".join(map(str, shapes)) or "(None, height, width, channels)"
        raise ValueError(
            f"Expected batches of images of shape {expected}, as the model "
            "takes them; a data set of single images needs .batch(32). "
            f"Received: images of shape {', '.join(str(x.shape) for x in given)}"
        )
    # What TensorFlow does not know of the data, such as after a py_function, the model
    # says.
    known = iter(shapes)
    return keras.tree.map_structure(
        lambda x: tf.TensorSpec(
            (None, *x.shape.merge_with(next(known, x.shape))[1:]), x.dtype
        ),
        spec[0],
    )
