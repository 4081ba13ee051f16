"""The choices of a network. This module is cheap to import: `srgan train --help` reads it."""

SCALES = (1, 2, 3, 4, 8)
