"""The `srgan cluster` commands: each parses, calls, prints."""

import sys
from dataclasses import replace
from typing import Annotated

from cyclopts import Group, Parameter

from srgan.cli.run import command
from srgan.cluster.options import ClusterOptions
from srgan.engines.options import EngineOptions
from srgan.errors import need
from srgan.pictures.options import DEFAULT_MAX_PIXELS, ResultOptions, check_max_pixels
from srgan.upscaling.options import AUTO

cluster = command("cluster")

CLUSTER = Parameter(name="*", group=Group("Cluster", sort_key=1))
RESULT = Parameter(name="*", group=Group("Result", sort_key=2))
ENGINE = Parameter(name="*", group=Group("Engine", sort_key=3))
EXAMPLES = """\
Examples:

  srgan cluster upscale photos/ large/

  srgan cluster upscale s3://shop/photos s3://shop/large --format webp

  srgan cluster upscale shards/ large.parquet

  srgan cluster upscale s3://shop/photos gs://large --address auto --gpus-per-actor 0.5

Start a job that was stopped or crashed again to continue it: it skips the results that exist.
DST/_errors.jsonl lists the pictures that failed, with reasons; the next run tries them again.
Object stores need a library: s3fs, gcsfs or adlfs.

Exit codes: 0 all done, 1 a picture failed, 2 wrong usage, 130 or 143 stopped by a signal.
"""


@cluster.command(help_epilogue=EXAMPLES)
def upscale(
    src: str,
    dst: str,
    /,
    *,
    model: Annotated[str, Parameter(alias="-m")] = AUTO,
    detail: float | None = None,
    image_column: str | None = None,
    cluster: Annotated[ClusterOptions, CLUSTER] = ClusterOptions(),
    result: Annotated[ResultOptions, RESULT] = ResultOptions(),
    engine: Annotated[EngineOptions, ENGINE] = EngineOptions(),
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> int:
    """Upscale all pictures of a folder or bucket, with the same results as srgan upscale.

    An animated GIF becomes an animated PNG.

    Args:
        src: A folder or URL (s3://, gs://, az://, file://) of pictures, searched recursively, or
            of parquet files with a column of pictures.
        dst: A folder or URL for the results; subfolders are kept. If it ends in .parquet, the
            results are parquet files.
        model: The same values as --model of srgan upscale.
        detail: From 0 (faithful to the picture) to 1 (all the texture that the model invents).
            Default: the model's own, 0.95 for srgan-x4, 1 for the others. Only for models
            whose file names a partner.
        image_column: Column of the pictures in parquet files. Default: the only one.
        max_pixels: Refuse pictures with more pixels.
    """
    need("cluster", "srgan cluster")
    from srgan.cluster.bulk import bulk_upscale
    from srgan.cluster.worker import BulkJob
    from srgan.pictures.stores import open_store
    from srgan.upscaling.auto import ModelChooser

    check_max_pixels(max_pixels)
    threads = engine.threads or cluster.cpus_per_actor
    job = BulkJob(
        source=open_store(src),
        destination=open_store(dst),
        models=ModelChooser(model, detail, replace(engine, threads=threads)),
        result=result,
        max_pixels=max_pixels,
        threads=threads,
        column=image_column,
    )
    report = bulk_upscale(job, cluster)
    print(report, file=sys.stderr)
    return 1 if report.failed else 0
