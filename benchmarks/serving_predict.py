"""Predict photo files with `model.predict`, as a reader would write it.

    python benchmarks/serving_predict.py MODEL PHOTOS

For each number on standard input so many files are predicted, and the seconds printed.
"""

import pathlib
import sys
import time

import keras
import tensorflow as tf

BATCH = 32


def main(model: str, photos: str) -> None:
    network = keras.saving.load_model(model, compile=False)
    size = network.input_shape[1:3]
    files = sorted(str(path) for path in pathlib.Path(photos).rglob("*.jpg"))

    def decoded(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(image, size, antialias=True)

    for line in sys.stdin:
        count = int(line)
        dataset = tf.data.Dataset.from_tensor_slices(files).repeat().take(count)
        dataset = dataset.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
        dataset = dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE)
        start = time.perf_counter()
        probabilities = network.predict(dataset, verbose=0)
        print(time.perf_counter() - start, flush=True)
        assert len(probabilities) == count


if __name__ == "__main__":
    main(*sys.argv[1:])
