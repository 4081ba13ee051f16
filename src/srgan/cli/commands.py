"""The `srgan` command: registers every command; each lives in a module of its own beside this."""

from cyclopts import App

import srgan
from srgan.cli.cluster import cluster
from srgan.cli.evaluate import DEGRADE_EXAMPLES, EVALUATE_EXAMPLES, degrade, evaluate
from srgan.cli.info import info
from srgan.cli.models import (
    CONVERT_EXAMPLES,
    EXPORT_EXAMPLES,
    MIX_EXAMPLES,
    MIX_USAGE,
    PUSH_EXAMPLES,
    convert,
    export,
    mix,
    models,
    push,
)
from srgan.cli.run import DEFAULTS, NO_EPILOGUE
from srgan.cli.serve import SERVE_EXAMPLES, serve
from srgan.cli.train import PREPARE_EXAMPLES, prepare, train
from srgan.cli.upscale import UPSCALE_EXAMPLES, upscale
from srgan.cli.video import VIDEO_EXAMPLES, video

app = App(
    name="srgan",
    help="Super-resolution of photographs with SRResNet and SRGAN.",
    version=lambda: srgan.__version__,
    help_epilogue="Start with: srgan upscale photo.jpg",
    default_parameter=DEFAULTS,
)

app.command(upscale, help_epilogue=UPSCALE_EXAMPLES)
app.command(video, help_epilogue=VIDEO_EXAMPLES)
app.command(serve, help_epilogue=SERVE_EXAMPLES)
app.command(train)
app.command(prepare, help_epilogue=PREPARE_EXAMPLES)
app.command(evaluate, help_epilogue=EVALUATE_EXAMPLES)
app.command(degrade, help_epilogue=DEGRADE_EXAMPLES)
app.command(cluster)
app.command(convert, help_epilogue=CONVERT_EXAMPLES)
app.command(mix, usage=MIX_USAGE, help_epilogue=MIX_EXAMPLES)
app.command(export, help_epilogue=EXPORT_EXAMPLES)
app.command(push, help_epilogue=PUSH_EXAMPLES)
app.command(models, help_epilogue=NO_EPILOGUE)
app.command(info, help_epilogue=NO_EPILOGUE)
