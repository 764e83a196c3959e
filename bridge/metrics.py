"""What is counted as it happens, for Prometheus.

With several workers each keeps its numbers in a file of PROMETHEUS_MULTIPROC_DIR, which
gunicorn.conf.py sets, and whichever worker is asked adds them up.
"""

import os
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_EVENTS = Counter("bridge_events", "Events by what became of them.", ["type", "outcome"])
events = cache(_EVENTS.labels)  # looked up for every request
ATTEMPTS = Counter("bridge_attempts", "Calls to WeCom.", ["bot", "errcode", "reason"])
DELIVERIES = Counter("bridge_deliveries", "Settled deliveries.", ["bot", "state"])
ACKNOWLEDGE = Histogram(
    "bridge_acknowledge_seconds", "From a request of Pgyer's to its answer.", buckets=_QUICK
)
DELIVERED = Histogram(
    "bridge_delivered_seconds",
    "From an event's arrival to WeCom's taking it.",
    buckets=(*_QUICK, 30.0, 60.0, 300.0, 3600.0),
)


class _Collected:
    """Presents metrics that were read for one scrape."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def exposition(now: Iterable[Metric]) -> bytes:
    """Return all that is counted, of every worker, and the metrics that hold `now`, as text."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no annotations
    else:
        registry.register(REGISTRY)
    registry.register(_Collected(now))
    return generate_latest(registry)


def build() -> str:
    """Return the bridge's version, where it is installed or in its checkout."""
    try:
        return version("pgyer-wecom-bridge")
    except PackageNotFoundError:
        return "unknown"
