"""Outlines: smooth curves, ellipses, ribbons and tufted edges as arrays of points."""

import dataclasses
import functools
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Frame:
    """A place on the picture: local coordinates in, pixel coordinates out.

    The x axis points right and the y axis down, as in the picture, until a frame
    is turned or flipped.
    """

    matrix: np.ndarray
    origin: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(points, float) @ self.matrix.T + self.origin

    @property
    def scale(self) -> float:
        """How many pixels one local unit is long."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def at(self, x, y, scale=1.0, angle=0.0, stretch=(1.0, 1.0)) -> "Frame":
        """Return the frame at (x, y) inside this one, scaled and turned by radians."""
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) * scale
        return Frame(self.matrix @ turn @ np.diag(stretch), self([x, y]))


def frame(x, y, scale, angle=0.0, flip=False) -> Frame:
    """Return a frame on the picture itself, mirrored left to right on `flip`."""
    base = Frame(np.eye(2), np.zeros(2))
    return base.at(x, y, scale, angle, (-1.0 if flip else 1.0, 1.0))


def smooth(points, samples: int = 6, closed: bool = True) -> np.ndarray:
    """Return a Catmull-Rom curve through `points`."""
    points = np.asarray(points, float)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([points[:1], points, points[-1:]])
    spans = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], axis=1)
    curve = (_spline_weights(samples) @ spans).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


def mirrored(right_half, samples: int = 6) -> np.ndarray:
    """Return the closed curve whose right half runs from top to bottom."""
    right = np.asarray(right_half, float)
    left = right[::-1] * [-1, 1]
    keep = np.abs(left[:, 0]) > 1e-9
    return smooth(np.concatenate([right, left[keep]]), samples)


# Angles of the points that round off the end of a ribbon.
_SWING = np.linspace(0, np.pi, 8)[1:-1, None]


@functools.cache
def _circle(count: int) -> np.ndarray:
    theta = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(theta), np.sin(theta)], 1)


@functools.cache
def _spline_weights(samples: int) -> np.ndarray:
    t = np.arange(samples) / samples
    first, second = -t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3
    return 0.5 * np.stack([first, second, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1)


def ellipse(x, y, radius_x, radius_y=None, angle=0.0, count: int = 36) -> np.ndarray:
    """Return the outline of a turned ellipse."""
    radius_y = radius_x if radius_y is None else radius_y
    cos, sin = math.cos(angle), math.sin(angle)
    axes = ((radius_x * cos, radius_x * sin), (-radius_y * sin, radius_y * cos))
    return _circle(count) @ np.array(axes) + (x, y)


def ribbon(path, widths, samples: int = 6) -> np.ndarray:
    """Return a band with round ends along a smooth path: a leg, a tail, a stem."""
    curve = smooth(path, samples, closed=False)
    place = np.arange(len(curve)) * ((len(widths) - 1) / (len(curve) - 1))
    half = np.interp(place, range(len(widths)), widths)[:, None] / 2
    along = np.empty_like(curve)
    along[1:-1] = curve[2:] - curve[:-2]
    along[0], along[-1] = curve[1] - curve[0], curve[-1] - curve[-2]
    along /= np.sqrt((along * along).sum(1, keepdims=True)) + 1e-9
    across = along[:, ::-1] * (-1, 1)
    swing = _SWING
    end = curve[-1] + half[-1] * (
        np.cos(swing) * across[-1] + np.sin(swing) * along[-1]
    )
    start = curve[0] - half[0] * (np.cos(swing) * across[0] + np.sin(swing) * along[0])
    sides = curve + half * across, (curve - half * across)[::-1]
    return np.concatenate([sides[0], end, sides[1], start])


def blob(x, y, radius_x, radius_y, rng, wobble: float = 0.2) -> np.ndarray:
    """Return a rounded patch with an uneven edge."""
    outline = ellipse(0, 0, radius_x, radius_y, count=9)
    outline *= 1 + rng.uniform(-wobble, wobble, (9, 1))
    return smooth(np.add(outline, (x, y)), 5)


def tufted(outline, rng, amount: float, count: int = 90) -> np.ndarray:
    """Return a closed outline with short tufts of fur along its edge."""
    ring = np.concatenate([outline, outline[:1]])
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))]
    place = np.linspace(0, length[-1], 2 * count, endpoint=False)
    points = np.stack([np.interp(place, length, ring[:, k]) for k in (0, 1)], 1)
    along = np.roll(points, -2, 0) - np.roll(points, 2, 0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    outward = along[:, ::-1] * [1, -1]
    # Mirrored and hand-turned outlines run either way round.
    x, y = points.T
    if np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) < 0:
        outward = -outward
    height = 0.75 * rng.beta(1.2, 2, 2 * count) * (np.arange(2 * count) % 2)
    return points + amount * height[:, None] * (outward + 0.5 * along)
