"""A table of what will be trained in a model, block by block."""

import dataclasses

import keras

from keras_transfer.backbones.blocks import block_layers
from keras_transfer.fine_tuning.learning_rates import block_learning_rates
from keras_transfer.runtime.arguments import keras_model
from keras_transfer.runtime.tables import html_table, text_table

HEADER = ("block", "layers", "parameters", "to train", "state", "learning rate")


@dataclasses.dataclass(frozen=True, repr=False)
class TrainableSummary:
    """Hold one row for each block; prints as text, shows as a table in a notebook.

    Attributes:
        rows: Tuple of dicts with `block`, `layers`, `parameters`, `to_train`
            (parameters that training changes), `state` (`"trainable"`, `"frozen"` or
            `"partly trainable"`) and `learning_rate` (`None` if the model is not
            compiled or the block is frozen).
    """

    rows: tuple[dict, ...]

    def __str__(self) -> str:
        return text_table(self._table(), words=(0, 4))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self._table())

    def _table(self) -> list[tuple[str, ...]]:
        return [HEADER, *map(_cells, self.rows)]


def trainable_summary(model: keras.Model) -> TrainableSummary:
    """Say for each block of a model what will be trained, and how fast.

    Args:
        model: Functional `keras.Model` with a backbone, as in `block_names`.

    Returns:
        A `TrainableSummary`, from input to output, the head last.

    Raises:
        ValueError: If the model has no blocks.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> kt.unfreeze(model, from_block="block5")
    >>> [row["state"] for row in kt.trainable_summary(model).rows][-3:]
    ['frozen', 'trainable', 'trainable']
    """
    rates = block_learning_rates(keras_model("model", model, built=False))
    rows = []
    for block, layers in block_layers(model).items():
        weighted = [layer for layer in layers if layer.weights]
        parameters = _size(w for layer in weighted for w in layer.weights)
        to_train = _size(
            w for layer in weighted for w in layer.trainable_weights if model.trainable
        )
        # BatchNormalization that stands still does not make a block "partly" trained.
        still = [layer for layer in weighted if not layer.trainable]
        state = "trainable"
        if to_train == 0:
            state = "frozen"
        elif any(not isinstance(x, keras.layers.BatchNormalization) for x in still):
            state = "partly trainable"
        rows.append(
            {
                "block": block,
                "layers": len(layers),
                "parameters": parameters,
                "to_train": to_train,
                "state": state,
                "learning_rate": rates[block] if to_train else None,
            }
        )
    return TrainableSummary(tuple(rows))


def _size(weights) -> int:
    return sum(weight.value.shape.num_elements() for weight in weights)


def _cells(row: dict) -> tuple[str, ...]:
    rate = row["learning_rate"]
    return (
        row["block"],
        str(row["layers"]),
        f"{row['parameters']:,}",
        f"{row['to_train']:,}",
        row["state"],
        "" if rate is None else f"{rate:.2g}",
    )
