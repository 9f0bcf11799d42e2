"""What the drawing knows of each animal is what one sees in the picture."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

import keras_transfer as kt
from keras_transfer.data.decoding import resize
from keras_transfer.samples import animals, builders, dogs, encoding, pets
from keras_transfer.samples.canvas import Layer

COUNT = 24


def picture(file):
    return np.asarray(Image.open(io.BytesIO(file)))


@pytest.fixture(scope="module")
def drawn():
    """Return the annotations of the first animals, with arrays in place of files."""
    examples = [pets.unpacked(pets.draw_pet(index, 0)[0]) for index in range(COUNT)]
    return [
        example | {name: picture(example[name]) for name in ("image", "mask")}
        for example in examples
    ]


def test_the_pictures_are_those_of_cats_and_dogs(drawn):
    for index, example in enumerate(drawn):
        image, label = animals.draw_cat_or_dog(index, 0)
        assert np.array_equal(example["image"], image)
        assert pets.draw_pet(index, 0)[1] == label == index % 2


def test_the_box_is_that_of_the_mask(drawn):
    for example in drawn:
        mask = Image.fromarray(example["mask"])
        left, top, right, bottom = mask.getbbox()
        width, height = mask.size
        found = example["box"] * [height, width, height, width]
        assert np.allclose(found, [top, left, bottom, right], atol=1e-3)
        assert set(np.unique(example["mask"])) == {0, 255}


def test_the_mask_is_what_the_animal_changes(drawn, monkeypatch):
    """Against the same picture without the animal, under the same light and grain."""
    compose = animals.pictures.compose

    def without_animal(background, layers, *others):
        nobody = Layer(layers[0].size, layers[0].rng, layers[0].light)
        return compose(background, [nobody, *layers[1:]], *others)

    monkeypatch.setattr(animals.pictures, "compose", without_animal)
    agreed = []
    for index, example in enumerate(drawn):
        empty = animals.draw_cat_or_dog(index, 0)[0]
        change = np.abs(np.subtract(example["image"], empty, dtype="int16")).max(-1)
        mask = Image.fromarray(example["mask"])
        around = np.asarray(mask.filter(ImageFilter.MaxFilter(5))) > 0
        # Whiskers do not count.
        strong = Image.fromarray(np.uint8(change > 25))
        thick = np.asarray(strong.filter(ImageFilter.MinFilter(3))) > 0
        assert not thick[~around].any()
        agreed.append((change > 2)[np.asarray(mask) > 0].mean())
    assert min(agreed) > 0.98


def test_night_shows_other_animals_in_a_tenth_of_the_light(drawn):
    for index in range(4):
        night = pets.unpacked(pets.draw_pet_at_night(index, 1)[0])
        day = pets.unpacked(pets.draw_pet(index, 1)[0])
        assert night["mask"] == day["mask"]
        assert np.array_equal(night["key_points"], day["key_points"])
        assert picture(night["image"]).max() < 64
        assert picture(night["image"]).mean() < picture(day["image"]).mean() / 5
        other = drawn[index]
        assert not np.array_equal(picture(day["image"]), other["image"])
    assert builders.SamplePetsNight.seed != builders.SamplePets.seed


def test_seen_points_lie_on_the_animal_and_others_do_not_count(drawn):
    seen = outside = 0
    for example in drawn:
        height, width = example["mask"].shape
        for y, x, visible in example["key_points"]:
            outside += not (0 <= y < 1 and 0 <= x < 1)
            if visible:
                assert 0 <= y < 1
                assert 0 <= x < 1
                assert example["mask"][int(y * height), int(x * width)]
        seen += example["key_points"][:, 2].sum()
    assert 0.8 < seen / (COUNT * len(pets.KEY_POINTS)) < 1
    assert outside > 0


def test_noses_are_where_noses_are_drawn(monkeypatch):
    monkeypatch.setattr(dogs, "_NOSE", (255, 0, 255))
    monkeypatch.setattr(dogs, "_EYE", (0, 255, 255))
    looked_at = {"nose": 0, "left_eye": 0, "right_eye": 0}
    for index in range(1, 2 * COUNT, 2):
        _, _, layers = animals.draw_with_layers(index, 0)
        noted = layers[0].noted()
        colours = layers[0].reduced()[0]
        for name in looked_at:
            x, y, seen = noted[name]
            if seen and 9 < x < colours.shape[1] - 9 and 9 < y < colours.shape[0] - 9:
                # The pupil in the middle of an eye is black.
                near = colours[int(y) - 9 : int(y) + 10, int(x) - 9 : int(x) + 10]
                red, green, blue = near.reshape(-1, 3).T
                signal = red - green if name == "nose" else green - red
                assert signal.max() > 60
                assert blue.max() > 60
                looked_at[name] += 1
    assert min(looked_at.values()) > 10


def test_left_and_right_are_the_animal_s_own(drawn):
    faced = 0
    for example in drawn:
        points = dict(zip(pets.KEY_POINTS, example["key_points"], strict=True))
        if points["left_eye"][2] and points["right_eye"][2]:
            # Somebody who is faced has the left eye on the right of the picture.
            assert points["left_eye"][1] > points["right_eye"][1]
            assert points["left_ear"][1] > points["right_ear"][1]
            faced += 1
    assert faced > COUNT / 2


def test_a_head_from_the_side_hides_an_eye_and_an_ear_covers_one():
    layer = Layer((100, 100), np.random.default_rng(0))
    coat = animals.coats.draw_coat(np.random.default_rng(0), animals._DOG_COATS)
    breed = dogs.Breed("flop", 1.0, 1.0, False, "otter")
    for mirrored, hidden in ((False, "left"), (True, "right")):
        place = layer.frame(50, 50, 25, 0, mirrored)
        dogs.draw_profile(layer, place, coat, breed)
        other = {"left": "right", "right": "left"}[hidden]
        noted = layer.noted()
        assert not noted[f"{hidden}_eye"][2]
        assert not noted[f"{hidden}_ear"][2]
        assert noted[f"{other}_eye"][2]
        assert noted["nose"][2]
    dogs.draw_front(layer, layer.frame(50, 50, 25), coat, breed, 0)
    assert all(seen for _, _, seen in layer.noted().values())
    x, y, _ = layer.noted()["nose"]
    patch = layer.frame(x, y, 5)([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    layer.part(patch, (90, 90, 90))
    assert not layer.noted()["nose"][2]
    assert layer.noted()["left_eye"][2]


@pytest.fixture
def few_pets(monkeypatch, tmp_path):
    """Load data sets of few pictures, in a folder of their own."""
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    for builder in (builders.SampleCatsVsDogs, builders.SamplePets):
        monkeypatch.setattr(builder, "num_images", 40)
    return lambda name, **options: kt.load_dataset(name, image_size=64, **options)


def test_annotations_come_in_the_order_of_the_images(few_pets):
    splits, plain = few_pets("sample_pets"), few_pets("sample_cats_vs_dogs")
    capped = few_pets("sample_pets", max_images=20)
    by_image = {}
    for index in range(40):
        example = pets.unpacked(pets.draw_pet(index, 0)[0])
        small = resize(picture(example["image"]), 64).numpy()
        by_image[small.tobytes()] = example
    for found in (splits, capped):
        for split, count in found.counts.items():
            images, _ = found.arrays(split)
            known = found.annotations(split)
            assert [*known] == ["box", "mask", "key_points"]
            assert known["mask"].shape == (count, 64, 64)
            assert known["mask"].dtype == bool
            assert known["box"].dtype == known["key_points"].dtype == "float32"
            for row, image in enumerate(images):
                example = by_image[image.tobytes()]
                assert np.array_equal(known["box"][row], example["box"])
                assert np.array_equal(known["key_points"][row], example["key_points"])
                rows, columns = np.where(known["mask"][row])
                edges = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
                # The tip of a tail behind grass may be too small at this size.
                shrunk = (edges - known["box"][row] * 64) * [1, 1, -1, -1]
                assert -1 < shrunk.min() <= np.median(shrunk) < 1
                assert shrunk.max() < 6
    for split in splits.counts:
        for ours, theirs in zip(splits.arrays(split), plain.arrays(split), strict=True):
            assert np.array_equal(ours, theirs)


def test_other_data_sets_have_none_and_say_which_have(few_pets):
    with pytest.raises(ValueError, match=r"load_dataset of sample_pets or .*Rec"):
        few_pets("sample_cats_vs_dogs").annotations("train")
    with pytest.raises(ValueError, match="split"):
        few_pets("sample_pets").annotations("extra")


def test_another_process_draws_the_same_pets(monkeypatch):
    monkeypatch.setattr(encoding.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(encoding, "FEWEST", 5)
    files = {index: file for index, _, file in encoding.drawn(pets.draw_pet, 10, 0)}
    for index in range(10):
        assert files[index] == pets.draw_pet(index, 0)[0]
