"""A transformer for sentences goes through the same functions: BERTs of random weights.

The first is a functional model around KerasHub's backbone, as a learner builds it, the
second KerasHub's own classifier, which holds the backbone as a layer.
"""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones.blocks import block_layers
from keras_transfer.runtime import keras_internals

BLOCKS = ["embeddings", "block1", "block2", "block3"]


def backbone():
    models = pytest.importorskip("keras_hub").models
    keras.utils.set_random_seed(0)
    return models.BertBackbone(
        vocabulary_size=30,
        num_layers=3,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=12,
        max_sequence_length=16,
    )


def around():
    bert = backbone()
    average = keras.layers.GlobalAveragePooling1D()
    x = average(bert.output["sequence_output"], mask=bert.input["padding_mask"])
    return keras.Model(bert.input, keras.layers.Dense(2, activation="softmax")(x))


def classifier():
    bert = backbone()
    import keras_hub

    return keras_hub.models.BertTextClassifier(bert, 2, activation="softmax")


MODELS = pytest.mark.parametrize("make", [around, classifier])


def sentences():
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(5, 30, (24, 6)), np.arange(24) % 2
    ids[:, 0] = 2
    ids[labels == 1, 3] = 7
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    return {name: each.astype("int32") for name, each in inputs.items()}, labels


def fit(model, **settings):
    inputs, labels = sentences()
    model.fit(inputs, labels, batch_size=8, verbose=0, **settings)


@MODELS
def test_each_layer_with_an_attention_is_a_block(make):
    model = make()
    assert kt.block_names(model) == BLOCKS
    assert kt.block_names(backbone()) == BLOCKS
    ends = {block: found[-1].name for block, found in block_layers(model).items()}
    assert ends["embeddings"] == "embeddings_dropout"
    assert [ends[block] for block in BLOCKS[1:]] == [
        f"transformer_layer_{number}" for number in range(3)
    ]
    rows = {row["block"]: row["parameters"] for row in kt.trainable_summary(model).rows}
    assert list(rows) == [*BLOCKS, "head"]
    assert sum(rows.values()) == model.count_params()
    assert len({rows[block] for block in BLOCKS[1:]}) == 1


@MODELS
def test_only_what_is_to_train_trains(make):
    model = make()
    kt.freeze(model)
    kt.compile_classifier(model, "adam")
    before = kt.verify.snapshot(model)
    fit(model)
    kt.verify.assert_frozen(before, model, BLOCKS)
    kt.verify.assert_updated(before, model, ["head"])
    kt.unfreeze(model, from_block="block2")
    rates = kt.discriminative_learning_rates(model, 1e-2, 0.1)
    kt.compile_classifier(model, rates)
    found = [row["learning_rate"] for row in kt.trainable_summary(model).rows]
    assert found[:2] == [None, None]
    assert found[2:] == pytest.approx([1e-4, 1e-3, 1e-2])
    before = kt.verify.snapshot(model)
    fit(model)
    kt.verify.assert_frozen(before, model, BLOCKS[:2])
    kt.verify.assert_updated(before, model, ["block2", "block3", "head"])


@MODELS
def test_the_normalization_of_layers_trains(make):
    """It has no statistics of batches, unlike BatchNormalization."""
    model = make()
    kt.unfreeze(model, from_block="block3")
    kt.compile_classifier(model, keras.optimizers.Adam(1e-2))
    before = kt.verify.snapshot(model)
    fit(model)
    after, moved = kt.verify.snapshot(model), set()
    for block, found in block_layers(model).items():
        for layer in (each for x in found for each in keras_internals.flat_layers(x)):
            if isinstance(layer, keras.layers.LayerNormalization):
                for variable in layer.weights:
                    if np.any(before[variable.path] != after[variable.path]):
                        moved.add(block)
    assert moved == {"block3"}


@MODELS
def test_gradual_unfreezing_with_rates_by_depth(make):
    model = make()
    kt.compile_classifier(model, kt.discriminative_learning_rates(model, 1e-2, 0.5))
    schedule = kt.callbacks.GradualUnfreezing(["block2", "block3"])
    assert schedule.trainable_blocks(model, epoch=1) == ["block3"]
    before = kt.verify.snapshot(model)
    fit(model, epochs=1, callbacks=[schedule])
    kt.verify.assert_frozen(before, model, BLOCKS)
    fit(model, initial_epoch=1, epochs=2, callbacks=[schedule])
    kt.verify.assert_frozen(before, model, BLOCKS[:3])
    kt.verify.assert_updated(before, model, ["block3"])
    fit(model, initial_epoch=2, epochs=3, callbacks=[schedule])
    kt.verify.assert_frozen(before, model, BLOCKS[:2])
    kt.verify.assert_updated(before, model, ["block2", "block3", "head"])


def test_what_was_saved_has_the_same_blocks(tmp_path):
    model = around()
    model.save(tmp_path / "model.keras")
    assert kt.block_names(keras.saving.load_model(tmp_path / "model.keras")) == BLOCKS


def test_what_is_for_images_is_refused():
    model = around()
    for call in (
        lambda: kt.split_at_block(model, "block1"),
        lambda: kt.grad_cam(model, np.zeros((1, 8, 8, 3))),
        lambda: kt.build_classifier(backbone(), num_classes=2),
        lambda: kt.extract_features(backbone(), sentences()),
    ):
        with pytest.raises(ValueError, match="Received: "):
            call()
