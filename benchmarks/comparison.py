"""Compare four recipes on cats and dogs and on flowers, and say what the data support.

    python benchmarks/comparison.py [--datasets NAME ...] [--backbone NAME]

From scratch, frozen features, fine-tuned and gradually unfrozen, each with three seeds,
on the photos of the lesson profile. Runs that were finished are read back.
"""

import argparse

import keras_transfer as kt


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--datasets", nargs="+", default=["cats_vs_dogs", "tf_flowers"])
    made.add_argument("--backbone", default="efficientnet_lite0")
    made.add_argument("--from-block", default="block7", help="first that is trained")
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    made.add_argument("--profile", choices=("quick", "lesson"), default="lesson")
    options = made.parse_args()
    profile = kt.profile(options.profile)
    shared = {"backbone": options.backbone, "from_block": options.from_block}
    recipes = {
        "from scratch": kt.Recipe("from_scratch", "small_convnet", epochs=20),
        "frozen": kt.Recipe("frozen", options.backbone),
        "fine-tuned": kt.Recipe(
            "fine_tuned", **shared, epochs=4, freeze_epochs=3, learning_rate=6e-4
        ),
        "gradual": kt.Recipe("gradual", **shared, epochs=6),
    }
    for name in options.datasets:
        splits = kt.load_dataset(name, profile)
        print(f"\n{kt.compare(recipes, splits, options.seeds)}\n", flush=True)


if __name__ == "__main__":
    main()
