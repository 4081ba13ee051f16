"""Default names for `--model`. Importing this is cheap: `srgan --help` reads it."""

DEFAULT_MODEL = "srgan-x4"
AUTO = "auto"  # chooses the default or the blurry model for each picture
