"""Upscaling as a Ray Serve application: many processes and machines behind one address.

    pip install '.[cluster]' 'ray[serve]'
    python examples/ray_serve.py --replicas 2
    curl --data-binary @photo.jpg -o photo_x4.jpg http://127.0.0.1:8000/upscale

Each replica holds the models once and computes one picture at a time, as `srgan serve` does. Ray
queues requests, starts replicas again that die, and spreads them over a cluster's machines. Limits
on time, disk and clients, jobs and the page are those of `srgan serve` alone.
"""

import argparse
import asyncio

from ray import serve
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

MAX_BYTES = 50_000_000
MAX_PIXELS = 16_000_000


@serve.deployment
class Upscale:
    """A replica: the models, and a thread that uses them."""

    def __init__(self, model: str, threads: int) -> None:
        from srgan.engines.options import EngineOptions
        from srgan.upscaling.auto import ModelChooser

        self._models = ModelChooser(model, None, EngineOptions(threads=threads))
        self._models.upscaler()  # so that the first request does not wait for it
        self._turn = asyncio.Lock()  # models are not for two threads at once

    async def __call__(self, request: Request) -> Response:
        """Answer a picture with its upscaled version, of the same format where that is possible."""
        from srgan.pictures.images import PictureError

        data = await request.body()
        if len(data) > MAX_BYTES:
            return PlainTextResponse(f"more than {MAX_BYTES:,} bytes", 413)
        try:
            async with self._turn:
                result, format = await asyncio.to_thread(self._upscale, data)
        except PictureError as error:
            return PlainTextResponse(str(error), 422)
        return Response(result, media_type=f"image/{format}")

    def _upscale(self, data: bytes) -> tuple[bytes, str]:
        from srgan.pictures.images import FORMATS, open_picture
        from srgan.pictures.options import ResultOptions
        from srgan.upscaling.batch import upscale_bytes

        found = open_picture(data, MAX_PIXELS, name="the picture").format
        format = found if found in FORMATS else "png"
        options = ResultOptions()
        result = upscale_bytes(data, self._models, options, format=format, max_pixels=MAX_PIXELS)
        return result.data, format


def main() -> None:
    """Start the application, and keep it up until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of each replica")
    options = parser.parse_args()
    deployment = Upscale.options(
        num_replicas=options.replicas, ray_actor_options={"num_cpus": options.threads}
    )
    application = deployment.bind(options.model, options.threads)
    serve.run(application, route_prefix="/upscale", blocking=True)


if __name__ == "__main__":
    main()
