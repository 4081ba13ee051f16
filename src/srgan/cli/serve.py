"""The `srgan serve` command: it parses, calls, prints."""

from typing import Annotated

from cyclopts import Group, Parameter

from srgan.cli.run import command
from srgan.engines.options import EngineOptions
from srgan.errors import need
from srgan.serve.options import Access, Address, Limits

ADDRESS = Parameter(name="*", group=Group("Address", sort_key=1))
ACCESS = Parameter(name="*", group=Group("Access", sort_key=2))
LIMITS = Parameter(name="*", group=Group("Limits", sort_key=3))
ENGINE = Parameter(name="*", group=Group("Engine", sort_key=4))
serve_app = command(
    "serve",
    epilogue="""\
Examples:

  srgan serve

  srgan serve --model srresnet-x4 --model mine.safetensors --port 8080

  SRGAN_TOKEN=secret srgan serve --host 0.0.0.0

  curl --data-binary @photo.jpg -o photo_x4.jpg http://127.0.0.1:7860/v1/upscale

On SIGTERM the server first finishes the running picture and those whose clients are connected; on
Ctrl-C it stops at once. The rest of the queue and the results stay in --data for the next start.
Exit codes: 1 it could not start, 2 wrong usage, 130 or 143 stopped by a signal.
""",
)


@serve_app.default
def serve(
    *,
    model: Annotated[list[str], Parameter(alias="-m", show_default=False)] = [],  # noqa: B006
    address: Annotated[Address, ADDRESS] = Address(),
    access: Annotated[Access, ACCESS] = Access(),
    limits: Annotated[Limits, LIMITS] = Limits(),
    engine: Annotated[EngineOptions, ENGINE] = EngineOptions(),
    models: bool = False,
    no_page: bool = False,
) -> None:
    """Serve a web page for upscaling pictures, and an HTTP service under /v1.

    Args:
        model: A shipped model, a model file, or auto, which chooses for each picture. Repeat it
            to offer several; the first is the default. Default: auto and all shipped models.
        models: Also offer the files of the models folder (see srgan models).
        no_page: Serve /v1 alone.
    """
    need("serve", "srgan serve")
    from srgan.models.file import shipped_models
    from srgan.models.folder import found_models
    from srgan.serve.log import start_log
    from srgan.serve.run import serve
    from srgan.upscaling.options import AUTO, DEFAULT_MODEL

    access.check(address)
    start_log(address.log_format)
    others = (name for name in shipped_models() if name != DEFAULT_MODEL)
    offered = model or [AUTO, DEFAULT_MODEL, *others]
    if models:
        offered = [*offered, *found_models()]
    serve(offered, engine, address, access, limits, page=not no_page)
