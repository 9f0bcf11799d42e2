"""A folder of photos to practise on, with the faults that folders have planted in it.

The plants are drawn in the quick profile; elsewhere they are real photos of flowers.
Some photos show one plant again, as the name of the file says: taken for independent
ones they make a classifier look better than it is.
"""

import dataclasses
import io
import json
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import shown
from keras_transfer.runtime.profiles import Profile
from keras_transfer.runtime.status_lines import say
from keras_transfer.samples.animals import draw_cats_vs_dogs
from keras_transfer.samples.flowers import FLOWERS_LABELS, draw_flowers

CLASSES = ("daisy", "dandelion", "sunflowers")
# What shows the same plant belongs together.
GROUPS = r"plant_\d+"
QUALITY = 92
# Another one, when other pictures are drawn or other faults planted.
VERSION = "1.1.0"
SEED = 3
LIST = "practice.json"
# Of each drawn flower, and of drawn animals; and photos of other things of a kind.
DRAWN_PLANTS, DRAWN_ANIMALS, OTHERS = 36, 30, 150


@dataclasses.dataclass(frozen=True)
class PracticeFolder:
    """Say what a folder to practise on holds. Made by `keras_transfer.practice_folder`.

    Attributes:
        path: The folder of photos, one subfolder a class.
        groups: Regular expression that finds in a path which plant is shown.
        planted: By kind of fault, the files that have it, as paths in the folder:
            `"wrong label"`, `"near copy"`, `"dark"` and `"unreadable"`, the kinds that
            `check_directory` finds.
        decisions: By path in the folder, what somebody who looks at a photo would
            decide: the class where it belongs, or `"drop"`.
        others: A folder with photos that belong to none of the classes, one subfolder
            for each kind: `"animals"`, and `"other flowers"`.
    """

    path: pathlib.Path
    groups: str
    planted: dict[str, tuple[str, ...]]
    decisions: dict[str, str]
    others: pathlib.Path


def practice_folder(profile: Profile | None = None) -> PracticeFolder:
    """Write a folder of photos with planted faults to practise on, unless it is there.

    It lies in `practice` in the folder of data, and is the same on every machine.
    It holds daisies, dandelions and sunflowers; `plant_0012` in the name of a file says
    which plant it shows. Planted are photos in the folder of another class, a copy that
    was saved again in another size, a photo that is nearly black, and a text file.

    Args:
        profile: The `Profile` of the run: in the quick profile the plants are drawn,
            otherwise they are those of the data set `tf_flowers`, in at most
            `max_images` photos. Defaults to `None`: drawn.

    Returns:
        A `PracticeFolder`.

    Raises:
        DatasetUnavailableError: If the photos are not there and cannot be fetched.
        ValueError: If an argument is of no use here.
        OSError: If nothing can be written there.

    Example:

    >>> import keras_transfer as kt
    >>> practice = kt.practice_folder()
    >>> sorted(practice.planted)
    ['dark', 'near copy', 'unreadable', 'wrong label']
    """
    if profile is not None and not isinstance(profile, Profile):
        raise ValueError(
            'profile must be a Profile, such as kt.profile("quick"), or None. '
            f"Received: profile={shown(profile)}"
        )
    profile = None if profile is None or profile.name == "quick" else profile
    name = "drawn_flowers" if profile is None else f"{profile.name}_flowers"
    root = paths.data_dir() / "practice" / VERSION / name
    if not (root / LIST).is_file():
        paths.make_folder(root.parent)
        say(f"Writing a folder of photos to practise on into {root} ...")
        atomic_files.discard(root)  # One without the list is damaged.
        with atomic_files.unfinished_folder(root) as temporary:
            _write(temporary, name, profile)
            atomic_files.put_in_place(temporary, root)
    listed = json.loads((root / LIST).read_text(encoding="utf-8"))
    planted = {kind: tuple(files) for kind, files in listed["planted"].items()}
    return PracticeFolder(
        root / name, GROUPS, planted, listed["decisions"], root / "others"
    )


def take_shot(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return another shot of what an image shows: nearer, turned, in another light.

    Args:
        image: RGB image.
        rng: Says how.

    Returns:
        RGB image of the same size.

    Example:

    >>> image, _ = next(draw_flowers(1, seed=0))
    >>> take_shot(image, np.random.default_rng(0)).size == image.size
    True
    """
    size = np.array(image.size)
    angle = rng.uniform(-0.3, 0.3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * size / 2
    corners = corners @ turn.T * rng.uniform(0.5, 0.72)
    reach = np.abs(corners).max(axis=0)
    # Somewhere in the image, and more often near its middle.
    place = size / 2 + rng.uniform(-0.8, 0.8, 2) * (size / 2 - reach)
    seen = image.transform(
        image.size,
        Image.Transform.QUAD,
        (corners + place).ravel(),
        Image.Resampling.BICUBIC,
    )
    light = rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3)
    pixels = np.asarray(seen, np.float32) * light.astype(np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _write(root: pathlib.Path, name: str, profile: Profile | None) -> None:
    rng = np.random.default_rng(SEED)
    for class_name in CLASSES:
        (root / name / class_name).mkdir(parents=True)
    drawn = profile is None
    # Drawn, every plant was taken four times; of real photos, one in five three times.
    every, more, wrong_labels = (1, 3, 8) if drawn else (5, 2, 20)
    pictures = _drawn() if drawn else _photographed(profile.max_images)
    plants = 0
    for number, (image, kind) in enumerate(pictures):
        if kind in CLASSES:
            series = more if plants % every == 0 else 0
            shots = [image, *(take_shot(image, rng) for _ in range(series))]
            for shot, photo in enumerate(shots, start=1):
                file = f"plant_{number:04}_shot_{shot}.jpg"
                photo.save(root / name / kind / file, quality=QUALITY)
            plants += 1
        else:
            folder = root / "others" / kind
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{number:04}.jpg", quality=QUALITY)
    planted, decisions = plant_faults(root / name, wrong_labels, rng)
    text = json.dumps({"planted": planted, "decisions": decisions}, indent=2)
    (root / LIST).write_text(text, encoding="utf-8")


def _drawn() -> Iterator[tuple[Image.Image, str]]:
    """Yield drawn pictures, each with its class or the kind of other thing it shows."""
    for image, label in draw_flowers(DRAWN_PLANTS * len(FLOWERS_LABELS), SEED):
        name = FLOWERS_LABELS[label]
        yield image, name if name in CLASSES else "other flowers"
    for image, _ in draw_cats_vs_dogs(DRAWN_ANIMALS, SEED):
        yield image, "animals"


def _photographed(max_images: int | None) -> Iterator[tuple[Image.Image, str]]:
    """Yield photos, each with its class or the kind of other thing it shows."""
    # By now a run needs TensorFlow; drawing does not wait for it.
    from keras_transfer.data import tfds

    most = None if max_images is None else int(max_images / 1.5)
    left = {"plants": most, "other flowers": OTHERS, "animals": OTHERS}
    for dataset in ("tf_flowers", "cats_vs_dogs"):
        for encoded, name in tfds.open_photos(dataset):
            kind = name if name in CLASSES else "other flowers"
            kind = kind if dataset == "tf_flowers" else "animals"
            counted = "plants" if kind in CLASSES else kind
            if left[counted] == 0:
                continue
            if left[counted] is not None:
                left[counted] -= 1
            with Image.open(io.BytesIO(encoded)) as image:
                yield image.convert("RGB"), kind


def plant_faults(
    folder: pathlib.Path, wrong_labels: int, rng: np.random.Generator
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Plant the faults that folders of photos have in one.

    Args:
        folder: Folder of JPEG files, one subfolder a class. It is changed.
        wrong_labels: How many photos are moved to another class.
        rng: Says which.

    Returns:
        The files by kind of fault; and by file what is right to decide about it.

    Example:

    >>> plant_faults(folder, 2, np.random.default_rng(0))  # doctest: +SKIP
    """
    photos = sorted(folder.glob("*/*.jpg"))
    names = sorted(path.name for path in folder.iterdir())
    chosen = [photos[i] for i in rng.choice(len(photos), wrong_labels + 2, False)]
    copied, darkened, *moved = chosen
    decisions = {}
    for photo in moved:
        right_class = photo.parent.name
        others = [name for name in names if name != right_class]
        wrong = folder / others[int(rng.integers(len(others)))] / photo.name
        photo.rename(wrong)
        decisions[wrong.relative_to(folder).as_posix()] = right_class
    planted = {"wrong label": sorted(decisions)}
    # With a number of its own, as if it were another plant: its name tells nothing.
    copy = copied.with_name("plant_9999_from_a_chat.jpg")
    with Image.open(copied) as image:
        small = [round(0.7 * side) for side in image.size]
        image.resize(small, Image.Resampling.BICUBIC).save(copy, quality=70)
    dark = darkened.with_name(f"{darkened.stem}_in_the_bag.jpg")
    with Image.open(darkened) as image:
        shot = take_shot(image, rng).point(lambda value: value * 0.05)
        shot.save(dark, quality=QUALITY)
    note = copied.with_name("notes.txt")
    note.write_text("To do: photograph the plants at the gate again.\n", "utf-8")
    for kind, file in (("near copy", copy), ("dark", dark), ("unreadable", note)):
        path = file.relative_to(folder).as_posix()
        planted[kind] = [path]
        decisions[path] = "drop"
    return planted, decisions
