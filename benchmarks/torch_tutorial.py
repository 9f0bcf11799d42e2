"""PyTorch's transfer-learning tutorial, in a process that holds no TensorFlow.

https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html

As there: its transforms, four photos a batch, four workers, cross-entropy, SGD with
learning rate 0.001 and momentum 0.9, a tenth of it after each seven epochs, validation
after each epoch, float32, and `model.train()` for all layers, also for those that are
frozen. Different: the network and its preprocessing are those that
`time_to_accuracy.py` has written here, in place of ResNet18, and the transforms are
written out, because torchvision's wheel wants a PyTorch with CUDA.

Photos lie in `train/`, `validation/` and `test/`, one subfolder a class. For each epoch
a line of JSON is printed with the seconds until its end and the test accuracy, for
which the clock stands still. It ends with the first epoch that has the accuracy needed.
"""

import argparse
import json
import math
import pathlib
import random
import time

import numpy as np
import torch
from PIL import Image
from torch import nn


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("network", type=pathlib.Path, help="file of torch.save")
    made.add_argument("photos", type=pathlib.Path)
    made.add_argument("--image-size", type=int, default=224)
    made.add_argument("--epochs", type=int, default=25)
    made.add_argument("--needed", type=float, default=math.inf)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--fine-tune", action="store_true", help="train all layers")
    options = made.parse_args()
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(options.seed)
    # A file of our own, which holds a whole module.
    backbone = torch.load(options.network, weights_only=False)
    parts = {
        name: torch.utils.data.DataLoader(
            Photos(
                options.photos / name, options.image_size, augmented=name == "train"
            ),
            batch_size=4,
            shuffle=name == "train",
            num_workers=4,
        )
        for name in ("train", "validation", "test")
    }
    start = time.perf_counter()
    for parameter in backbone.parameters():
        parameter.requires_grad = options.fine_tune
    classes = len(parts["train"].dataset.classes)
    model = nn.Sequential(backbone, nn.LazyLinear(classes))
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, options.image_size, options.image_size))
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.001, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    for _ in range(options.epochs):
        train(model, parts["train"], optimizer)
        schedule.step()
        accuracy(model, parts["validation"])
        now = time.perf_counter()
        found = accuracy(model, parts["test"])
        print(json.dumps([now - start, found]), flush=True)
        if found >= options.needed:
            return
        start += time.perf_counter() - now


def train(model: nn.Module, batches, optimizer) -> None:
    """Train for one epoch."""
    loss_of = nn.CrossEntropyLoss()
    model.train()
    for images, labels in batches:
        optimizer.zero_grad()
        loss_of(model(images), labels).backward()
        optimizer.step()


def accuracy(model: nn.Module, batches) -> float:
    """Return the share of photos that are classified correctly."""
    model.eval()
    right = []
    with torch.no_grad():
        for images, labels in batches:
            right.append(model(images).argmax(1) == labels)
    return float(torch.cat(right).float().mean())


class Photos(torch.utils.data.Dataset):
    """Read a folder of photos, as `ImageFolder` does, with the tutorial's transforms.

    Images are of shape `(3, size, size)`, RGB 0 to 255.
    """

    def __init__(self, folder: pathlib.Path, size: int, augmented: bool):
        self.classes = sorted(path.name for path in folder.iterdir())
        self._rows = [
            (path, label)
            for label, name in enumerate(self.classes)
            for path in sorted((folder / name).iterdir())
        ]
        self._size, self._augmented = size, augmented

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int):
        path, label = self._rows[index]
        with Image.open(path) as file:
            image = file.convert("RGB")
        change = random_crop if self._augmented else centre_crop
        pixels = torch.from_numpy(np.array(change(image, self._size)))
        return pixels.permute(2, 0, 1).float().contiguous(), label


def random_crop(image: Image.Image, size: int) -> Image.Image:
    """Do what RandomResizedCrop and RandomHorizontalFlip do."""
    width, height = image.size
    # The middle, where no try fits.
    box = (0, 0, width, height)
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        shape = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            box = (left, top, left + w, top + h)
            break
    image = image.resize((size, size), Image.Resampling.BILINEAR, box)
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """Do what Resize, to 8/7 of the size, and CenterCrop do."""
    scale = size * 256 / 224 / min(image.size)
    sides = [round(side * scale) for side in image.size]
    image = image.resize(sides, Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in sides)
    return image.crop((left, top, left + size, top + size))


if __name__ == "__main__":
    main()
