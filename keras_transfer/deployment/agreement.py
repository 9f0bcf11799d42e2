"""Does an exported classifier say what the original says, from the bytes of photos?"""

import dataclasses
import io
import pathlib
import typing
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from keras_transfer.classifier.prediction import FEW, Prediction
from keras_transfer.classifier.saved import Classifier
from keras_transfer.data import decoding
from keras_transfer.deployment.exported import CLIENT, ExportedClassifier
from keras_transfer.evaluation.statistics import LEVEL, PairedTest, paired_test
from keras_transfer.models.precision import float32_copy
from keras_transfer.runtime import atomic_files
from keras_transfer.samples.animals import draw_cat_or_dog

# So many photos are compared from their bytes.
COUNT = 64
# How far a probability may be off in float32, and the least share of photos of which
# the same class comes first in the others.
MOST_DIFFERENCE = 1e-3
LEAST_SAME = {"float16": 0.99, "int8": 0.98}
# EXIF's number for a photo that lies on its side.
_TURNED = 6


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Say how far an exported classifier and the original agree.

    Attributes:
        images: How many images were compared from their bytes.
        drawn: Whether they were drawn, because there were no photos.
        probability_difference: The largest difference of a probability, 0 to 1.
        same_class: The share of images of which the same class comes first, 0 to 1.
        distance_difference: The largest difference of the distance that tells what is
            of none of the classes; `None` without a detector.
        same_unknown: The share of images of which both say that they are of none of the
            classes, or both that they are of one; `None` likewise.
        test: `PairedTest` of the original against the exported classifier on photos
            that were neither trained nor validated on, or `None`.
        note: Why there is no such test, or what a reader of it must know, or `""`.
    """

    images: int
    drawn: bool
    probability_difference: float
    same_class: float
    distance_difference: float | None
    same_unknown: float | None
    test: PairedTest | None = None
    note: str = ""

    def to_dict(self) -> dict:
        """Return all of it as plain values for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        kind = "drawn images" if self.drawn else "photos"
        lines = [
            f"{self.images} {kind} from their bytes: the same class in "
            f"{self.same_class:.1%}, probabilities at most "
            f"{self.probability_difference:.2g} apart"
        ]
        if self.same_unknown is not None:
            lines.append(f'the same on "none of these" in {self.same_unknown:.1%}')
        found = filter(None, (self.test and str(self.test), self.note))
        lines.append(f"original against exported: {'. '.join(found)}")
        return "\n".join(lines)


def measure_agreement(
    classifier: Classifier,
    folder: pathlib.Path,
    photos: Sequence[pathlib.Path],
) -> Agreement:
    """Compare an export, by the client that lies in it, with the original.

    Args:
        classifier: The original. Of mixed precision, its copy in float32 is compared.
        folder: The folder of the export.
        photos: Photos to compare on; where there are none, images are drawn.
    """
    images = [*_images(photos)]
    expected = _answers(classifier, images, folder)
    found = [*map(_client(folder), images)]
    names = classifier.class_names
    rows = np.array([[x["probabilities"][name] for name in names] for x in found])
    true = np.stack([x.probabilities for x in expected])
    distance = same_unknown = None
    if classifier.unknown is not None:
        pairs = [*zip(found, expected, strict=True)]
        # As NaN, not passed over by `max`.
        distance = float(np.max([abs(x["distance"] - y.distance) for x, y in pairs]))
        same_unknown = float(np.mean([x["unknown"] == y.unknown for x, y in pairs]))
    return Agreement(
        images=COUNT,
        drawn=not photos,
        probability_difference=float(np.abs(rows - true).max()),
        same_class=float(np.mean(rows.argmax(axis=1) == true.argmax(axis=1))),
        distance_difference=distance,
        same_unknown=same_unknown,
    )


def measure_loss(
    classifier: Classifier,
    exported: ExportedClassifier,
    photos: Sequence[pathlib.Path],
    labels: Sequence[int],
) -> PairedTest | None:
    """Test whether an export is right less often; `None`, if no photo can be read."""
    # For few, a graph takes longer to make than it saves.
    how = {} if len(photos) < FEW else {"dtype": "float32", "engine": "tensorflow"}
    originals = classifier.predict_stream(photos, **how)
    right = [
        (a.probabilities.argmax() == label, b.probabilities.argmax() == label)
        for a, b, label in zip(
            originals, exported.predict_stream(photos), labels, strict=True
        )
        if a.error is None and b.error is None
    ]
    return paired_test(*np.array(right).T) if right else None


def check_limits(agreement: Agreement, kind: str, precision: str) -> None:
    """Raise a `RuntimeError` if an export does not keep what is promised of it."""
    ways = "Export in float32" if precision != "float32" else "Try another format"
    if precision == "int8":
        ways += " or float16, or give more training photos"
    what = f"{kind} in {precision}"
    found, limit = agreement.probability_difference, MOST_DIFFERENCE
    if precision == "float32" and not found <= limit:
        raise RuntimeError(
            f"The export was not kept: its probabilities are up to {found:.2g} off, "
            f"and {limit:g} is allowed. {ways}. Received: {what}"
        )
    off = agreement.distance_difference or 0.0
    if not np.isfinite([found, off]).all():
        raise RuntimeError(
            "The export was not kept: it answers what is no number, as a network does "
            f"whose numbers grow too large for it. {ways}. Received: {what}"
        )
    if precision == "float32" and off > limit:
        raise RuntimeError(
            'The export was not kept: the distance that tells "none of these" is up to '
            f"{off:.2g} off, and {limit:g} is allowed. {ways}. Received: {what}"
        )
    least = LEAST_SAME.get(precision, 0)
    if agreement.same_class < least:
        raise RuntimeError(
            "The export was not kept: it names the class of the original for "
            f"{agreement.same_class:.1%} of {agreement.images} images, and {least:.0%} "
            f"is the least allowed. {ways}. Received: {what}"
        )
    test = agreement.test
    if test is not None and test.difference > 0 and test.p_value < LEVEL:
        raise RuntimeError(
            "The export was not kept: on photos that it was not trained on, it is "
            f"right less often than the original ({test}). {ways}. Received: {what}"
        )


def _images(photos: Sequence[pathlib.Path]) -> Iterator[bytes]:
    """Yield image files of all kinds, made of photos or drawn."""
    for index in range(COUNT):
        data = photos[index % len(photos)].read_bytes() if photos else _drawn(index)
        turn, rest = divmod(index, _EVERY)
        yield data if rest else _KINDS[turn % len(_KINDS)](data, index)


def _answers(
    classifier: Classifier, images: Sequence[bytes], folder: pathlib.Path
) -> list[Prediction]:
    """Return what a classifier, in float32, says of the bytes of images."""
    exact = dataclasses.replace(classifier, model=float32_copy(classifier.model))
    with atomic_files.scratch_folder(folder) as scratch:
        files = [scratch / str(index) for index in range(len(images))]
        for file, data in zip(files, images, strict=True):
            file.write_bytes(data)
        return exact.predict(files)  # So few that no graph is made for them.


def _client(folder: pathlib.Path) -> Callable[[bytes], dict]:
    """Return what the client in an export answers by."""
    # Not imported, which would leave bytecode beside it.
    client = {"__name__": "exported_client"}
    text = (folder / CLIENT).read_text(encoding="utf-8")
    exec(compile(text, CLIENT, "exec"), client)
    return client["load"](folder)


def _turned(data: bytes, _: int) -> bytes:
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = _TURNED
    return _written(_rgb(data), "JPEG", exif=exif, quality=90)


def _cmyk(data: bytes, _: int) -> bytes:
    return _written(_rgb(data).convert("CMYK"), "JPEG", quality=90)


def _gray_16_bit(data: bytes, seed: int) -> bytes:
    return _png(_wide(np.asarray(_rgb(data).convert("L"))[..., None], seed))


def _rgb_16_bit(data: bytes, seed: int) -> bytes:
    return _png(_wide(np.asarray(_rgb(data)), seed))


# What every eighth photo is made into, in turn; the others are as they are.
_KINDS = (_turned, _cmyk, _gray_16_bit, _rgb_16_bit)
_EVERY = 8


def _wide(pixels: np.ndarray, seed: int) -> np.ndarray:
    # Low bytes of all values, so that it is seen whether they are read.
    low = np.random.default_rng(seed).integers(0, 256, pixels.shape, "uint16")
    return pixels.astype("uint16") * 256 + low


def _png(pixels: np.ndarray) -> bytes:
    import tensorflow as tf  # Pillow writes no 16-bit colour.

    return tf.io.encode_png(pixels).numpy()


def _rgb(data: bytes) -> Image.Image:
    return Image.fromarray(decoding.decode(data))


def _written(image: Image.Image, name: str, **how: typing.Any) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **how)
    return file.getvalue()


def _drawn(index: int) -> bytes:
    """Return a drawn image as a JPEG."""
    image, _ = draw_cat_or_dog(index, seed=0)
    return _written(image, "JPEG", quality=90)
