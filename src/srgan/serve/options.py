"""Options of `srgan serve`. Importing this is cheap: `srgan --help` reads it."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from cyclopts import Parameter

from srgan.errors import OptionError


@dataclass(frozen=True)
class Address:
    """The address where the server listens, and the token of its clients.

    Attributes:
        host: Address to listen on. 127.0.0.1 admits only this machine, 0.0.0.0 the network.
        port: Port; 0 chooses a free one.
        token: Secret that every request must send, as "Authorization: Bearer TOKEN" or as the
            password in a browser. Set it as SRGAN_TOKEN in the environment: other users of this
            machine can see options.
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
            raise OptionError("--token (SRGAN_TOKEN) is empty: leave it out, or set a secret")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True)
class Limits:
    """Limits of one server. A request beyond a limit gets an error with the reason.

    Attributes:
        max_bytes: Maximum bytes of an uploaded file.
        max_pixels: Maximum pixels of an uploaded picture; its result has up to 64 times as many.
        max_seconds: Maximum time to compute one picture.
        upload_seconds: Maximum time to receive one upload.
        queue: Maximum pictures that are received, waiting or computed, of the page and /v1
            together.
        keep_jobs: Maximum finished jobs kept for their clients; the newest are kept.
        keep_seconds: How long finished jobs are kept.
        keep_bytes: Disk space for results, and the same again for pictures uploaded to the page.
        drain_seconds: Time after SIGTERM for pictures to be finished and fetched.
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
