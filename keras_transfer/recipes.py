"""`Recipe`: a way of training, described by plain values."""

import dataclasses
import numbers

from keras_transfer.augmentation import STRENGTHS
from keras_transfer.backbones import ARCHITECTURES

# A network that learns from few photos in seconds, for recipes from scratch.
SMALL = "small_convnet"
# For each kind: epochs and learning rate by default, and what else it makes use of.
KINDS = {
    "from_scratch": (20, 1e-3, {"augmentation"}),
    "frozen": (30, 1e-3, set()),
    "fine_tuned": (
        5,
        1e-4,
        {"from_block", "layer_decay", "freeze_epochs", "augmentation"},
    ),
    "gradual": (
        5,
        1e-3,
        {"from_block", "layer_decay", "epochs_per_block", "augmentation"},
    ),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Describe one way of training a classifier, for `compare`.

    In the end each model has the weights of the epoch with the lowest validation loss.
    Blocks before `from_block` are run once, and their output is kept on disk, where all
    recipes find it.

    Args:
        kind: `"from_scratch"` (random weights, all of them trained with Adam),
            `"frozen"` (the head on kept features, `extract_features` and `fit_head`),
            `"fine_tuned"` (`fine_tune`) or `"gradual"` (`GradualUnfreezing` under
            AdamW with rates that fall towards the input).
        backbone: Name of a backbone as in `build_backbone`, with its ImageNet weights
            unless from scratch; or, from scratch only, `"small_convnet"`: three
            convolutions that see the photos, of 32 pixels or more, at a quarter of
            their size. Defaults to `"resnet50"`.
        epochs: Passes over the training photos, or over the kept features, at least 1.
            Defaults to 20 from scratch, 30 frozen, 5 otherwise.
        learning_rate: Highest rate of the head, above 0. Defaults to `1e-4`
            fine-tuned, else `1e-3`.
        from_block: Fine-tuned and gradual: first block that is trained, one of
            `block_names`. Defaults to all blocks.
        layer_decay: Fine-tuned and gradual: factor of the rate from each block to the
            one before it, above 0 and at most 1. Defaults to `0.5`.
        freeze_epochs: Fine-tuned: passes over the kept features before, from 0.
            Defaults to `1`.
        epochs_per_block: Gradual: epochs until the next block joins, at least 1.
            Defaults to `1`.
        augmentation: Strength as in `build_augmentation`; not frozen. Defaults to
            none.

    Raises:
        ValueError: If an argument is out of its range, or of no use to this kind.

    Example:

    >>> import keras_transfer as kt
    >>> recipe = kt.Recipe("fine_tuned", "vgg16", from_block="block5")
    >>> recipe.epochs, recipe.learning_rate
    (5, 0.0001)
    """

    kind: str
    backbone: str = "resnet50"
    epochs: int | None = None
    learning_rate: float | None = None
    from_block: str | None = None
    layer_decay: float = 0.5
    freeze_epochs: int = 1
    epochs_per_block: int = 1
    augmentation: str | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(
                f"The kind of a recipe is one of {', '.join(KINDS)}. "
                f"Received: kind={self.kind!r}"
            )
        epochs, learning_rate, used = KINDS[self.kind]
        # Filled in here, so that what is kept on disk goes by the values themselves.
        if self.epochs is None:
            object.__setattr__(self, "epochs", epochs)
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", learning_rate)
        for field in dataclasses.fields(self)[4:]:
            value = getattr(self, field.name)
            if field.name not in used and value != field.default:
                raise ValueError(
                    f"A recipe of the kind {self.kind} makes no use of {field.name}. "
                    f"Leave it out. Received: {field.name}={value!r}"
                )
        self._check_backbone()
        self._check_numbers()
        if self.augmentation not in (None, *STRENGTHS):
            raise ValueError(
                f"augmentation must be one of {', '.join(STRENGTHS)}, or None. "
                f"Received: augmentation={self.augmentation!r}"
            )

    def _check_backbone(self) -> None:
        known = [*ARCHITECTURES, *([SMALL] if self.kind == "from_scratch" else [])]
        if self.backbone not in known:
            raise ValueError(
                f"Unknown backbone. Expected the name of one of: {', '.join(known)}. "
                f"Received: backbone={self.backbone!r}"
            )

    def _check_numbers(self) -> None:
        least = {"epochs": 1, "freeze_epochs": 0, "epochs_per_block": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < lowest:
                raise ValueError(
                    f"{name} must be a whole number of at least {lowest}. "
                    f"Received: {name}={value!r}"
                )
        for name, highest in {"learning_rate": float("inf"), "layer_decay": 1}.items():
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not 0 < value <= highest:
                raise ValueError(
                    "learning_rate must be a number above 0, layer_decay also at most "
                    f"1. Received: {name}={value!r}"
                )
