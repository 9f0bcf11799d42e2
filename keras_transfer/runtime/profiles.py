"""Profiles: how much data, which image size and which device one run uses."""

import dataclasses
import os
import typing

from keras_transfer.runtime.arguments import shown, whole_number
from keras_transfer.runtime.status_lines import say

NAMES = ("quick", "lesson", "full")
SAMPLE_DATA = {
    "cats_vs_dogs": "sample_cats_vs_dogs",
    "tf_flowers": "sample_flowers",
}
# All that are drawn: no profile puts the last two in another's place.
DRAWN = (*SAMPLE_DATA.values(), "sample_pets", "sample_pets_night")


@dataclasses.dataclass(frozen=True)
class Profile:
    """Hold what one run uses. Made by `keras_transfer.profile`.

    Attributes:
        name: `"quick"`, `"lesson"` or `"full"`.
        image_size: Side of the square images, in pixels.
        max_images: The most images that a data set gives, or `None` for all.
        fallback_backbone: The backbone that stands in where the pretrained weights
            of the one asked for cannot be had, or `None` to stop instead.
        device: Printable name of the device that computes.
        dtype_policy: Keras dtype policy that new layers get.
        seed: Seed of every random generator.
    """

    name: str
    image_size: int
    max_images: int | None
    fallback_backbone: str | None
    device: str
    dtype_policy: str
    seed: int

    def dataset_name(self, name: str) -> str:
        """Return the data set that stands for `name`: drawn in quick, else itself."""
        if not isinstance(name, str):
            raise ValueError(
                "name must be the name of a data set, such as tf_flowers. "
                f"Received: name={shown(name)}"
            )
        return SAMPLE_DATA.get(name, name) if self.name == "quick" else name

    def pick(self, *, quick: typing.Any, lesson: typing.Any, full: typing.Any):
        """Return the argument that has the name of this profile."""
        return {"quick": quick, "lesson": lesson, "full": full}[self.name]

    def __str__(self) -> str:
        images = "all images" if self.max_images is None else ""
        images = images or f"at most {self.max_images:,} images"
        kind = "drawn samples" if self.name == "quick" else "real photos"
        return (
            f"Profile {self.name}: {kind}, {images} at {self.image_size} px, "
            f"{self.dtype_policy} on {self.device}, seed {self.seed}"
        )


def profile(name: str | None = None, seed: int = 0) -> Profile:
    """Select the profile of this run, set seed and precision, and print it.

    Operations are made deterministic, so a lesson repeats its numbers on the same
    machine. With several GPUs, models that are built after this call use all of them.

    Args:
        name: `"quick"` (drawn sample images at 128 px, runs offline), `"lesson"`
            (at most 2,000 real photos at 160 px) or `"full"` (whole data sets at
            224 px, mixed precision on a GPU). Defaults to the environment variable
            `KERAS_TRANSFER_PROFILE`, and without it to `"quick"`.
        seed: Integer from 0 to 4,294,967,295. Seeds Python, NumPy and Keras. Defaults
            to `0`.

    Returns:
        A `Profile`.

    Raises:
        ValueError: If there is no profile of this name, or the seed is out of range.

    Example:

    >>> import keras_transfer as kt
    >>> profile = kt.profile("quick")
    >>> profile.image_size
    128
    """
    origin = "name"
    if name is None:
        origin = "KERAS_TRANSFER_PROFILE"
        name = os.environ.get(origin) or "quick"
    if not isinstance(name, str) or name not in NAMES:
        raise ValueError(
            f"A profile is one of {', '.join(NAMES)}. Pass one of these, or set "
            f"KERAS_TRANSFER_PROFILE to it. Received: {origin}={shown(name)}"
        )
    seed = whole_number("seed", seed, 0, 2**32 - 1)  # What Keras takes.
    # Several notebooks share one GPU: TensorFlow would take all its memory at once.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    import keras
    import tensorflow as tf

    from keras_transfer.runtime.devices import use_all_devices

    # With the seed alone, parallel sums still come out in another order each time.
    tf.config.experimental.enable_op_determinism()
    device, has_gpu = device_in_use()
    policy = "mixed_float16" if name == "full" and has_gpu else "float32"
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(seed)
    use_all_devices()
    size, most = {"quick": (128, 480), "lesson": (160, 2000), "full": (224, None)}[name]
    selected = Profile(
        name=str(name),
        image_size=size,
        max_images=most,
        fallback_backbone="efficientnet_lite0" if name == "quick" else None,
        device=device,
        dtype_policy=policy,
        seed=seed,
    )
    say(selected)
    if name == "full" and not has_gpu:
        say("No GPU was found: this profile is meant for one and will be slow here.")
    return selected


def device_in_use() -> tuple[str, bool]:
    """Return the name of the device that computes, and whether it is a GPU."""
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        name = details.get("device_name", "GPU")
        return (f"{len(gpus)} x {name}" if len(gpus) > 1 else name), True
    return f"CPU ({os.cpu_count()} cores)", False
