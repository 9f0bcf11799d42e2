"""What a service counts, in the form that Prometheus reads."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
PHOTOS = (1, 2, 4, 8, 12, 16)


class Metrics:
    """Count requests and photos of one service.

    Attributes:
        seconds: Histogram of the time from the end of an upload to its answer.
        batch: Histogram of the photos that go through the network at once.
        queue: Gauge of the photos that are in the service.
        refusals: Counter of the requests that were refused, by `reason`.
        photos: Counter of the photos that were answered, by `class_name`.
    """

    def __init__(self):
        self._registry = registry = CollectorRegistry()
        self.seconds = Histogram(
            "predict_seconds",
            "From the end of an upload to its answer",
            buckets=SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            "batch_photos",
            "Photos that went through the network at once",
            buckets=PHOTOS,
            registry=registry,
        )
        self.queue = Gauge(
            "queue_photos",
            "Photos that are decoded, wait or are computed now",
            registry=registry,
        )
        self.refusals = Counter(
            "refusals", "Requests that were refused", ["reason"], registry=registry
        )
        self.photos = Counter(
            "photos", "Photos that were answered", ["class_name"], registry=registry
        )
        ProcessCollector(registry=registry)

    def text(self) -> bytes:
        """Return all numbers of now."""
        return generate_latest(self._registry)
