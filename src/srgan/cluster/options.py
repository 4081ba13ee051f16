"""Options for clusters. Importing this is cheap: `srgan --help` reads it."""

from dataclasses import dataclass

from srgan.errors import OptionError


@dataclass(frozen=True)
class ClusterOptions:
    """The cluster, and how much of it a job uses.

    Attributes:
        num_actors: Processes that upscale, each with its own engine; by default as many as the
            cluster has room for.
        cpus_per_actor: Cores of each process, and CPU threads of its engine.
        gpus_per_actor: GPUs of each process. With 0.5, two processes share a GPU, which then
            works while one of them encodes.
        address: Address of a running Ray cluster, as in ray.init; by default RAY_ADDRESS.
            Without both, the command starts a cluster on this machine for the duration of the
            job.
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
