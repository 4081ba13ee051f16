"""`--help` shows the options that people use; `--help-all` shows every one."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions


class HelpFormatter:
    """Prints the panel of rarely used options in one line, unless `show_all` is set.

    Every command has one, so it imports what it needs when it prints.
    """

    show_all = False

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Print one panel of the help."""
        from cyclopts.help.formatters import DefaultFormatter

        from srgan.training.options import MORE_OPTIONS

        if self.show_all or str(panel.title) != MORE_OPTIONS:
            DefaultFormatter()(console, options, panel)
        else:
            console.print(f"{len(panel.entries)} more options: add --help-all")

    @staticmethod
    def render_usage(console: "Console", options: "ConsoleOptions", usage: Any) -> None:
        """Print the usage, which cyclopts asks its formatters for."""
        from cyclopts.help.formatters import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)
