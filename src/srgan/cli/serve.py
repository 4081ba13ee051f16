"""The `srgan serve` command: it parses, calls, prints."""

from typing import Annotated

from cyclopts import Group, Parameter

from srgan.engines.options import EngineOptions
from srgan.errors import need
from srgan.serve.options import Address, Limits

ADDRESS = Parameter(name="*", group=Group("Address", sort_key=1))
LIMITS = Parameter(name="*", group=Group("Limits", sort_key=2))
ENGINE = Parameter(name="*", group=Group("Engine", sort_key=3))
SERVE_EXAMPLES = """\
Examples:

  srgan serve

  srgan serve --model srresnet-x4 --model mine.safetensors --port 8080

  SRGAN_TOKEN=secret srgan serve --host 0.0.0.0

  curl --data-binary @photo.jpg -o photo_x4.jpg http://127.0.0.1:7860/v1/upscale

On SIGTERM the server first finishes its pictures and waits for clients to fetch them; on Ctrl-C it
stops at once. Exit codes: 1 it could not start, 2 wrong usage, 130 or 143 stopped by a signal.
"""


def serve(
    *,
    model: Annotated[list[str], Parameter(alias="-m", show_default=False)] = [],  # noqa: B006
    address: Annotated[Address, ADDRESS] = Address(),
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
        no_page: Serve /v1 alone, which starts faster and needs less memory.
    """
    import logging
    import sys

    need("serve", "srgan serve")
    from srgan.models.file import shipped_models
    from srgan.models.folder import offered_models
    from srgan.serve.run import serve
    from srgan.upscaling.options import AUTO, DEFAULT_MODEL

    if not address.is_local and address.token is None:
        print(
            f"warning: everybody who reaches {address.host} may use this server: set SRGAN_TOKEN",
            file=sys.stderr,
        )
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("srgan").setLevel(logging.INFO)
    others = (name for name in shipped_models() if name != DEFAULT_MODEL)
    offered = model or [AUTO, DEFAULT_MODEL, *others]
    if models:
        offered = [*offered, *offered_models()]
    serve(offered, engine, address, limits, page=not no_page)
