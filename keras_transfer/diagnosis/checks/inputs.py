"""Checks of the pixels that reach a network: the form they have, and should have."""

import typing

import numpy as np

from keras_transfer.backbones import registry
from keras_transfer.data import pipelines
from keras_transfer.data.decoding import RESIZE_RULE
from keras_transfer.diagnosis.case import Case
from keras_transfer.diagnosis.evidence import photo_files, pixel_forms, weights
from keras_transfer.diagnosis.evidence.weights import Recognised
from keras_transfer.diagnosis.findings import Check, Finding, NotExaminedError
from keras_transfer.models import graph
from keras_transfer.models.outputs import as_array

# As a share of the expected range: what changes results much, and what changes them.
FAR, NEAR = 0.25, 0.05
# The variance that BatchNormalization expects, against that of these photos. Drawings
# and photos differ by less.
VARIANCE = 20.0
IMAGES = 32


class First(typing.NamedTuple):
    """Hold the first convolution of a model and what reaches it.

    Attributes:
        convolution: The layer.
        inputs: What it gets for some images.
        inside: `Affine` of what the model itself does to pixels before, or `None`.
    """

    convolution: typing.Any
    inputs: np.ndarray
    inside: pixel_forms.Affine | None


def check_preprocessing(case: Case) -> list[Finding]:
    """Find pixels in another form than the weights were trained with."""
    first = case.once(first_convolution)
    known = weights.recognise(first.convolution)
    if known and known.sure:
        return _by_weights(case, first, known)
    return _by_statistics(case, first)


def first_convolution(case: Case) -> First:
    """Return the first convolution; a network without one is not examined."""
    convolutions = graph.first_convolutions(case.model)
    images = case.some(case.scored, IMAGES)
    found = graph.arrival(case.model, convolutions, images)
    if found is None:
        raise NotExaminedError("no convolution of RGB images was found in the model")

    def run(colours):
        return graph.arrival(case.model, [found.layer], colours).inputs

    return First(found.layer, found.inputs, pixel_forms.probe(run, images.shape[1:]))


def given_form(case: Case, split: str) -> tuple[pixel_forms.Affine, str]:
    """Return the form in which a split gives its pixels, and how that is known."""
    try:
        match = photo_files.match(case, split)
        if match.coloured:
            return match.form, "compared with the files"
    except NotExaminedError:
        pass
    images = case.sample(split).images
    form = pixel_forms.of_range(images.min(axis=(0, 1, 2)), images.max(axis=(0, 1, 2)))
    if form is None:
        raise NotExaminedError(
            f"its {split} images, from {images.min():.4g} to {images.max():.4g}, are "
            "in no usual form, and their files are not known"
        )
    return form, "by their range"


def _by_weights(case: Case, first: First, known: Recognised) -> list[Finding]:
    if first.inside is None:
        raise NotExaminedError("what the model does to pixels is more than a rescaling")
    expected = pixel_forms.preprocessing_of(known.architecture)
    if expected is None:
        raise NotExaminedError(
            f"what {known.architecture} does to pixels is more than a rescaling"
        )
    expected = expected.reversed() if known.reversed else expected
    given, how = given_form(case, case.scored)
    actual = first.inside.after(given)
    distance = actual.distance(expected)
    if distance < NEAR:
        return []
    name = pixel_forms.name_of(actual)
    return [
        Finding(
            "serious" if distance >= FAR else "warning",
            "Pixels in another form than the weights were trained with",
            f"The first convolution ({first.convolution.name}) has the ImageNet "
            f"weights of {known.architecture}, trained on {expected.describe()}. It "
            f"gets {actual.describe()}{f': {name}' if name else ''}. The data set "
            f"gives {given.describe()} ({how}).",
            "The weights look for edges and colours in numbers of another size or "
            "order. Nothing fails: the loss falls, and accuracy stays far below what "
            "the network can do.",
            _repair(known.architecture, case.image_size),
            {
                "distance": distance,
                "low": actual.low.min(),
                "high": actual.high.max(),
                "expected_low": expected.low.min(),
                "expected_high": expected.high.max(),
            },
        )
    ]


def _repair(architecture: str, size: int) -> str:
    code = registry.architecture(architecture).preprocessing_code
    once = "once, and without Rescaling or `/ 255` anywhere"
    keras_way = f"# Or with a backbone of your own, {once}:\n# {code}\n" if code else ""
    return f"""
# Raw RGB pixels, 0 to 255, into a backbone that preprocesses them itself:
splits = kt.load_directory("path/to/photos", image_size={size})
backbone = kt.build_backbone("{architecture}", image_size={size})
model = kt.build_classifier(backbone, num_classes=len(splits.class_names))
{keras_way}"""


def _by_statistics(case: Case, first: First) -> list[Finding]:
    """Compare with the variance that the first BatchNormalization expects."""
    layers = graph.batch_normalizations(case.model)
    images = case.some(case.scored, IMAGES)
    normalization = graph.arrival(case.model, layers, images)
    if normalization is None:
        raise NotExaminedError(
            "its first kernel is not known here, and there is no BatchNormalization "
            "that would remember the pixels of the training"
        )
    layer, values = normalization
    computed = as_array(first.convolution(first.inputs))
    if computed.shape != values.shape or not np.allclose(computed, values, 1e-2, 1e-2):
        raise NotExaminedError(
            "its first kernel is not known here, and the first BatchNormalization "
            "does not follow it"
        )
    mean, variance = (as_array(x) for x in (layer.moving_mean, layer.moving_variance))
    if not mean.any() and np.all(variance == 1):
        raise NotExaminedError("its first BatchNormalization has never been trained")
    axes = (0, 1, 2)
    measured = np.maximum(values.var(axis=axes), 1e-20) / np.maximum(variance, 1e-20)
    ratio = float(np.median(measured))
    if 1 / VARIANCE < ratio < VARIANCE:
        return []
    return [
        Finding(
            "serious",
            "Pixels of another size than BatchNormalization remembers",
            f"The first BatchNormalization ({layer.name}) remembers from training "
            f"{1 / ratio:.3g} times the variance that it meets with these images. "
            f"The first convolution gets {first.inputs.min():.4g} to "
            f"{first.inputs.max():.4g}; pixels {ratio**-0.5:.3g} times as far apart "
            "would agree.",
            "Either pixels are preprocessed otherwise than in training, or training "
            "was too short for the moving statistics. Then all layers after it get "
            "numbers that they never saw in training, and nothing fails.",
            f"""
# Give the network the pixels that it was trained with, once. For keras.applications,
# that is preprocess_input of the module of your network. These would agree with what
# BatchNormalization remembers (mostly it is 255 or 127.5 that was left out):
train, validation, test = (
    dataset.map(lambda x, y: (x * {ratio**-0.5:.4g}, y))
    for dataset in (train, validation, test)
)
""",
            {"variance_ratio": ratio},
        )
    ]


def check_pixel_range(case: Case) -> list[Finding]:
    """Find pixels that differ between splits, or are divided by 255 twice."""
    lows, highs = {}, {}
    for split in case.datasets:
        images = case.sample(split).images
        if not np.isfinite(images).all():
            return [_not_finite(split, images)]
        lows[split], highs[split] = float(images.min()), float(images.max())
    widths = {split: highs[split] - lows[split] for split in highs}
    shown = "; ".join(f"{s}: {lows[s]:.4g} to {highs[s]:.4g}" for s in highs)
    signs = {low < -0.5 for low in lows.values()}
    if max(widths.values()) > 4 * min(widths.values()) or len(signs) > 1:
        return [
            Finding(
                "serious",
                "The splits give pixels in different forms",
                f"{shown}.",
                "What was learnt from one kind of numbers does not hold for another.",
                f"""
# One reader for all splits, and nothing that is mapped over one of them alone:
splits = kt.load_directory("path/to/photos", image_size={case.image_size})
train, validation, test = splits.train, splits.validation, splits.test
""",
                {"low": min(lows.values()), "high": max(highs.values())},
            )
        ]
    inside = case.once(first_convolution).inside
    if inside is None:
        raise NotExaminedError("what the model does to pixels is more than a rescaling")
    scale = float(np.abs(inside.matrix).sum(axis=1).max())
    if scale > 1 / 50 or max(widths.values()) > 3:
        return []
    return [
        Finding(
            "serious",
            "The model expects 0 to 255 and gets 0 to 1",
            f"The data set gives {shown}, and the model multiplies by {scale:.4g} "
            "again.",
            "All photos become nearly the same dark grey, so little is left to learn "
            "from.",
            """
# Rescale in one place. The model does it, so take `/ 255` out of the data set, or undo:
train, validation, test = (
    dataset.map(lambda x, y: (x * 255, y)) for dataset in (train, validation, test)
)
""",
            {"scale": scale, "high": max(highs.values())},
        )
    ]


def _not_finite(split: str, images: np.ndarray) -> Finding:
    share = float(np.mean(~np.isfinite(images).all(axis=(1, 2, 3))))
    return Finding(
        "serious",
        "Images that hold NaN or infinity",
        f"{share:.1%} of the {split} images that were looked at.",
        "One such image in a batch makes all weights NaN.",
        """
# tf.debugging.check_numerics(x, "x") in a map ends at the step that makes them.
# Until it is repaired, leave these images out:
train, validation, test = (
    dataset.unbatch()
    .filter(lambda x, y: tf.reduce_all(tf.math.is_finite(x)))
    .batch(32)
    for dataset in (train, validation, test)
)
""",
        {"share": share},
    )


# Photos that are hardly made smaller lose nothing without antialiasing.
SHRUNK = 1.2


def _resizing_repair(size: int) -> str:
    return f"""
splits = kt.load_directory("path/to/photos", image_size={size})  # for training
image = kt.load_image("photo.jpg", image_size={size})  # for prediction
# Or, without this package, the same in both places:
# image = PIL.ImageOps.exif_transpose(PIL.Image.open("photo.jpg")).convert("RGB")
# image = tf.image.resize(np.asarray(image), ({size}, {size}), antialias=True)
"""


def check_resizing(case: Case) -> list[Finding]:
    """Find photos that are resized badly, or not as in training, or not turned."""
    matches, reasons = {}, {}
    for split in case.datasets:
        try:
            matches[split] = photo_files.match(case, split)
        except NotExaminedError as error:
            reasons[split] = str(error)
    if not matches:
        raise NotExaminedError("; ".join(f"{k}: {v}" for k, v in reasons.items()))
    repair = _resizing_repair(case.image_size)
    findings = [*_aliased(matches, repair), *_not_turned(matches, repair)]
    if len(matches) > 1:
        findings += _in_two_ways(matches, repair)
    return findings


def _aliased(matches: dict, repair: str) -> list[Finding]:
    for split, found in matches.items():
        fit, _, how = found.way.partition(", ")
        if how.startswith(photo_files.SMOOTH) or found.shrunk < SHRUNK:
            continue
        smooth = min(
            level
            for way, level in found.levels.items()
            if way.startswith(f"{fit}, {photo_files.SMOOTH}")
        )
        smooth -= found.levels[found.way]
        if smooth < photo_files.CLEARLY:
            continue
        return [
            Finding(
                "warning",
                "Photos are made smaller without antialiasing",
                f"The {split} photos are {found.shrunk:.1f} times smaller than their "
                f"files and agree with resizing {how} (to "
                f"{found.levels[found.way]:.1f} levels of 255); antialiased ones would "
                f"differ by {smooth:.1f} levels more.",
                "Every pixel that is left out lets fine patterns come out as others. "
                "Networks were trained on antialiased photos, and a network that was "
                "trained on one kind of pixels is worse on the other.",
                repair,
                {"shrunk": found.shrunk, "levels": smooth},
            )
        ]
    return []


def _in_two_ways(matches: dict, repair: str) -> list[Finding]:
    ways = {split: found.way for split, found in matches.items()}
    levels = [
        matches[first].levels[ways[second]] - matches[first].levels[ways[first]]
        for first in ways
        for second in ways
    ]
    if max(levels) < photo_files.CLEARLY:
        return []
    listed = "; ".join(f"{split}: {way}" for split, way in ways.items())
    return [
        Finding(
            "warning",
            "Photos are resized in two ways",
            f"{listed}. The same photo differs by {max(levels):.1f} levels of 255.",
            "What the model learns about shapes and sizes in training does not hold "
            "for photos that are stretched or cropped otherwise afterwards.",
            repair,
            {"levels": max(levels)},
        )
    ]


def _not_turned(matches: dict, repair: str) -> list[Finding]:
    turned = sum(found.turned for found in matches.values())
    lying = sum(found.not_turned for found in matches.values())
    if not lying:
        return []
    photos = sum(found.photos for found in matches.values())
    return [
        Finding(
            "warning",
            "Photos lie on their side: EXIF rotation is ignored",
            f"Of {photos} photos, {turned} are stored with a rotation in "
            f"their EXIF data, and {lying} of these are given as they are stored.",
            "Phones store photos as the sensor lay. People, and the photos that the "
            "weights were trained on, stand upright.",
            repair,
            {"turned": turned, "not_turned": lying},
        )
    ]


def check_folder_names(case: Case) -> list[Finding]:
    """Find class names in another order than that of the labels."""
    names = case.names()
    findings, known = [], 0
    for where, others in (
        ("the model's file", case.model_class_names),
        ("the data set itself", _loader_names(case)),
    ):
        known += others is not None
        if others is not None and tuple(others) != names:
            findings.append(
                _wrong_names(
                    f"By {where} the classes are {', '.join(others)}; the names given "
                    f"with the data are {', '.join(names)}.",
                    len(names),
                    case.image_size,
                )
            )
    seen, wrong = _folders(case, names)
    if seen and wrong:
        path, label, folder = wrong[0]
        findings.append(
            _wrong_names(
                f"{len(wrong)} of {seen} photos lie in the folder of another class "
                f"than the one of their label: {path.name} lies in {folder} and has "
                f"the label {label}, which is {names[label]} here.",
                len(wrong),
                case.image_size,
            )
        )
    if not (known or seen):
        raise NotExaminedError(
            "neither the files' folders nor names from elsewhere are known"
        )
    return findings[:1]


def _wrong_names(evidence: str, count: int, size: int) -> Finding:
    return Finding(
        "serious",
        "Class names in another order than the labels",
        evidence,
        "Accuracy does not show it: every answer is right by its number and wrong by "
        "its name.",
        f"""
splits = kt.load_directory("path/to/photos", image_size={size})
kt.save_classifier(model, "model.keras", splits.class_names)  # never typed by hand
# In Keras: train = keras.utils.image_dataset_from_directory(...); train.class_names
# In TensorFlow Datasets: builder.info.features["label"].names
""",
        {"wrong": count},
    )


def _loader_names(case: Case):
    for dataset in case.datasets.values():
        names = pipelines.attribute(dataset, "class_names")
        if names is not None:
            return tuple(names)
    return None


def _folders(case: Case, names: tuple[str, ...]) -> tuple[int, list]:
    """Return how many folders name a class, and the photos where it is another."""
    seen, wrong = 0, []
    for split in case.datasets:
        labels, every = case.sample(split).labels, case.every(split)
        files = pipelines.encoded(case.dataset(split), len(labels), every)
        for file, label in zip(files, labels[: len(files)], strict=True):
            path = photo_files.path_of(file)
            if path is None:
                continue
            folder = next((x for x in reversed(path.parts[:-1]) if x in names), None)
            # That is looked at with the order of labels.
            if not 0 <= label < len(names):
                continue
            seen += folder is not None
            if folder is not None and names[label] != folder:
                wrong.append((path, label, folder))
    return seen, wrong


CHECKS = (
    Check(
        "preprocessing",
        check_preprocessing,
        "what reaches the first convolution, beside what its weights expect",
        "The order of channels where neither the weights nor the files are known; "
        f"known are the ImageNet weights of {', '.join(weights.known_sums())}.",
    ),
    Check(
        "pixel range",
        check_pixel_range,
        "the numbers of each split, and the model's own rescaling",
        "Which range a network that was trained from scratch had.",
    ),
    Check(
        "resizing",
        check_resizing,
        "a few photos of each split beside their files",
        "Which way the weights were trained with; only what differs between splits, "
        f"and from the rule of this package ({RESIZE_RULE}).",
    ),
    Check(
        "class names",
        check_folder_names,
        "names of folders, and those that came with data or model",
        "Whether a folder holds what its name says.",
    ),
)
