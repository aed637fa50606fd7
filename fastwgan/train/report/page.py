"""The whole page: one file that asks the network for nothing, and could not if it wanted to."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

import fastwgan
from fastwgan.train import curves
from fastwgan.train.methods import parts_of
from fastwgan.train.report import outcome, sections
from fastwgan.train.report.markup import Markup, element, join
from fastwgan.train.report.reading import Contents, data_uri
from fastwgan.train.report.sections import Part
from fastwgan.train.report.series import as_json, chart


def page(contents: Contents) -> str:
    """The text of report.html."""
    panels = _panels(contents)
    parts = [part for part in _parts(contents, panels) if part is not None]
    links = [element("li", element("a", part.title, href=f"#{part.name}")) for part in parts]
    body = element(
        "body",
        element(
            "header",
            element("p", "fastwgan training report", class_="kind"),
            element("h1", outcome.title(contents)),
            element("p", outcome.sentence(contents), class_="lead"),
            sections.numbers(outcome.numbers(contents)),
            element("nav", element("ul", *links), aria_label="Parts of this page"),
        ),
        element("main", *(part.markup for part in parts)),
        element("footer", element("p", f"Written by fastwgan {fastwgan.__version__}.")),
        element("script", as_json(panels), type="application/json", id="panels"),
        element("script", _asset("charts.js")),
    )
    return f"<!doctype html>\n{element('html', _head(contents), body, lang='en')}\n"


def _parts(contents: Contents, panels: list[dict[str, Any]]) -> list[Part | None]:
    measured = [panel for panel in panels if panel["title"] == curves.DISTANCE.title]
    others = [panel for panel in panels if panel not in measured]
    return [
        sections.samples(contents),
        sections.film(contents),
        sections.distance(measured),
        sections.training(others, data_uri(contents.folder.curves)),
        sections.quality(contents),
        sections.audit(contents),
        sections.settings(contents),
        sections.machine(contents),
        sections.commands(contents),
    ]


def _panels(contents: Contents) -> list[dict[str, Any]]:
    """In the order in which the page has places for them: the distance first."""
    records = contents.records
    parts = parts_of(contents.config["method"])
    return [chart(records, panel) for panel in curves.panels(records, parts)]


def _head(contents: Contents) -> Markup:
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash('style.css')}; script-src {_hash('charts.js')}"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", join(outcome.title(contents), " · fastwgan")),
        element("link", rel="icon", href="data:,"),
        element("style", _asset("style.css")),
    )


def _asset(name: str) -> Markup:
    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _hash(name: str) -> str:
    """What a content security policy calls an element's text by."""
    digest = hashlib.sha256(_asset(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
