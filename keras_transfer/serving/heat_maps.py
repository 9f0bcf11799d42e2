"""A heat map as a picture that is laid over its photo."""

import base64
import io

import numpy as np
from PIL import Image

# Red, green, blue from what speaks little for the class to what speaks most for it;
# where nothing does, the photo is seen as it is.
_PLACES = (0.0, 0.5, 1.0)
_COLOURS = ((90, 20, 140), (235, 90, 60), (255, 235, 90))
_MOST_OPAQUE = 220


def overlay(heat: np.ndarray) -> str:
    """Return a heat map, 0 to 1, as the `data:` address of a transparent PNG."""
    layers = [np.interp(heat, _PLACES, each) for each in np.transpose(_COLOURS)]
    layers.append(_MOST_OPAQUE * np.sqrt(np.clip(heat, 0, 1)))
    picture = Image.fromarray(np.stack(layers, axis=-1).round().astype("uint8"))
    with io.BytesIO() as file:
        picture.save(file, "PNG")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
