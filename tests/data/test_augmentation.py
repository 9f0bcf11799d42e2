"""Augmentation changes training images only, repeats with its seed, and is saved."""

import keras
import numpy as np
import pytest

import keras_transfer as kt

IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")


@pytest.mark.parametrize("strength", ["light", "standard", "strong"])
def test_changes_training_images_only(strength):
    layer = kt.build_augmentation(strength, seed=3)
    first = np.array(layer(IMAGES, training=True))
    assert not np.allclose(first, IMAGES)
    assert not np.array_equal(first, np.array(layer(IMAGES, training=True)))
    # More contrast than before, which needs clipping, comes only with some draws.
    for _ in range(8):
        changed = np.array(layer(IMAGES, training=True))
        assert 0 <= changed.min() < changed.max() <= 255.001
    assert np.array_equal(np.array(layer(IMAGES, training=False)), IMAGES)
    again = kt.build_augmentation(strength, seed=3)
    assert np.array_equal(first, np.array(again(IMAGES, training=True)))


def test_in_a_saved_model_it_rests_in_prediction(tmp_path):
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, kt.build_augmentation("strong", seed=0)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded.predict(IMAGES, verbose=0), IMAGES)


def test_unknown_strength():
    with pytest.raises(ValueError, match=r"light, standard, strong.*strength=wild"):
        kt.build_augmentation("wild")


def test_layers_draw_numbers_of_their_own():
    """Mirroring says nothing about the turn, as it would with one seed for all."""
    layer = kt.build_augmentation("standard", seed=0)
    seeds = [inner.seed for inner in layer.layers]
    assert len(set(seeds)) == len(seeds)
    assert [inner.seed for inner in kt.build_augmentation(seed=0).layers] == seeds
    keras.utils.set_random_seed(1)
    drawn = kt.build_augmentation().layers[0].seed
    keras.utils.set_random_seed(1)
    assert kt.build_augmentation().layers[0].seed == drawn != seeds[0]
