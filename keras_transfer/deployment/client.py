"""Say what photos show: `python client.py photo.jpg`, or `load(Path(folder))(data)`."""

import io
import json
import pathlib
import sys

import numpy as np
from PIL import Image, ImageOps

from keras_transfer.deployment.runtimes.onnx import network


def decode(data):
    """Return the bytes of a photo as upright RGB, with transparency on white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if data[1:4] == b"PNG" and data[24] == 16 and image.mode in ("RGB", "RGBA"):
        low = Image.open(io.BytesIO(data))  # Pillow reads the high bytes alone.
        gray = low.tile[0][3] == "LA;16B"  # Of that all bytes, as if they were RGBA.
        low.tile = [(*x[:3], "RGBA" if gray else f"{x[3][:-1]}L") for x in low.tile]
        low, high = np.asarray(ImageOps.exif_transpose(low)), np.asarray(image)
        low = low[..., [1, 1, 1, 3]] if gray else low
        image = Image.fromarray(np.rint((high * 256.0 + low) / 257).astype("uint8"))
    elif image.mode.startswith("I;16"):
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype("uint8"))
    assert image.mode not in ("I", "F", "LAB", "HSV"), f"no colours: {image.mode}"
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")))[..., :3]


def resize(pixels, size):
    """Stretch to float32 (size, size, 3), antialiased, by the sums of TensorFlow."""
    x, half, one = pixels, np.float32(0.5), np.float32(1)
    for length in pixels.shape[:2]:
        step = one / (np.float32(size) / np.float32(length))
        reach, middle = max(step, one), (np.arange(size, dtype="float32") + half) * step
        first = np.ceil(middle - reach - half).clip(0, length - 1).astype("int32")
        at = first + np.arange(int(2 * reach) + 2, dtype="int32")[:, None]
        far = np.abs((at.astype("float32") + half - middle) * (one / reach))
        weights = np.where(at < length, (one - far).clip(0), 0)[..., None, None]
        weights *= one / np.cumsum(weights, axis=0)[-1]
        terms = zip(weights, at.clip(0, length - 1), strict=True)
        x = sum(weight * x[i] for weight, i in terms).swapaxes(0, 1)
    return np.rint(x).clip(0, 255)


def load(folder):
    """Return a function from the bytes of a photo to a dict of what it shows."""
    about = json.loads((folder / "classifier.json").read_text("utf-8"))
    net, unknown = network(str(folder / about["model"])), about["unknown"]
    bank = np.load(folder / "unknown.npy").astype("float32") if unknown else None

    def answer(data):
        found = net(resize(decode(data), about["image_size"])[None])
        row = found["probabilities"][0].astype("float64")
        row = np.maximum(row, row[row > 0].min(initial=2.0**-25))  # No logarithm of 0.
        row **= 1 / (about["temperature"] or 1)
        row = dict(zip(about["class_names"], (row / row.sum()).tolist(), strict=True))
        best = max(row, key=row.get)
        says = {"class_name": best, "probability": row[best], "probabilities": row}
        if unknown:
            lengths = np.linalg.norm(bank, axis=1) * np.linalg.norm(found["features"])
            near = np.sort(bank @ found["features"][0] / np.maximum(lengths, 1e-12))
            far = float(1 - near[-unknown["neighbors"]])
            says |= {"distance": far, "unknown": far > unknown["threshold"]}
        return says

    return answer


if __name__ == "__main__":
    classify = load(pathlib.Path(__file__).parent)
    for path in sys.argv[1:]:
        print(json.dumps({"path": path} | classify(pathlib.Path(path).read_bytes())))
