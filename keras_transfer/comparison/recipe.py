"""`Recipe`: a way of training, described by plain values."""

import dataclasses
from collections.abc import Collection

from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.data.augmentation import STRENGTHS
from keras_transfer.runtime.arguments import real_number, shown, whole_number

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
        self._check_text("kind", KINDS, "The kind of a recipe is")
        epochs, learning_rate, used = KINDS[self.kind]
        # Filled in here, so that what is kept on disk goes by the values themselves.
        if self.epochs is None:
            object.__setattr__(self, "epochs", epochs)
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", learning_rate)
        self._check_numbers()
        for field in dataclasses.fields(self)[4:]:
            value = getattr(self, field.name)
            if field.name not in used and value != field.default:
                raise ValueError(
                    f"A recipe of the kind {self.kind} makes no use of {field.name}. "
                    f"Leave it out. Received: {field.name}={_shown(value)}"
                )
        known = [*ARCHITECTURES, *([SMALL] if self.kind == "from_scratch" else [])]
        self._check_text("backbone", known, "Unknown backbone. Expected")
        self._check_text("augmentation", (None, *STRENGTHS), "augmentation must be")
        if not isinstance(self.from_block, str | None) or self.from_block == "":
            raise ValueError(
                "from_block must be the name of a block, one of block_names, or None. "
                f"Received: from_block={_shown(self.from_block)}"
            )

    def _check_text(self, name: str, known: Collection, expected: str) -> None:
        value = getattr(self, name)
        # Not `in` alone: what is no text may not even be comparable.
        if not isinstance(value, str | None) or value not in known:
            raise ValueError(
                f"{expected} one of {', '.join(map(str, known))}. "
                f"Received: {name}={_shown(value)}"
            )

    def _check_numbers(self) -> None:
        """Keep Python's own numbers, also of NumPy's: they become JSON and a key."""
        for name, lowest in {
            "epochs": 1,
            "freeze_epochs": 0,
            "epochs_per_block": 1,
        }.items():
            value = whole_number(name, getattr(self, name), lowest)
            object.__setattr__(self, name, value)
        for name, highest in {"learning_rate": None, "layer_decay": 1}.items():
            value = real_number(name, getattr(self, name), above=0, most=highest)
            object.__setattr__(self, name, value)


def _shown(value) -> str:
    return repr(value) if isinstance(value, str) else shown(value)
