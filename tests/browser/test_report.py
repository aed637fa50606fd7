"""report.html as a person meets it: opened from the disk in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from fastwgan.train import Data, fit
from fastwgan.train.animation import Animation
from fastwgan.train.grids import SampleGrids
from fastwgan.train.report import Report, write_report
from tests.browser.chromium import messages, requests, show, started
from tests.train.settings import small
from tests.train.watched import Measured, distances, lines, made_folder


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with started(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(chrome: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small real run; after `chrome`, without which none is needed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    values = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    config = small(steps=50, log_every=1, measure_every=10, sample_every=25)
    callbacks = [Measured(), SampleGrids(), Animation(), Report()]
    fit(config, Data("noise", values), out=folder, callbacks=callbacks)
    return folder / "report.html"


def _charts(chrome: Chrome) -> list[WebElement]:
    return chrome.find_elements(By.CSS_SELECTOR, "figure.chart")


def _paths(chart: WebElement) -> list[str]:
    """What each curve of a chart is drawn by: read at once, since a new width draws them anew."""
    read = "return [...arguments[0].querySelectorAll('path')].map(p => p.getAttribute('d') || '')"
    paths: list[str] = chart.parent.execute_script(read, chart)
    return paths


def _hover(chrome: Chrome, chart: WebElement, share: float) -> WebElement:
    """Points at a share of a chart's width; returns its tooltip."""
    svg = chart.find_element(By.TAG_NAME, "svg")
    chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
    offset = round((share - 0.5) * svg.size["width"])
    ActionChains(chrome).move_to_element_with_offset(svg, offset, 0).perform()
    return chart.find_element(By.CLASS_NAME, "tip")


def _button(chart: WebElement, text: str) -> WebElement:
    buttons = chart.find_elements(By.TAG_NAME, "button")
    return next(button for button in buttons if text in button.text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_opens_without_a_word_and_without_a_network(
    chrome: Chrome, report: Path, width: int, scheme: str
) -> None:
    show(chrome, report, width=width, scheme=scheme)
    charts = _charts(chrome)
    assert len(charts) == 5
    for chart in charts:
        assert all(len(path.split("L")) >= 5 for path in _paths(chart))
    unloaded = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert chrome.execute_script(unloaded) == 0
    assert messages(chrome) == []
    assert requests(chrome) == [report.as_uri()]
    overhang = "return document.documentElement.scrollWidth - window.innerWidth"
    assert chrome.execute_script(overhang) <= 0
    paper = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert (max(chrome.execute_script(paper)) < 60) == (scheme == "dark")


def test_pointing_at_a_chart_reads_its_values(chrome: Chrome, report: Path) -> None:
    show(chrome, report)
    chart = _charts(chrome)[0]
    tip = chart.find_element(By.CLASS_NAME, "tip")
    assert not tip.is_displayed()
    assert _hover(chrome, chart, 0.99).is_displayed()
    text = tip.text
    assert text.startswith("step 50\n")
    for value in distances(50).values():
        assert f"{value:.4g}" in text
    assert "step 30" in _hover(chrome, chart, 0.62).text
    ActionChains(chrome).move_to_element(chrome.find_element(By.TAG_NAME, "h1")).perform()
    assert not tip.is_displayed()


def test_a_curve_is_switched_off_and_on(chrome: Chrome, report: Path) -> None:
    show(chrome, report)
    chart = _charts(chrome)[0]
    before = _paths(chart)
    button = _button(chart, "critic's estimate over")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert len(_paths(chart)) == len(before) - 1
    assert "over its slope" not in _hover(chrome, chart, 0.9).text
    button.click()
    assert _paths(chart) == before


def test_scales_are_switched(chrome: Chrome, report: Path) -> None:
    show(chrome, report)
    chart = _charts(chrome)[0]
    before = _paths(chart)
    _button(chart, "logarithmic").click()
    bent = _paths(chart)
    assert bent != before
    assert all("NaN" not in path for path in bent)
    _button(chart, "logarithmic").click()
    assert _paths(chart) == before
    losses = _charts(chrome)[-1]
    cut = _paths(losses)
    _button(losses, "full range").click()
    assert _paths(losses) != cut


def test_a_keyboard_reads_values_too(chrome: Chrome, report: Path) -> None:
    show(chrome, report)
    chart = _charts(chrome)[0]
    svg, tip = chart.find_element(By.TAG_NAME, "svg"), chart.find_element(By.CLASS_NAME, "tip")
    svg.send_keys(Keys.ARROW_LEFT)
    assert tip.text.startswith("step 40")
    svg.send_keys(Keys.HOME)
    assert tip.text.startswith("step 10")
    assert "exact, generated to held-out ends at" in (svg.get_attribute("aria-label") or "")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_animation_can_be_stopped(chrome: Chrome, report: Path, motion: str) -> None:
    show(chrome, report, reduced_motion=motion)
    button = chrome.find_element(By.CSS_SELECTOR, ".film button")
    shown = "return document.querySelector('.film img').currentSrc.length"
    first, plays = chrome.execute_script(shown), motion == "no-preference"
    assert button.text == ("Stop" if plays else "Play")
    button.click()
    assert button.text == ("Play" if plays else "Stop")
    other = chrome.execute_script(shown)
    assert (first > other) == plays  # the film has more bytes than its last frame


def test_curves_are_drawn_anew_when_the_window_changes(chrome: Chrome, report: Path) -> None:
    show(chrome, report, width=1280)
    svg = _charts(chrome)[0].find_element(By.TAG_NAME, "svg")
    wide = svg.size["width"]
    metrics = {"width": 375, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert svg.size["width"] < 375 < wide

    def is_drawn_anew(_: Chrome) -> bool:
        drawn = (svg.get_dom_attribute("viewBox") or "").split()[2]
        return abs(float(drawn) - svg.size["width"]) <= 1

    WebDriverWait(chrome, 5).until(is_drawn_anew)


def test_a_hostile_name_runs_nothing(chrome: Chrome, tmp_path: Path) -> None:
    evil = "</script><script>document.title='run'</script><img src=x onerror=document.title='run'>"
    folder = made_folder(tmp_path, lines(5), data=evil)
    folder.audit_json.write_text('{"verdict": "<svg onload=document.title=1>"}')
    show(chrome, write_report(folder))
    assert evil in chrome.find_element(By.ID, "settings").text
    assert chrome.title.endswith(" · fastwgan")
    assert messages(chrome) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_run_of_hardly_a_line_opens(chrome: Chrome, tmp_path: Path, count: int) -> None:
    show(chrome, write_report(made_folder(tmp_path, lines(count, measure_every=1))))
    assert len(_charts(chrome)) == (5 if count else 0)
    assert all("NaN" not in path for chart in _charts(chrome) for path in _paths(chart))
    assert messages(chrome) == []
