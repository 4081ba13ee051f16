"""Options of `srgan serve`. Importing this is cheap: `srgan --help` reads it."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from srgan.errors import OptionError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Address:
    """Where the server listens, keeps its queue and writes its log.

    Attributes:
        host: Address to listen on. 127.0.0.1 admits only this machine, 0.0.0.0 the network.
        port: Port; 0 chooses a free one.
        data: Folder of the queue: uploads and results. A server that starts again continues with
            it. By default ~/.local/state/srgan/serve-PORT; with --port 0 a temporary folder.
        root_path: Path where a reverse proxy offers the server, such as /srgan.
        trusted_proxy: Address of a reverse proxy whose X-Forwarded-For and X-Forwarded-Proto
            headers are believed. Repeat it for several.
        log_format: Of the log on standard error, one line for each request.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    data: Path | None = None
    root_path: str = ""
    trusted_proxy: tuple[str, ...] = ()
    log_format: Literal["text", "json"] = "text"

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise OptionError("--port must be from 0 to 65535")
        if self.root_path and not self.root_path.startswith("/"):
            raise OptionError(f"--root-path must start with a slash: /{self.root_path}")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


@dataclass(frozen=True)
class Access:
    """Who may use the server.

    Attributes:
        token: Secret that every request must send, as "Authorization: Bearer TOKEN" or as the
            password in a browser. Set it as SRGAN_TOKEN in the environment: other users of this
            machine can see options. Repeat it, or separate them by spaces, to give each client
            one of its own.
        allow_host: Name by which clients reach the server, such as pictures.example.org. Repeat it
            for several. Names of this machine's loopback and its addresses are always allowed.
        open: Let everybody who reaches --host use the server without a token.
    """

    token: Annotated[tuple[str, ...], Parameter(env_var="SRGAN_TOKEN", show_env_var=True)] = ()
    allow_host: tuple[str, ...] = ()
    open: bool = False

    def __post_init__(self) -> None:
        if not all(each.isascii() and each.isprintable() for each in self.token):
            raise OptionError("--token must be printable ASCII")
        if "" in self.token:
            raise OptionError("--token (SRGAN_TOKEN) is empty: leave it out, or set a secret")

    def check(self, address: Address) -> None:
        """Raise OptionError for a server that strangers could use by mistake."""
        if not (address.is_local or self.token or self.open):
            raise OptionError(
                f"everybody who reaches {address.host} could use this server: set SRGAN_TOKEN, "
                "or pass --open if that is the intention"
            )


@dataclass(frozen=True)
class Limits:
    """Limits of one server. A request beyond a limit gets an error with the reason.

    Attributes:
        max_bytes: Maximum bytes of an uploaded file.
        max_pixels: Maximum pixels of an uploaded picture, or of all frames of an animation; the
            result has up to 64 times as many.
        max_seconds: Maximum time to compute one picture.
        upload_seconds: Maximum time to receive one upload.
        silent_seconds: Maximum time without a byte of an upload, for the headers of a request,
            and between two requests of a connection.
        queue: Maximum pictures that are received, waiting or computed, of all clients together.
        client_share: Maximum share of one client of other machines, 0 to 1, of --queue,
            --keep-jobs and --keep-bytes.
        keep_jobs: Maximum finished jobs kept.
        keep_seconds: How long finished jobs are kept. New work is refused rather than results
            removed earlier that nobody has fetched.
        keep_bytes: Disk space for uploads and results.
        drain_seconds: Time after SIGTERM to finish the running picture and those whose clients
            are connected. The others are kept for the next start.
    """

    max_bytes: int = 50_000_000
    max_pixels: int = 16_000_000
    max_seconds: float = 600
    upload_seconds: float = 120
    silent_seconds: float = 15
    queue: int = 32
    client_share: float = 0.5
    keep_jobs: int = 1000
    keep_seconds: float = 3600
    keep_bytes: int = 4_000_000_000
    drain_seconds: float = 30

    def __post_init__(self) -> None:
        if not 0 < self.client_share <= 1:
            raise OptionError("--client-share must be above 0 and at most 1")
        for name, value in vars(self).items():
            least = 0 if name in ("drain_seconds", "client_share") else 1
            if value < least:
                raise OptionError(f"--{name.replace('_', '-')} must be at least {least}")


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own, which no other machine can reach."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
