"""Compute features, or a part of them."""

import argparse
from collections.abc import Callable

from keras_transfer.cli.arguments import backbone_at_size, load_photos, path_argument
from keras_transfer.runtime.arguments import file_path
from keras_transfer.runtime.status_lines import say


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what can be typed here."""
    features = command("features", _features, "Compute and keep frozen features.")
    features.add_argument("backbone", metavar="NAME@SIZE", help="such as resnet50@160")
    features.add_argument("data", help="folder of photos, or the name of a data set")
    features.add_argument(
        "--shard",
        metavar="INDEX/COUNT",
        help="compute one part of several, such as 0/2, the first one of two",
    )
    features.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="the same on all machines; default: the faster one here",
    )
    features.add_argument(
        "--engine",
        choices=("auto", "tensorflow", "openvino"),
        default="auto",
        help="the same on all machines; default: the faster one here",
    )
    features.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="have the workers of a Ray cluster compute them: auto, or such as "
        "10.0.0.1:6379",
    )
    features.add_argument(
        "--workers", type=int, help="of the cluster; default: one a machine"
    )
    features.add_argument(
        "--gpus-per-worker", type=int, default=0, help="of the cluster; default: 0"
    )
    features.add_argument(
        "--cache-dir", type=path_argument, help="default: data/features"
    )


def _features(options: argparse.Namespace) -> int:
    import keras_transfer as kt
    from keras_transfer.data.photo_folders import check_kept_outside, read_layout

    name, size = backbone_at_size(options.backbone)
    numbers = (options.shard or "0/1").split("/")
    if len(numbers) != 2 or not all(map(str.isdecimal, numbers)):
        raise ValueError(
            "Expected a part such as 0/2, the first one of two. "
            f"Received: --shard {options.shard}"
        )
    folder = file_path("FOLDER", options.data)
    if folder.is_dir():
        given = read_layout(folder.absolute()).splits
        check_kept_outside(folder, given, options.cache_dir)
    splits = load_photos(options.data, size)
    features = kt.extract_features(
        kt.build_backbone(name, image_size=size),
        splits,
        options.cache_dir,
        dtype=options.dtype,
        shard=tuple(map(int, numbers)) if options.shard else None,
        engine=options.engine,
        cluster=options.cluster,
        workers=options.workers,
        gpus_per_worker=options.gpus_per_worker,
    )
    say(features.path)
    return 0
