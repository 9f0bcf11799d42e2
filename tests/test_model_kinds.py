"""Which functions take which kinds of models: each cell of the table is tried.

A cell is a call that works, or one that says in one sentence what is needed. The table
in docs/models.md is what this module renders.
"""

import functools
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.data.splits import Splits
from keras_transfer.runtime.tables import markdown_table
from tests.helpers.model_state import changed, state
from tests.helpers.small_networks import small_backbone, small_classifier

SIZE = 16
NAMES = ("cat", "dog")
DOCUMENT = pathlib.Path(__file__).parent.parent / "docs" / "models.md"
# What a cell holds, and how it is written.
WORKS, SENTENCE = "y", "-"
WORDS = {WORKS: "yes", SENTENCE: "–"}


def photos(count, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(0, 176, (count, SIZE, SIZE, 3)).astype("float32")
    images[labels == 0, ..., 0] += 80
    return images, labels.astype("int32")


IMAGES, LABELS = photos(4)


def batches(start=0, stop=24, seed=0):
    images, labels = photos(stop, seed)
    pairs = images[start:], labels[start:]
    return tf.data.Dataset.from_tensor_slices(pairs).batch(8)


@functools.cache
def splits():
    """Return photos in three splits, that no folder is needed for."""
    seeds = {"train": 1, "validation": 2, "test": 3}
    return Splits(
        **{name: batches(seed=seed) for name, seed in seeds.items()},
        class_names=NAMES,
        counts=dict.fromkeys(seeds, 24),
        name="kinds",
        source="24 images",
        fingerprint="kinds",
        image_size=SIZE,
        _ordered={
            name: functools.partial(batches, seed=seed) for name, seed in seeds.items()
        },
    )


def head(x):
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.layers.Dense(2, activation="softmax")(x)


def backbone(**settings):
    return small_backbone(size=SIZE, **settings)


def nested_backbone():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, backbone(normalized=True)(x, training=False))


def nested():
    """Return what the Keras guide of transfer learning builds."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = backbone(normalized=True)(x, training=False)
    return keras.Model(inputs, head(keras.layers.Dropout(0.2)(x)))


def convolutions():
    """Return layers with the names of VGG16's blocks."""
    return [
        keras.layers.Conv2D(2, 3, padding="same", name="block1_conv1"),
        keras.layers.MaxPooling2D(name="block1_pool"),
        keras.layers.Conv2D(2, 3, padding="same", name="block2_conv1"),
        keras.layers.MaxPooling2D(name="block2_pool"),
    ]


def sequential_backbone():
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *convolutions()])


def sequential():
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            *convolutions(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


@keras.saving.register_keras_serializable("model_kinds")
class Subclassed(keras.Model):
    def __init__(self, top=True, **settings):
        super().__init__(**settings)
        self.top = top
        self.convolution = keras.layers.Conv2D(2, 3)
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.head = keras.layers.Dense(2, activation="softmax")

    def call(self, images):
        maps = self.convolution(images)
        return self.head(self.pool(maps)) if self.top else maps

    def get_config(self):
        return super().get_config() | {"top": self.top}


def subclassed(top=True):
    model = Subclassed(top)
    model(IMAGES)
    return model


def two_inputs(top=True):
    inputs = [keras.Input((SIZE, SIZE, 3), name=name) for name in ("left", "right")]
    maps = [keras.layers.Conv2D(2, 3)(each) for each in inputs]
    x = keras.layers.Concatenate()(maps)
    return keras.Model(inputs, head(x) if top else x)


def two_outputs(top=True):
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(2, 3)(inputs)
    return keras.Model(inputs, [head(x), head(x)] if top else [x, x])


def mixed(make):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return make()
    finally:
        keras.config.set_dtype_policy("float32")


def loaded(make):
    def reload():
        path = pathlib.Path(kt.output_dir()) / "kinds.keras"
        path.parent.mkdir(parents=True, exist_ok=True)
        model = make()
        model.compile("adam", "sparse_categorical_crossentropy")
        model.save(path)
        return keras.saving.load_model(path, compile=False)

    return reload


# Each kind of classifier, and a backbone of the same kind.
KINDS = {
    "built by `build_classifier`": (lambda: small_classifier(size=SIZE), backbone),
    "the same, mixed precision": (
        lambda: mixed(lambda: small_classifier(size=SIZE)),
        lambda: mixed(backbone),
    ),
    "the same, loaded with `compile=False`": (
        loaded(lambda: small_classifier(size=SIZE)),
        loaded(backbone),
    ),
    "the same, images of any size": (
        lambda: kt.build_classifier(small_backbone(size=None), 2),
        lambda: small_backbone(size=None),
    ),
    "`Sequential`": (sequential, sequential_backbone),
    "backbone as a layer (Keras's guide)": (nested, nested_backbone),
    "subclassed": (subclassed, lambda: subclassed(False)),
    "two inputs": (two_inputs, lambda: two_inputs(False)),
    "two outputs": (two_outputs, lambda: two_outputs(False)),
    "`Sequential`, not built": (
        lambda: keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)]),
        lambda: keras.Sequential([keras.layers.Conv2D(2, 3)]),
    ),
}


def pairs_for(model):
    """Return a data set of what a model takes."""
    if len(getattr(model, "inputs", None) or [0]) == 2:
        return batches().map(lambda x, y: ((x, x), y))
    return batches()


def trained(model):
    """Compile a model as anybody would, where this package does not do it."""
    several = isinstance(getattr(model, "output_shape", None), list)
    loss = ["sparse_categorical_crossentropy"] * 2 if several else None
    model.compile("sgd", loss or "sparse_categorical_crossentropy")
    return model


def saved(model, folder):
    return kt.save_classifier(model, folder / "model.keras", NAMES, SIZE)


def loads(model, folder):
    path = folder / "plain.keras"
    model.save(path)
    kt.save_classifier(keras.saving.load_model(path), path, NAMES, SIZE)
    keras.utils.save_img(folder / "photo.png", IMAGES[0], scale=False)
    assert kt.load_classifier(path).predict(folder / "photo.png")[0].class_name in NAMES


def diagnosed(model, folder):
    given = pairs_for(model)
    parts = {"train": given, "validation": given, "test": given, "class_names": NAMES}
    assert kt.diagnose(model, parts).checks


def arriving(model):
    """Return the range in which pixels reach the first convolution."""
    rescaled = any(isinstance(x, keras.layers.Rescaling) for x in model.layers)
    return (0, 1) if rescaled else (0, 255)


def frozen(model, folder):
    kt.verify.assert_frozen(kt.verify.snapshot(model), model)


def still(model, folder):
    before = kt.verify.snapshot(model)
    kt.verify.assert_batch_normalization_still(before, model)


def updated(model, folder):
    before = kt.verify.snapshot(model)
    for weight in model.trainable_weights:
        weight.assign(weight + 1)
    kt.verify.assert_updated(before, model)


def fine_tuned(model, folder):
    kt.fine_tune(model, splits(), epochs=1, dtype="float32", verbose=0)


def heads(model, folder):
    x = np.eye(4, 2, dtype="float32")
    kt.fit_head(model, (x, LABELS), epochs=1)


def outputs_of(model):
    if not model.built:
        return np.full((4, 2), 0.5)
    inputs = getattr(model, "inputs", None) or ()
    return model([IMAGES, IMAGES] if len(inputs) == 2 else IMAGES, training=False)


# Each function with a model: the call, and whether it takes the backbone.
FUNCTIONS = {
    "build_classifier": (lambda m, _: kt.build_classifier(m, 2), True),
    "block_names": (lambda m, _: kt.block_names(m), True),
    "split_at_block": (lambda m, _: kt.split_at_block(m, "block1"), True),
    "extract_features": (
        lambda m, folder: kt.extract_features(
            m, splits(), folder, False, dtype="float32"
        ),
        True,
    ),
    "extract_feature_maps": (
        lambda m, folder: kt.extract_feature_maps(
            m, splits(), cache_dir=folder, verbose=False, dtype="float32"
        ),
        True,
    ),
    "freeze": (lambda m, _: kt.freeze(m), False),
    "unfreeze": (lambda m, _: kt.unfreeze(m, from_block="block2"), False),
    "trainable_summary": (lambda m, _: kt.trainable_summary(m), False),
    "discriminative_learning_rates": (
        lambda m, _: kt.discriminative_learning_rates(m, 1e-3),
        False,
    ),
    "compile_classifier": (lambda m, _: kt.compile_classifier(m, "sgd"), False),
    "find_learning_rate": (
        lambda m, _: kt.find_learning_rate(trained(m), pairs_for(m), num_steps=10),
        False,
    ),
    "fit_head": (heads, False),
    "fine_tune": (fine_tuned, False),
    "class_probabilities": (
        lambda m, _: kt.class_probabilities(m, outputs_of(m)),
        False,
    ),
    "evaluate_classifier": (
        lambda m, _: kt.evaluate_classifier(m, pairs_for(m), NAMES),
        False,
    ),
    "grad_cam": (lambda m, _: kt.grad_cam(m, IMAGES), False),
    "save_classifier": (saved, False),
    "load_classifier": (loads, False),
    "diagnose": (diagnosed, False),
    "verify.snapshot": (lambda m, _: kt.verify.snapshot(m), False),
    "verify.assert_frozen": (frozen, False),
    "verify.assert_updated": (updated, False),
    "verify.assert_batch_normalization_still": (still, False),
    "verify.assert_pixel_range": (
        lambda m, _: kt.verify.assert_pixel_range(pairs_for(m), m, arriving(m)),
        False,
    ),
}
# These look at a model and leave it as it is.
LOOKING = {
    "block_names",
    "trainable_summary",
    "discriminative_learning_rates",
    "class_probabilities",
    "evaluate_classifier",
    "grad_cam",
    "save_classifier",
    "verify.snapshot",
    "verify.assert_frozen",
    "verify.assert_batch_normalization_still",
}

# For each function, in the order of KINDS: what it does.
TABLE = {
    "build_classifier": "yyyyyy----",
    "block_names": "yyyyyy----",
    "split_at_block": "yyyyyy----",
    "extract_features": "yyyyyyy---",
    "extract_feature_maps": "yyyyyyy---",
    "freeze": "yyyyyy----",
    "unfreeze": "yyyyyy----",
    "trainable_summary": "yyyyyy----",
    "discriminative_learning_rates": "yyyyyy----",
    "compile_classifier": "yyyyyy-y--",
    "find_learning_rate": "yyyyyyyy--",
    "fit_head": "yyyyyy----",
    "fine_tune": "yyyyyy----",
    "class_probabilities": "yyyyyyyy--",
    "evaluate_classifier": "yyyyyyyy--",
    "grad_cam": "yyyyyy----",
    "save_classifier": "yyyyyyy---",
    "load_classifier": "yyyyyyy---",
    "diagnose": "yyyyyyy---",
    "verify.snapshot": "yyyyyyyyy-",
    "verify.assert_frozen": "yyyyyyyyy-",
    "verify.assert_updated": "yyyyyyyyy-",
    "verify.assert_batch_normalization_still": "yyyyyyyyy-",
    "verify.assert_pixel_range": "yyyyyyy-y-",
}


def tried(kind, function, folder):
    """Try one cell; return what happened, and the error."""
    call, takes_backbone = FUNCTIONS[function]
    make, make_backbone = KINDS[kind]
    model = (make_backbone if takes_backbone else make)()
    before = state(model)
    try:
        call(model, folder)
        found = WORKS, None
    except (ValueError, AssertionError) as error:
        if isinstance(error, AssertionError) and not function.startswith("verify."):
            raise
        found = SENTENCE, error
    if function in LOOKING:  # Also when it refuses.
        assert not changed(before, model)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_cell_of_the_table(kind, function, tmp_path):
    expected = TABLE[function][[*KINDS].index(kind)]
    found, error = tried(kind, function, tmp_path)
    if isinstance(error, ValueError):
        assert "Received:" in str(error), error
        assert "\n" not in str(error).strip()
    assert found == expected, error


def rendered():
    """Return the table as Markdown, one row a function."""
    rows = [["", *KINDS]]
    rows += [[f"`{name}`", *map(WORDS.get, marks)] for name, marks in TABLE.items()]
    return markdown_table(rows) + "\n"


def test_the_document_shows_this_table():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert rendered() in text, "Put this table into docs/models.md:\n" + rendered()
    assert list(TABLE) == list(FUNCTIONS)
    assert {len(marks) for marks in TABLE.values()} == {len(KINDS)}
