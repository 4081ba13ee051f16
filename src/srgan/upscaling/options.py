"""Names that `--model` takes by default. Importing this is cheap: `srgan --help` reads it."""

DEFAULT_MODEL = "srgan-x4"
AUTO = "auto"  # the default model or its blurry sibling, by the picture
