"""The metrics that Prometheus reads from /metrics."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srgan.serve.jobs import Job, JobQueue

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "srgan_http_requests", "HTTP requests", ["path", "status"], registry=self._registry
        )
        self._jobs = Counter(
            "srgan_pictures", "Pictures by outcome", ["outcome"], registry=self._registry
        )
        self._queued = Histogram(
            "srgan_queue_seconds",
            "Time that finished pictures waited",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._computed = Histogram(
            "srgan_compute_seconds",
            "Time that finished pictures took",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._pixels = Counter("srgan_result_pixels", "Pixels made", registry=self._registry)
        self._open = Gauge(
            "srgan_open_pictures",
            "Pictures being received, waiting or computed",
            registry=self._registry,
        )

    def follow(self, queue: JobQueue) -> None:
        """Show the length of `queue`."""
        self._open.set_function(lambda: queue.open_jobs)

    def count(self, job: Job) -> None:
        """Count a job that has ended."""
        self._jobs.labels(job.state).inc()
        if job.state == "done":
            width, height = job.outcome.result().size
            self._queued.observe(job.seconds_queued)
            self._computed.observe(job.seconds_computed)
            self._pixels.inc(width * height)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class CountRequests:
    """ASGI middleware that counts requests by route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The route, not the path: clients can request endlessly many paths.
                path = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(path, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, count)
