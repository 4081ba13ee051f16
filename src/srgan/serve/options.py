"""Options of `srgan serve`. Importing this costs nothing: `srgan --help` reads it."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from cyclopts import Parameter

from srgan.errors import OptionError


@dataclass(frozen=True)
class Address:
    """Where the server listens, and to whom.

    Attributes:
        host: Address to bind to. 127.0.0.1 is this machine alone, 0.0.0.0 everybody who reaches it.
        port: Port; 0 takes a free one.
        token: Secret that every request must bring: as "Authorization: Bearer TOKEN", or as the
            password that a browser asks for. Better given as SRGAN_TOKEN in the environment,
            which other users of this machine do not see.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: Annotated[str | None, Parameter(env_var="SRGAN_TOKEN", show_env_var=True)] = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise OptionError("--port must be from 0 to 65535")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise OptionError("--token must be printable ASCII")
        if self.token == "":
            raise OptionError("--token (SRGAN_TOKEN) is empty: leave it out, or give a secret")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True)
class Limits:
    """What one server takes on; beyond it requests are refused with the reason.

    Attributes:
        max_bytes: Of an uploaded file.
        max_pixels: Of an uploaded picture; its result has up to 64 times as many.
        max_seconds: To compute one picture.
        upload_seconds: To receive one upload.
        queue: Pictures being received, waiting or computed, of the page and /v1 together.
        keep_jobs: Finished jobs kept for their clients, the newest.
        keep_seconds: For how long.
        keep_bytes: Disk for results, and as much again for the page's pictures.
        drain_seconds: On SIGTERM, for pictures to be finished and fetched.
    """

    max_bytes: int = 50_000_000
    max_pixels: int = 16_000_000
    max_seconds: float = 600
    upload_seconds: float = 120
    queue: int = 32
    keep_jobs: int = 100
    keep_seconds: float = 3600
    keep_bytes: int = 4_000_000_000
    drain_seconds: float = 30

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name in ("keep_jobs", "drain_seconds") else 1
            if value < least:
                raise OptionError(f"--{name.replace('_', '-')} must be at least {least}")
