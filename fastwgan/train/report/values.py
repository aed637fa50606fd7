"""Whatever a JSON file holds, as tables that a reader can follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastwgan.train.report.markup import Markup, element

_LONGEST = 12  # numbers of a list that are written out


def described(value: Any, name: str = "") -> Iterator[Markup]:
    """Tables of nested names and values: one for what is single, one for each list of like things.

    Args:
        value: As JSON gave it.
        name: Of the value within a larger one.
    """
    single = [(path, part) for path, part in flattened(value, name) if not _is_rows(part)]
    if single:
        yield _table(
            element("tr", element("th", path, scope="row"), _cell(part)) for path, part in single
        )
    for path, part in flattened(value, name):
        if _is_rows(part):
            yield element("h3", path)
            yield _rows_table(part)


def flattened(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by their path, lists as they are."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from flattened(part, f"{name} · {key}" if name else str(key))
    else:
        yield name.replace("_", " "), value


def written(value: Any) -> str:
    """A value as a reader wants it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {written(part)}" for name, part in flattened(value))
    if isinstance(value, list):
        shown = ", ".join(written(part) for part in value[:_LONGEST])
        return f"{shown}, … ({len(value)} in all)" if len(value) > _LONGEST else shown
    return "none" if value is None else str(value)


def _is_rows(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(part, Mapping) for part in value)
    )


def _rows_table(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """One row a thing, one column for each name that one of them has."""
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    head = element("tr", *(element("th", name.replace("_", " "), scope="col") for name in names))
    lines = (element("tr", *(_cell(row.get(name, "")) for name in names)) for row in rows)
    return _table([head, *lines])


def _table(rows: Sequence[Markup] | Iterator[Markup]) -> Markup:
    return element("div", element("table", *rows), class_="wide")


def _cell(value: Any) -> Markup:
    return element("td", written(value), class_="number")
