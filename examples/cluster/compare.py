"""Features and a comparison on a cluster, of a folder of photos.

    python compare.py /shared/photos --cluster auto

Run it on any machine of the cluster; every one of them must see the folder.
"""

import argparse

import keras_transfer as kt


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("photos", help="folder with one subfolder a class")
    made.add_argument("--cluster", default="auto", help="auto, local or IP:6379")
    made.add_argument("--gpus-per-worker", type=int, default=0)
    made.add_argument("--backbone", default="efficientnet_lite0")
    made.add_argument("--image-size", type=int, default=224)
    options = made.parse_args()

    splits = kt.load_directory(options.photos, image_size=options.image_size)
    backbone = kt.build_backbone(options.backbone, image_size=options.image_size)
    features = kt.extract_features(
        backbone,
        splits,
        cluster=options.cluster,
        gpus_per_worker=options.gpus_per_worker,
    )
    model = kt.build_classifier(backbone, num_classes=len(splits.class_names))
    kt.fit_head(model, features)
    print(kt.evaluate_classifier(model, splits.test, splits.class_names))

    recipes = {
        "frozen": kt.Recipe("frozen", options.backbone),
        "fine-tuned": kt.Recipe("fine_tuned", options.backbone),
    }
    print(kt.compare(recipes, splits, seeds=(0, 1), cluster=options.cluster))


if __name__ == "__main__":
    main()
