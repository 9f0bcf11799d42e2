"""Freezing and unfreezing take effect, in every backbone and at every moment."""

import functools

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones.blocks import block_layers
from keras_transfer.backbones.registry import ARCHITECTURES
from tests.helpers import fresh_process
from tests.helpers.small_networks import (
    changed_blocks,
    images_and_labels,
    small_classifier,
    values,
)


@functools.cache
def classifier(name):
    size = ARCHITECTURES[name].smallest_size
    backbone = kt.build_backbone(name, weights=None, image_size=size)
    return kt.build_classifier(backbone, num_classes=2, share_backbone=True)


def vgg16(**arguments):
    backbone = kt.build_backbone("vgg16", weights=None, image_size=32)
    return kt.build_classifier(backbone, num_classes=2, **arguments)


def trained_blocks(model):
    return [
        block
        for block, layers in block_layers(model).items()
        if any(layer.trainable_weights for layer in layers)
    ]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_backbone_by_its_blocks(name):
    model = classifier(name)
    blocks = kt.block_names(model)
    assert len(blocks) >= 5
    sizes = {block: len(layers) for block, layers in block_layers(model).items()}
    assert sum(sizes.values()) == len(model.layers)
    assert sizes["head"] == 3
    for block in (blocks[-1], blocks[0]):
        kt.unfreeze(model, from_block=block)
        assert trained_blocks(model) == [*blocks[blocks.index(block) :], "head"]
        still = (keras.layers.BatchNormalization, keras.layers.Normalization)
        for layer in model.layers:
            if isinstance(layer, still):
                assert not layer.trainable
    kt.freeze(model)
    assert trained_blocks(model) == ["head"]


def test_layer_normalization_trains_as_usual():
    model = classifier("convnext_tiny")
    kt.unfreeze(model, from_block="stage_3")
    kind = keras.layers.LayerNormalization
    trained = [x.name for x in model.layers if isinstance(x, kind) and x.trainable]
    names = [f"stage_3_block_{n}_layernorm" for n in range(3)]
    assert trained == ["downsampling_layernorm_2", *names, "layernorm"]


def test_blocks_of_the_second_model_in_a_process_and_of_a_loaded_one(tmp_path):
    first = classifier("inception_v3")
    backbone = kt.build_backbone("inception_v3", weights=None, image_size=75)
    second = kt.build_classifier(backbone, num_classes=2)
    assert [x.name for x in first.layers] != [x.name for x in second.layers]
    second.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = {block: len(layers) for block, layers in block_layers(first).items()}
    assert next(iter(expected)) == "stem"
    for model in (second, loaded):
        found = {block: len(layers) for block, layers in block_layers(model).items()}
        assert found == expected
        kt.unfreeze(model, from_block="mixed9")
        assert trained_blocks(model) == ["mixed9", "mixed10", "head"]


@pytest.mark.slow
def test_blocks_in_a_fresh_process(tmp_path):
    model = classifier("resnet50")
    kt.freeze(model)
    model.save(tmp_path / "model.keras")
    script = (
        "import keras, keras_transfer as kt\n"
        "model = keras.saving.load_model('model.keras')\n"
        "kt.unfreeze(model, from_block='conv5')\n"
        "states = {r['block']: r['state'] for r in kt.trainable_summary(model).rows}\n"
        "assert states == dict(conv1='frozen', conv2='frozen', conv3='frozen',\n"
        "    conv4='frozen', conv5='trainable', head='trainable'), states\n"
    )
    fresh_process.run(script, cwd=tmp_path).check_returncode()


@pytest.mark.parametrize("moment", ["before compile", "after compile", "after fit"])
def test_a_change_takes_effect_at_every_moment(moment):
    model = small_classifier(blocks=5, size=32)
    images, labels = images_and_labels(size=32)
    if moment != "before compile":
        kt.compile_classifier(model, keras.optimizers.SGD(0.5, momentum=0.25))
    if moment == "after fit":
        model.fit(images, labels, verbose=0)
    kt.unfreeze(model, from_block="block5")
    if moment == "before compile":
        kt.compile_classifier(model, keras.optimizers.SGD(0.5, momentum=0.25))
    assert (model.optimizer.momentum, float(model.optimizer.learning_rate)) == (
        0.25,
        0.5,
    )
    before = values(model)
    model.fit(images, labels, verbose=0)
    assert changed_blocks(before, model) == {"block5", "head"}
    kt.freeze(model)
    before = values(model)
    history = model.fit(images, labels, verbose=0).history
    assert changed_blocks(before, model) == {"head"}
    assert set(history) == {"loss", "accuracy"}


@pytest.mark.parametrize("trained", [False, True])
def test_batch_normalization_stands_still_unless_asked(trained):
    model = small_classifier(normalized=True)
    kt.unfreeze(model, from_block="block2", train_batch_normalization=trained)
    kt.compile_classifier(model, keras.optimizers.Adam(0.01))
    before = values(model)
    model.fit(*images_and_labels(), verbose=0)
    after = values(model)
    moved = {p for p in after if "_bn/" in p and np.any(after[p] != before[p])}
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    assert moved == ({f"block2_bn/{part}" for part in parts} if trained else set())


@pytest.mark.parametrize("number", [4, 4.0, np.int64(4)])
def test_num_layers_counts_from_the_output(number):
    model = vgg16()
    kt.unfreeze(model, num_layers=number)
    assert trained_blocks(model) == ["block4", "block5", "head"]
    trained = [x.name for x in model.layers if x.trainable_weights]
    assert trained == [
        "block4_conv3",
        *(f"block5_conv{n}" for n in (1, 2, 3)),
        "head_predictions",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one.*from_block=None, num_layers=None"),
        ({"from_block": "block5", "num_layers": 2}, "exactly one"),
        ({"from_block": "conv5"}, r"block1, .*block5\. Received: from_block=conv5"),
        ({"num_layers": 0}, "from 1 to 13. Received: num_layers=0"),
        ({"num_layers": 14}, "num_layers=14"),
        ({"num_layers": "2"}, "num_layers='2'"),
        ({"num_layers": 1.5}, "num_layers=1.5"),
        ({"from_block": 5}, "from_block=5"),
        ({"from_block": ["block5"]}, "from_block="),
        ({"from_block": "block5", "train_batch_normalization": "yes"}, "=yes"),
        ({"model": None, "num_layers": 1}, "model=None"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kt.unfreeze(**{"model": classifier("vgg16")} | arguments)


def test_a_model_without_a_backbone_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    for change in (kt.freeze, kt.trainable_summary, kt.block_names):
        with pytest.raises(ValueError, match="No block of a known backbone"):
            change(model)
        with pytest.raises(ValueError, match=r"(?i)model=None"):
            change(None) if change is not kt.block_names else kt.freeze(None)
    nested = keras.Sequential([kt.build_backbone("vgg16", weights=None, image_size=32)])
    with pytest.raises(ValueError, match=r"images .* built, and not a subclass"):
        kt.freeze(nested)
    nested.build((None, 32, 32, 3))
    kt.freeze(nested)
    assert nested.trainable_variables == []


def test_what_cannot_be_compiled_again_is_refused_as_it_is():
    model = vgg16()
    model.compile("adam", loss=lambda labels, outputs: keras.ops.sum(outputs))
    before = [layer.trainable for layer in model.layers]
    with pytest.raises(ValueError, match="register_keras_serializable"):
        kt.unfreeze(model, from_block="block5")
    assert [layer.trainable for layer in model.layers] == before


def test_a_model_whose_own_flag_is_off_is_unfrozen_all_the_same():
    model = vgg16()
    model.trainable = False
    assert {row["state"] for row in kt.trainable_summary(model).rows} == {"frozen"}
    kt.unfreeze(model, from_block="block5")
    assert {v.path.split("_")[0] for v in model.trainable_variables} == {"block5"}


def test_exclusions_from_weight_decay_survive():
    model = vgg16()
    optimizer = keras.optimizers.AdamW(0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    kt.compile_classifier(model, optimizer)
    kt.unfreeze(model, from_block="block5")
    bias = model.get_layer("block5_conv1").bias
    assert not model.optimizer._use_weight_decay(bias)


def test_summary_by_block():
    model = vgg16()
    kt.unfreeze(model, num_layers=4)
    assert {row["learning_rate"] for row in kt.trainable_summary(model).rows} == {None}
    rates = kt.discriminative_learning_rates(model, 0.01, layer_decay=0.1)
    kt.compile_classifier(model, rates)
    summary = kt.trainable_summary(model)
    *_, block3, block4, block5, head = summary.rows
    assert (block3["state"], block3["learning_rate"]) == ("frozen", None)
    assert block4["state"] == "partly trainable"
    assert 0 < block4["to_train"] < block4["parameters"]
    assert block5["learning_rate"] == pytest.approx(0.001)
    assert (head["parameters"], head["to_train"]) == (1026, 1026)
    total = sum(row["parameters"] for row in summary.rows)
    assert total == model.count_params()
    lines = str(summary).splitlines()
    assert len(lines) == 7
    assert lines[-1].split() == ["head", "3", "1,026", "1,026", "trainable", "0.01"]
    assert summary._repr_html_().count("<tr>") == 7
