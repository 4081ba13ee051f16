"""Options for clusters. Importing this is cheap: `srgan --help` reads it."""

from dataclasses import dataclass

from srgan.errors import OptionError


@dataclass(frozen=True)
class ClusterOptions:
    """What a cluster gives.

    Attributes:
        num_actors: Processes that upscale, each with an engine; by default as many as there is
            room for.
        cpus_per_actor: Cores of each, and CPU threads of its engine.
        gpus_per_actor: GPUs of each; 0.5 lets two share one, so that it is not idle while one of
            them encodes.
        address: Of a running Ray cluster, as of ray.init; by default RAY_ADDRESS, or else one is
            started on this machine for the time of the job.
    """

    num_actors: int | None = None
    cpus_per_actor: int = 1
    gpus_per_actor: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.num_actors is not None and self.num_actors < 1:
            raise OptionError("--num-actors must be at least 1")
        if self.cpus_per_actor < 1 or self.gpus_per_actor < 0:
            raise OptionError("--cpus-per-actor must be at least 1, --gpus-per-actor at least 0")
