"""HTML that is escaped by how it is built: only `Markup` goes in as it is."""

from __future__ import annotations

import html

_VOID = frozenset(("img", "link", "meta", "source"))


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None


def element(tag: str, *children: Child, **attributes: str | bool | None) -> Markup:
    """One element of HTML.

    Args:
        tag: Its name.
        *children: What is inside: `Markup` as it is, any other text escaped, None left out.
        **attributes: Escaped; `class_` is class and `aria_label` is aria-label. True stands for an
            attribute without a value; False and None leave it out.
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Pieces one after the other, escaped where they are no `Markup`."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def _attribute(name: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_escape(value)}"'


def _escaped(child: str) -> str:
    return child if isinstance(child, Markup) else _escape(child)


def _escape(text: str) -> str:
    """Also of file names that are no Unicode, whose stray bytes no page can hold."""
    return html.escape(text.encode("utf-8", "replace").decode(), quote=True)
