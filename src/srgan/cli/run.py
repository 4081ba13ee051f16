"""How every command runs: exit codes, signals, streams, one-line errors."""

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Group, Parameter

import srgan
from srgan.cli.help import HelpFormatter
from srgan.errors import OptionError, one_line

log = logging.getLogger("srgan")

# Options that a preset or a method switches on have a --no- form; others have none.
DEFAULTS = Parameter(negative_bool=(), negative_iterable=(), negative_none=())
DEBUGGING = Parameter(group=Group("Debugging", sort_key=8))


def command(name: str, *, epilogue: str = "", usage: str | None = None) -> App:
    """A command of `srgan`, which its function then completes; see `srgan.cli.commands`.

    Args:
        epilogue: Markdown below the options of its help. Without one, that of `srgan` would show.
        usage: the first line of its help, where cyclopts' own would mislead.
    """
    return App(name=name, help_format="markdown", help_epilogue=epilogue, usage=usage)


def run_script(function: Callable[..., Any], config: Callable[..., None] | None = None) -> NoReturn:
    """Run a typed function as a script of its own, as `run` does.

    Args:
        config: fills in options that the command line leaves out; see `cyclopts.App`.
    """
    script = App(
        help=function.__doc__,
        version=lambda: srgan.__version__,
        default_parameter=DEFAULTS,
        config=config,
    )
    script.default(function)
    run(script)


def run(app: App) -> NoReturn:
    """Run a command and exit.

    Exit codes: 0 done, 1 something failed, 2 wrong usage, 130 or 143 stopped by a signal.
    """
    _leave_cleanly_on_signals()
    _make_streams_usable()
    app.help_formatter = formatter = HelpFormatter()

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        debug: Annotated[bool, DEBUGGING] = False,
        help_all: Annotated[bool, Parameter(show=False)] = False,
    ) -> int | None:
        """Run a command.

        Args:
            debug: Print the traceback of every error.
            help_all: Show every option of a command.
        """
        if debug:
            log.setLevel(logging.DEBUG)
        if help_all:
            formatter.show_all = True
            tokens = (*tokens, "--help")
        tokens = _name_streams(tokens)
        return app(tokens, exit_on_error=False, result_action="return_value")

    try:
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # app.py had set another
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = app.meta(exit_on_error=False, result_action="return_value")
    except CycloptsError:
        code = 2  # cyclopts has said what is wrong
        _hint_at_names(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    except OptionError as error:
        print(f"srgan: {error}", file=sys.stderr)
        code = 2
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if log.isEnabledFor(logging.DEBUG):
            raise
        print(f"srgan: {one_line(error)}", file=sys.stderr)
        code = 1
    sys.exit(code or 0)


def _name_streams(tokens: Sequence[str]) -> tuple[str, ...]:
    """A lone "-" by the name of the stream that it means: cyclopts takes it for an option."""
    named = list(tokens)
    end = named.index("--") if "--" in named else len(named)
    for i, token in enumerate(named[:end]):
        if token == "-":
            before = named[i - 1] if i else ""
            named[i] = "/dev/stdout" if before in ("-o", "--output") else "/dev/stdin"
    return tuple(named)


def _hint_at_names(arguments: Sequence[str]) -> None:
    """Say how to name a file whose name looks like an option."""
    for name in arguments:
        if name.startswith("-") and os.path.lexists(name):
            advice = f"write ./{name}, or -- before all file names"
            print(f"srgan: {name} is a file here: {advice}", file=sys.stderr)


def _leave_cleanly_on_signals() -> None:
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # no SIGHUP on Windows
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda received, _: sys.exit(128 + received))


def _make_streams_usable() -> None:
    """Make standard output and error usable where they are closed or lack a file name's letters."""
    nowhere = Path(os.devnull)
    sys.stdout = sys.stdout or nowhere.open("w")
    sys.stderr = sys.stderr or nowhere.open("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
