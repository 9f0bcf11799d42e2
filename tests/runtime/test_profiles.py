"""A profile never changes silently."""

import keras
import pytest

import keras_transfer as kt


def test_quick_is_the_default(monkeypatch, capsys):
    monkeypatch.delenv("KERAS_TRANSFER_PROFILE", raising=False)
    profile = kt.profile()
    assert (profile.name, profile.image_size) == ("quick", 128)
    assert profile.dataset_name("cats_vs_dogs") == "sample_cats_vs_dogs"
    assert profile.dataset_name("mnist") == "mnist"
    assert profile.fallback_backbone == "efficientnet_lite0"
    printed = capsys.readouterr().out
    for part in ("quick", "drawn", "128 px", profile.device, "seed 0"):
        assert part in printed


def test_environment_and_argument(monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_PROFILE", "lesson")
    profile = kt.profile()
    assert (profile.name, profile.image_size, profile.max_images) == (
        "lesson",
        160,
        2000,
    )
    assert profile.dataset_name("cats_vs_dogs") == "cats_vs_dogs"
    assert profile.fallback_backbone is None
    assert kt.profile("quick").name == "quick"
    assert profile.pick(quick=1, lesson=2, full=3) == 2


def test_seed_repeats_random_numbers():
    kt.profile("quick", seed=3)
    first = keras.random.normal((4,))
    kt.profile("quick", seed=3)
    assert (keras.random.normal((4,)) == first).numpy().all()


def test_unknown_profile():
    with pytest.raises(ValueError, match=r"quick, lesson, full.*Received: name=fast"):
        kt.profile("fast")
