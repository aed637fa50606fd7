"""The parts of the page, each None where the run has nothing for it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastwgan.train.config import TrainConfig
from fastwgan.train.defaults import kind_of
from fastwgan.train.report.markup import Markup, element
from fastwgan.train.report.outcome import Number
from fastwgan.train.report.reading import Contents, data_uri, is_wide, last_frame
from fastwgan.train.report.values import described, written

_SUFFIXES = {"digits": "png", "mnist": "png", "images": "png", "table": "csv"}


class Part(NamedTuple):
    """A section of the page, and what links to it say."""

    name: str
    title: str
    markup: Markup


def numbers(found: Sequence[Number]) -> Markup:
    """The first numbers, in boxes."""
    boxes = [
        element(
            "div",
            element("dt", number.name),
            element("dd", number.value),
            element("dd", number.note, class_="note") if number.note else None,
        )
        for number in found
    ]
    return element("dl", *boxes, class_="numbers")


def part(name: str, title: str, *inside: Markup | None, about: str = "") -> Part:
    """A section with its heading; `name` is its address within the page."""
    heading = element("h2", title, id=f"{name}-title")
    text = element("p", about, class_="soft") if about else None
    labelled = f"{name}-title"
    markup = element("section", heading, text, *inside, id=name, aria_labelledby=labelled)
    return Part(name, title, markup)


def samples(contents: Contents) -> Part | None:
    """samples.png."""
    uri = data_uri(contents.folder.samples)
    if uri is None:
        return None
    alt = "Generated samples and real samples, for comparison"
    image = element("img", src=uri, alt=alt)
    about = "What the averaged generator makes at the end, and real samples to hold against it."
    if not is_wide(contents.folder.samples):
        return part("samples", "Samples", element("div", image, class_="picture"), about=about)
    hint = element("p", "Swipe for the real ones.", class_="soft narrow")
    box = element("div", image, class_="picture pair", tabindex="0", role="group", aria_label=alt)
    return part("samples", "Samples", hint, box, about=about)


def film(contents: Contents) -> Part | None:
    """training.webp, which stands still where the reader's system asks for less motion."""
    moving, still = data_uri(contents.folder.animation), last_frame(contents.folder.animation)
    if moving is None or still is None:
        return None
    picture = element(
        "picture",
        element("source", srcset=moving, media="(prefers-reduced-motion: no-preference)"),
        element("img", src=still, alt="The samples of the same noise, from step to step"),
    )
    button = element("button", "Stop", type="button", hidden=True)
    film = element("div", element("div", picture, class_="picture"), button, class_="film")
    about = "The same noise through the generator from the first step to the last."
    return part("training", "How they came about", film, about=about)


def distance(panels: Sequence[dict[str, Any]]) -> Part | None:
    """The exact distance over the steps."""
    if not panels:
        return None
    return part("distance", "Distance to real samples", charts(panels))


def training(panels: Sequence[dict[str, Any]], fallback: str | None) -> Part | None:
    """All other curves; a picture of them where scripts don't run."""
    if not panels:
        return None
    image = element("img", src=fallback, alt="All curves in one picture") if fallback else None
    without = element("noscript", element("div", image, class_="picture")) if image else None
    about = "Point at a curve to read it; the names above it switch curves on and off."
    return part("curves", "Training curves", charts(panels), without, about=about)


def charts(panels: Sequence[dict[str, Any]]) -> Markup:
    """Places for the script to draw the panels in."""
    places = [
        element(
            "figure",
            element("h3", panel["title"]),
            element("p", panel["formula"], class_="formula"),
            element("p", panel["about"], class_="soft"),
            element("div", class_="controls"),
            element("div", class_="plot"),
            class_="chart",
        )
        for panel in panels
    ]
    return element("div", *places, class_="charts")


def quality(contents: Contents) -> Part | None:
    """quality.json."""
    if not contents.quality:
        return None
    about = "Measured on the samples of the end."
    return part("quality", "Quality", *described(contents.quality), about=about)


def audit(contents: Contents) -> Part | None:
    """audit.json and audit.png."""
    uri = data_uri(contents.folder.audit_png)
    if contents.audit is None and uri is None:
        return None
    found = contents.audit if isinstance(contents.audit, Mapping) else {}
    numbers = described({name: found[name] for name in found if name != "verdict"})
    alt = "The critic's layers, and the norms of its gradients"
    image = element("img", src=uri, alt=alt) if uri else None
    return part(
        "audit",
        "Is the critic 1-Lipschitz?",
        element("p", str(found["verdict"]), class_="verdict") if "verdict" in found else None,
        element("div", image, class_="picture") if image else None,
        element("details", element("summary", "All numbers"), *numbers) if found else None,
    )


def settings(contents: Contents) -> Part:
    """config.toml, with what each setting means."""
    abouts = {field.name: field.metadata["help"] for field in dataclasses.fields(TrainConfig)}
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", written(value), class_="number"),
            element("td", abouts.get(name, ""), class_="about"),
        )
        for name, value in contents.config.items()
    ]
    whole = element("table", *rows, class_="settings")
    about = "All that decides the numbers of the run: config.toml in its folder reproduces it."
    return part("settings", "Settings", element("div", whole, class_="wide"), about=about)


def machine(contents: Contents) -> Part | None:
    """machine.json."""
    if not contents.machine:
        return None
    return part("machine", "Versions and machine", *described(contents.machine))


def commands(contents: Contents) -> Part:
    """How to go on with the run."""
    path = str(contents.folder.path)
    steps = contents.config["steps"]
    resume = ["fastwgan", "train", "--resume", path]
    if contents.step >= steps:
        resume += ["--steps", str(2 * steps)]
    drawn = f"samples.{_SUFFIXES.get(kind_of(contents.config['data']), 'npy')}"
    every = [
        ("Train on", resume),
        ("Draw samples", ["fastwgan", "sample", path, "--count", "100", "--out", drawn]),
        ("Audit the critic", ["fastwgan", "audit", path]),
        ("Write this page again", ["fastwgan", "report", path]),
    ]
    if contents.folder.tensorboard.is_dir():
        folder = str(contents.folder.tensorboard)
        every.append(("Open TensorBoard", ["tensorboard", "--logdir", folder]))
    return part("go-on", "How to go on", *(_command(*each) for each in every))


def _command(text: str, parts: Sequence[str]) -> Markup:
    button = element("button", "Copy", type="button", class_="copy", hidden=True)
    code = element("div", element("code", shlex.join(parts)), button)
    return element("div", text, code, class_="command")
