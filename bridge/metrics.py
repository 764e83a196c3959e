"""Counters and histograms for Prometheus.

With several workers each writes its values to a file in PROMETHEUS_MULTIPROC_DIR, which
gunicorn_conf.py sets, and the worker that answers a scrape adds them up.
"""

import os
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_EVENTS = Counter("bridge_events", "Events received, by outcome.", ["type", "outcome"])
events = cache(_EVENTS.labels)  # the lookup of labels is slow, and every request needs it
ATTEMPTS = Counter("bridge_attempts", "Calls to WeCom.", ["bot", "errcode", "reason"])
DELIVERIES = Counter(
    "bridge_deliveries", "Deliveries that reached a final state.", ["bot", "state"]
)
WRONG_REQUESTS = Counter("bridge_wrong_requests", "Requests whose event is lost.", ["kind"])
HEARTBEATS = Counter("bridge_heartbeats", "Calls of BRIDGE_HEARTBEAT_URL.", ["outcome"])
PGYER_ASKS = Counter("bridge_pgyer_asks", "Calls of Pgyer's API.", ["outcome"])
BUILDS_MISSING = Counter(
    "bridge_pgyer_builds_missing", "Builds whose webhook never came, found by asking."
)
ACKNOWLEDGE = Histogram(
    "bridge_acknowledge_seconds", "From a request of Pgyer to its answer.", buckets=_QUICK
)
DELIVERED = Histogram(
    "bridge_delivered_seconds",
    "From receiving an event to WeCom accepting its message.",
    buckets=(*_QUICK, 30.0, 60.0, 300.0, 3600.0),
)


def exposition(current: Collector) -> bytes:
    """Return the counters of all workers, and the `current` metrics, in Prometheus's text form."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no annotations
    else:
        registry.register(REGISTRY)
    registry.register(current)
    return generate_latest(registry)


def build() -> str:
    """Return the bridge's version: that of the package, in a bare checkout that of its project."""
    try:
        return version("pgyer-wecom-bridge")
    except PackageNotFoundError:
        project = Path(__file__).parent.parent / "pyproject.toml"
        found: str = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
        return found
