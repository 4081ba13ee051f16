"""Refuses fractions where options of training take whole numbers."""

import re
from typing import Any, get_args

from cyclopts import App, ArgumentCollection

from srgan.errors import OptionError

FRACTION = re.compile(r"\d*\.\d+(?:[eE][+-]?\d+)?")


def check_whole_numbers(
    _app: App, _commands: tuple[str, ...], arguments: ArgumentCollection
) -> None:
    """Refuse a fraction where an option takes whole numbers, which cyclopts would round.

    It is a `config` of cyclopts: called with all values, also those of files.

    Raises:
        OptionError: there is one.
    """
    for argument in arguments:
        if not _takes_whole_numbers(argument.hint):
            continue
        for token in argument.tokens:
            for number in FRACTION.findall(token.value):
                if not float(number).is_integer():
                    where = "" if token.source == "cli" else f" (in {token.source})"
                    message = f"{argument.name} must be a whole number, not {number}{where}"
                    raise OptionError(message)


def _takes_whole_numbers(hint: Any) -> bool:
    """Whether a type is int, or consists of nothing else: int | None, tuples of int."""
    parts = [part for part in get_args(hint) if part not in (type(None), ...)]
    return all(map(_takes_whole_numbers, parts)) if parts else hint is int
