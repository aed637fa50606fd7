from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch

from fastwgan.train import Data, RunFolder, fit, plots
from fastwgan.train.animation import Animation
from fastwgan.train.curves import Panel
from fastwgan.train.grids import SampleGrids
from fastwgan.train.metrics import Record
from fastwgan.train.report import Report, ReportError, write_report
from fastwgan.train.report.markup import Markup, element
from fastwgan.train.report.series import as_json, chart
from fastwgan.train.report.values import described
from tests.train.settings import small
from tests.train.watched import lines, made_folder

_VOID = {"img", "link", "meta", "source"}


class _Page(html.parser.HTMLParser):
    """A page's elements and texts; fails where one is closed that isn't open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        self.texts[inside] = self.texts.get(inside, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]

    @property
    def sections(self) -> list[str | None]:
        return [attributes["id"] for attributes in self.all("section")]


def _lead(folder: RunFolder) -> str:
    text = write_report(folder).read_text(encoding="utf-8")
    found = re.search(r'<p class="lead">(.*?)</p>', text)
    assert found is not None
    return found[1]


def test_a_run_ends_with_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)
    data = Data("images", torch.rand(40, 1, 8, 8))
    callbacks = [SampleGrids(), Animation(), Report()]
    fit(small(steps=4, sample_every=2), data, out=tmp_path, callbacks=callbacks)
    page = _Page(tmp_path / "report.html")
    assert page.sections == ["training", "curves", "settings", "machine", "go-on"]
    assert json.loads((tmp_path / "machine.json").read_text())["torch"] == torch.__version__


def test_a_page_shows_all_that_a_run_left(tmp_path: Path) -> None:
    folder = made_folder(tmp_path, lines(60))
    folder.quality.write_text('{"w1": {"value": 2.5, "ratio": 1.125}, "modes": 8}')
    folder.audit_json.write_text(
        '{"verdict": "Nearly.", "layers": [{"name": "l0", "sigma": 1.5}, {"name": "l1"}]}'
    )
    folder.audit_png.write_bytes(folder.samples.read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert write_report(folder) == folder.report
    page = _Page(folder.report)
    assert page.sections == [
        *("samples", "distance", "curves", "quality", "audit", "settings", "go-on")
    ]
    assert "1.125" in page.texts["td"]
    assert "Nearly." in page.texts["p"]
    assert "wgan-gp" in page.texts["td"]
    assert {path: path.read_bytes() for path in before} == before
    assert set(tmp_path.iterdir()) - before.keys() == {folder.report}


def test_a_page_needs_no_other_file_and_no_network(tmp_path: Path) -> None:
    folder = made_folder(tmp_path, lines(60))
    folder.curves.write_bytes(folder.samples.read_bytes())
    page = _Page(write_report(folder))
    for _, attributes in page.elements:
        for name in ("src", "srcset", "action", "formaction", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith(("#", "data:"))
    assert "http" not in page.texts["style"] + page.texts["title"]
    policy = page.all("meta")[1]["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    for name in ("style.css", "charts.js"):
        text = resources.files("fastwgan.train.report").joinpath(name).read_text(encoding="utf-8")
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_strings_of_the_user_stay_text(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>\"&"
    folder = made_folder(tmp_path / evil[:8].replace("/", ""), lines(3), data=evil)
    for path in (folder.quality, folder.audit_json):
        path.write_text(json.dumps({evil: [{evil: evil}], "verdict": evil}))
    page = _Page(write_report(folder))
    assert len(page.all("script")) == 2
    assert all((image["src"] or "").startswith("data:") for image in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert evil in page.texts["td"]
    assert "<img src=x" in page.texts["h1"]


def test_a_name_that_is_no_unicode_is_written(tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "run\udcff", lines(3))
    assert "run?" in _Page(write_report(folder)).texts["code"]


def test_commands_can_be_pasted(tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "my run", lines(6))
    page = _Page(write_report(folder))
    assert f"fastwgan train --resume '{tmp_path}/my run' --steps 12" in page.texts["code"]
    folder = made_folder(tmp_path / "part", lines(6), steps=10, data="rows.csv")
    page = _Page(write_report(folder))
    assert f"--resume {tmp_path}/partfastwgan sample" in page.texts["code"]
    assert "--out samples.csv" in page.texts["code"]


@pytest.mark.parametrize(
    ("records", "chosen", "sentence"),
    [
        (
            [{"step": 60, "seconds": 151.0, "w1": 1.5, "w1_floor": 1.25}],
            {"steps": 60},
            "After all 60 generator steps (2 min 31 s), the exact Wasserstein-1 distance from "
            "generated samples to held-out real ones is 1.5, 1.20 times what real samples "
            "themselves reach (1.25).",
        ),
        (
            [{"step": 1500, "w1_sliced": 2.0, "w1_sliced_floor": 0.0}],
            {"steps": 3000},
            "After 1,500 of 3,000 generator steps, the sliced Wasserstein-1 distance from "
            "generated samples to held-out real ones is 2.",
        ),
        (
            [{"step": 1, "wasserstein": 3.0, "seconds": 1.0}, {"step": 2, "wasserstein": 0.5}],
            {"steps": 2},
            "After all 2 generator steps (1 s), the critic tells real from generated by an "
            "estimate of 0.5, where it was 3 at most.",
        ),
        ([], {"steps": 9}, "After 0 of 9 generator steps, nothing has been measured yet."),
    ],
)
def test_the_outcome_is_one_sentence(
    tmp_path: Path, records: list[Record], chosen: dict[str, Any], sentence: str
) -> None:
    assert _lead(made_folder(tmp_path, records, **chosen)) == sentence


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    folder = made_folder(tmp_path, lines(5), steps=9)
    whole = _lead(folder)
    with folder.metrics.open("a") as file:
        file.write('{"step": 6, "wasser')
    assert _lead(folder) == whole


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("config.toml", None, r"holds no run: there is no config\.toml in it\.$"),
        ("config.toml", "steps = [", r"config\.toml is damaged: "),
        ("config.toml", 'data = "digits"\nmethod = "wgan"', r"is damaged: steps was None\.$"),
        ("config.toml", 'data = "d"\nmethod = "x"\nsteps = 1', r"is damaged: method was 'x'; "),
        ("metrics.jsonl", "{\n", r"metrics\.jsonl is damaged: "),
        ("metrics.jsonl", "[1]\n", r"metrics\.jsonl is damaged: a line of it has no step\.$"),
        ("quality.json", "{", r"quality\.json is damaged: "),
        ("audit.json", "\x00", r"audit\.json is damaged: "),
    ],
)
def test_what_no_page_can_be_made_of_is_one_sentence(
    tmp_path: Path, name: str, content: str | None, sentence: str
) -> None:
    folder = made_folder(tmp_path, lines(2))
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ReportError, match=sentence) as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)
    assert not folder.report.exists()


def test_a_page_written_again_is_the_same(tmp_path: Path) -> None:
    folder = made_folder(tmp_path, lines(40))
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_everything_has_a_name_for_those_who_do_not_see_it(tmp_path: Path) -> None:
    folder = made_folder(tmp_path, lines(40))
    folder.audit_png.write_bytes(folder.samples.read_bytes())
    page = _Page(write_report(folder))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert page.all("img")
    assert all(image["alt"] for image in page.all("img"))
    assert all(cell["scope"] in ("row", "col") for cell in page.all("th"))
    names = {attributes.get("id") for _, attributes in page.elements}
    assert {section["aria-labelledby"] for section in page.all("section")} <= names
    assert {link["href"] for link in page.all("a")} == {f"#{name}" for name in page.sections}


def _luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_the_paper(theme: int) -> None:
    """By the bounds of the Web Content Accessibility Guidelines, level AA."""
    css = resources.files("fastwgan.train.report").joinpath("style.css").read_text("utf-8")
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[theme]
    colors = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
    for paper in ("paper", "card"):
        for name in ("ink", "soft", "accent"):
            assert _contrast(colors[name], colors[paper]) >= 4.5, (name, paper)
        for name in ("real", "fake", "third", "floor"):
            assert _contrast(colors[name], colors[paper]) >= 3, (name, paper)


def test_a_long_run_is_thinned_without_losing_its_extremes() -> None:
    records: list[Record] = [{"step": step, "a": step % 7, "b": -step} for step in range(20_000)]
    records[1234]["a"], records[9876]["a"] = 1e6, -1e6
    made = chart(records, Panel("t", "f", ("a", "b")))
    steps, (a, b) = made["steps"], made["series"]
    assert len(steps) < 1300
    assert (steps[0], steps[-1]) == (0, 19_999)
    assert steps == sorted(set(steps))
    assert (max(a["values"]), min(a["values"])) == (1e6, -1e6)
    assert b["values"] == [-step for step in steps]
    assert len(a["means"]) == len(steps)


def test_a_short_run_is_drawn_as_it_is() -> None:
    records = lines(50, measure_every=20)
    made = chart(records, Panel("t", "f", ("penalty", "w1")))
    penalty, distance = made["series"]
    assert penalty["values"] == pytest.approx([record["penalty"] for record in records], rel=1e-5)
    assert [
        step for step, value in zip(made["steps"], distance["values"], strict=True) if value
    ] == [
        20,
        40,
    ]


def test_markup_is_escaped_unless_it_says_that_it_is_markup() -> None:
    made = element("p", "<b>", Markup("<i>"), None, class_="\"'<", aria_label="x", hidden=True)
    assert made == '<p class="&quot;&#x27;&lt;" aria-label="x" hidden>&lt;b&gt;<i></p>'
    assert element("img", alt="a", src=None, hidden=False) == '<img alt="a">'
    assert as_json({"</script>": "<!--"}) == '{"\\u003c/script>":"\\u003c!--"}'


def test_nested_values_are_tables() -> None:
    value = {
        "flat_one": True,
        "deep": {"x": 1.23456789, "none": None},
        "many": list(range(40)),
        "layers": [{"name": "a", "sizes": [1, 2]}, {"name": "b", "note": "n"}],
    }
    single, heading, rows = described(value)
    for text in ("flat one</th><td", ">yes<", "deep · x", "1.23457", ">none<", "… (40 in all)"):
        assert text in single
    assert heading == "<h3>layers</h3>"
    assert rows.count("<tr>") == 3
    assert '<th scope="col">note</th>' in rows
