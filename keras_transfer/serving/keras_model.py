"""A classifier of a `.keras` file that answers many photos."""

import numpy as np
import tensorflow as tf

from keras_transfer.classifier.network import compiled
from keras_transfer.classifier.prediction import Prediction, answered
from keras_transfer.classifier.saved import Classifier
from keras_transfer.data.decoding import pixels
from keras_transfer.explanation.grad_cam import explainer

# What `Classifier.predict` answers in: an answer does not depend on who asks.
PRECISION = "float32"


class KerasServed:
    """Run a `Classifier` by the fastest engine here, in graphs that are made once."""

    def __init__(self, classifier: Classifier):
        self.class_names = classifier.class_names
        self.image_size = size = classifier.image_size
        self.unknown = classifier.unknown
        self._meaning = classifier.meaning()
        self._run = compiled(classifier.model, size, PRECISION)
        try:
            explain = explainer(classifier.model, (size, size, 3))
            # Traced here, where it is found out whether it can be.
            self._explain = explain.get_concrete_function()
        except ValueError:  # No feature map, or no logits that are known.
            self._explain = None
        self.explains = self._explain is not None
        details = classifier.details or {}
        self.about = {
            "backbone": details.get("backbone"),
            "format": "keras",
            "precision": PRECISION,
            "temperature": classifier.temperature,
            "test": details.get("test"),
            "versions": details.get("versions") or {},
        }

    def decode(self, data: bytes) -> np.ndarray:
        return pixels(data, self.image_size)

    def answer(self, images: np.ndarray) -> list[Prediction]:
        ((outputs, features, _),) = self._run.stream([(images, None)])
        return answered(outputs, features, self._meaning)

    def heat_map(self, image: np.ndarray, class_index: int) -> np.ndarray:
        images = tf.constant(image[None], tf.float32)
        return self._explain(images, tf.constant([class_index])).numpy()[0]
