"""`python -m srgan.cli` is the `srgan` command."""

from srgan.cli.app import main

main()
