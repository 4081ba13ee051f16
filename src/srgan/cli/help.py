"""`--help` shows the options that people use; `--help-all` shows every one."""

from typing import TYPE_CHECKING

from cyclopts.help.formatters import DefaultFormatter

from srgan.training.options import MORE_OPTIONS

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions


class HelpFormatter(DefaultFormatter):
    """Prints the panel of rarely used options in one line, unless `show_all` is set."""

    show_all = False

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Print one panel of the help."""
        if self.show_all or str(panel.title) != MORE_OPTIONS:
            super().__call__(console, options, panel)
        else:
            console.print(f"{len(panel.entries)} more options: add --help-all")
