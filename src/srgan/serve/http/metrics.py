"""The metrics that Prometheus reads from /metrics."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from srgan.serve.jobs import Job
from srgan.serve.queue import JobQueue

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "srgan_http_requests", "HTTP requests", ["path", "status"], registry=registry
        )
        self._jobs = Counter(
            "srgan_pictures", "Pictures by outcome", ["outcome"], registry=registry
        )
        self._queued = Histogram(
            "srgan_queue_seconds",
            "Time that finished pictures waited",
            buckets=SECONDS,
            registry=registry,
        )
        self._computed = Histogram(
            "srgan_compute_seconds",
            "Time that finished pictures took",
            buckets=SECONDS,
            registry=registry,
        )
        self._pixels = Counter("srgan_result_pixels", "Pixels made", registry=registry)
        self._open = Gauge(
            "srgan_open_pictures", "Pictures being received, waiting or computed", registry=registry
        )
        self._stored = Gauge(
            "srgan_stored_bytes",
            "Disk space that uploads and results take or have reserved",
            registry=registry,
        )

    def follow(self, queue: JobQueue) -> None:
        """Show the length and the disk space of `queue`."""
        self._open.set_function(lambda: queue.open_jobs)
        self._stored.set_function(lambda: queue.stored)

    def count(self, job: Job) -> None:
        """Count a job that has ended."""
        self._jobs.labels(job.state).inc()
        if job.result:
            self._queued.observe(job.seconds_queued)
            self._computed.observe(job.seconds_computed)
            self._pixels.inc(job.result.size.pixels * job.result.frames)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
