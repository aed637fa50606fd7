"""A headless Chromium, driven as a person would use it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # as root, which containers are
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_OUTSIDE = ("http:", "https:", "ws:", "wss:", "ftp:")


def found() -> tuple[str, str]:
    """The paths of Chromium and its driver; skips the test without them, in CI fails it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    missing = "chromium" if browser is None else "chromedriver"
    reason = f"{missing} is not installed: `apt-get install chromium chromium-driver`"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def started(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser with a new profile."""
    browser, driver = found()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def show(
    chrome: webdriver.Chrome, path: Path, *, width: int = 1200, scheme: str = "light", **media: str
) -> None:
    """Opens a file in a window of that width, as by a person of these preferences."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wanted = {"prefers-color-scheme": scheme, **{f"prefers-{k}": v for k, v in media.items()}}
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in wanted.items()]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    messages(chrome), requests(chrome)  # those of what was shown before
    chrome.get(path.resolve().as_uri())


def messages(chrome: webdriver.Chrome) -> list[str]:
    """What the console has said since this was last asked."""
    return [entry["message"] for entry in chrome.get_log("browser")]


def requests(chrome: webdriver.Chrome) -> list[str]:
    """The addresses that the page has asked for since this was last asked, its own pictures out."""
    events: list[dict[str, Any]] = [
        json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")
    ]
    sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
    addresses = [event["params"]["request"]["url"] for event in sent]
    return [address for address in addresses if not address.startswith(("data:", "chrome:"))]
