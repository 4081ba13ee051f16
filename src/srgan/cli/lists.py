"""Options that take several values: `--metrics a b` and `--metrics a,b` are alike."""

from collections.abc import Sequence
from typing import Any, get_args

from cyclopts import Parameter, Token


def _values(kind: Any, tokens: Sequence[Token]) -> list[Any]:
    """The values of a list[str] or list[float], split at commas."""
    (item,) = get_args(kind)
    parts = (part.strip() for token in tokens for part in token.value.split(","))
    return [item(part) for part in parts if part]


# For lists of names and numbers. Paths may hold commas, so lists of them are not split.
LIST = Parameter(consume_multiple=True, converter=_values, show_default=False)
