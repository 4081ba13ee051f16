"""The `srgan` command: the commands by name. Each lives in a module of its own beside this.

A module is imported when its command is called: `srgan --help` and the other commands do not wait
for it.
"""

from cyclopts import App

import srgan
from srgan.cli.run import DEFAULTS

COMMANDS = {  # where the command is, and what it does: the first line of its docstring
    "upscale": ("upscale:upscale_app", "Upscale pictures: photo.jpg becomes photo_x4.jpg."),
    "video": ("video:video_app", "Upscale a video: clip.mp4 becomes clip_x4.mp4."),
    "serve": (
        "serve:serve_app",
        "Serve a web page for upscaling pictures, and an HTTP service under /v1.",
    ),
    "train": ("train:train", "Train SRResNet and SRGAN on a folder of pictures."),
    "prepare": (
        "train:prepare_app",
        "Cut large pictures into sub-images, which training decodes faster.",
    ),
    "evaluate": (
        "evaluate:evaluate_app",
        "Measure models, and other programs' results, on benchmark sets, beside bicubic.",
    ),
    "degrade": (
        "evaluate:degrade_app",
        "Write the LR pictures of a folder as 8-bit PNG: by MATLAB's bicubic, or blurry.",
    ),
    "cluster": ("cluster:cluster", "Upscale millions of pictures on a Ray cluster."),
    "convert": (
        "models:convert_app",
        "Convert another project's network to a file that needs no PyTorch: srgan convert x.pth",
    ),
    "mix": (
        "models:mix_app",
        "Write a weighted mean of models' weights: srgan mix a.safetensors=0.7 b.safetensors=0.3",
    ),
    "export": (
        "models:export_app",
        "Write a model for other programs, and check that it computes the same.",
    ),
    "push": (
        "models:push_app",
        "Put a model on the Hugging Face hub, with a card: srgan push mine.safetensors USER/NAME",
    ),
    "models": (
        "models:models_app",
        "List the models that come with srgan, with their cards, and those in the models folder.",
    ),
    "info": (
        "info:info_app",
        "Show versions, engines and this processor's features; or a model's needs and speed.",
    ),
}

app = App(
    name="srgan",
    help="Super-resolution of photographs with SRResNet and SRGAN.",
    help_format="plaintext",  # Markdown takes a fifth of the time of `srgan --help` to import
    version=lambda: srgan.__version__,
    help_epilogue="Start with: srgan upscale photo.jpg",
    default_parameter=DEFAULTS,
)
for _name, (_place, _help) in COMMANDS.items():
    app.command(f"srgan.cli.{_place}", name=_name, help=_help)
