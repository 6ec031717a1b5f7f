"""The page: one file without links, which draws itself in a browser without a complaint."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluations import X264, small_evaluation

from neuvid.evaluation.report import write_report
from neuvid.evaluation.results import Evaluation, Failure

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OTHER = "x264:ultrafast:intra=2"  # the same curve, as if coded in another structure
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def evaluation(folder: Path) -> Evaluation:
    """Return an evaluation with a curve that nothing else may be drawn beside."""
    found = small_evaluation(folder)
    curve = found.curve("moving", X264.name)
    assert curve
    apart = replace(curve, codec=OTHER, conditions=replace(curve.conditions, intra_period=2))
    failure = Failure("other", "x265:medium", f"cannot read /{'long' * 30}/other.mp4")
    return replace(found, curves=(*found.curves, apart), failures=(failure,))


@pytest.fixture(scope="module")
def report(evaluation: Evaluation, folder: Path) -> Path:
    write_report(evaluation, folder / "cache", folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module", params=SCREENS)
def page(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Any]:
    """Yield the page on a screen; nothing that the browser complains of may have happened."""
    context = browser.new_context(**SCREENS[request.param], offline=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda asked: complaints.append(asked.url))
    opened.goto(report.as_uri())
    yield opened
    assert complaints == []
    context.close()


def test_it_is_one_file_without_links(evaluation: Evaluation, folder: Path, tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script>"
    clips = tuple(replace(clip, name=name) for clip in evaluation.clips)
    curves = tuple(replace(curve, clip=name) for curve in evaluation.curves)
    report = tmp_path / "report.html"
    write_report(replace(evaluation, clips=clips, curves=curves), folder / "cache", report)
    text = report.read_text()
    assert name not in text
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", text)
    match = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert match
    data = json.loads(match[1])
    assert data["clips"][0]["name"] == name
    assert data["codecs"] == ["tiny", X264.name, OTHER]
    (pictures,) = data["pictures"]
    shown = {point["key"] for rate in pictures["rates"] for point in rate}
    assert len(shown) > 4  # each of our rates, and x264 at the nearest one
    assert shown == set(pictures["files"])


def test_it_fits_the_screen_and_draws_curves(page: Any, evaluation: Evaluation) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for plot in ("curves", "frames"):
        assert page.locator(f"#{plot} .scatterlayer .trace").count() == 2
        assert page.locator(f"#{plot} .scatterlayer path.js-line").first.is_visible()
    assert page.locator("#curves path.point").count() == 8
    assert page.locator("#differences tbody tr").count() == 2  # the clip, and the mean
    rows = page.locator("#points tbody tr")
    assert rows.count() == 12
    assert (
        max(row.bounding_box()["height"] for row in rows.all()) < 100
    )  # pixels: no column of letters
    assert X264.name in page.locator("#commands").inner_text()
    assert "x265:medium" in page.locator("#failures").inner_text()
    assert "libx264 -preset ultrafast" in page.locator("#commands").inner_text()


def test_text_stands_out_from_the_ground(page: Any) -> None:
    colours = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('#curves .xtick text')).fill]"
    )
    text, ground, tick = (
        sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 / 255 for colour in colours
    )
    assert abs(text - ground) > 0.7
    assert abs(tick - ground) > 0.7


def test_curves_of_other_conditions_are_not_drawn(page: Any) -> None:
    def drawn() -> list[str]:
        return list(page.locator("#curves .legendtext").all_text_contents())

    page.select_option("#anchor", OTHER)
    assert drawn() == [OTHER]
    assert "not comparable: intra period" in page.locator("#differences").inner_text()
    page.select_option("#anchor", X264.name)
    assert drawn() == ["tiny", X264.name]
    assert OTHER in page.locator("#apart").inner_text()


def test_the_slider_moves(page: Any) -> None:
    """By the range below the pictures, and by the divider between them."""
    assert page.evaluate("document.getElementById('right-picture').naturalWidth") == 96
    page.locator("#slider").fill("250")
    assert page.evaluate("document.getElementById('divider').style.left") == "25%"
    assert "25%" in page.evaluate("document.getElementById('right-picture').style.clipPath")
    page.locator("#pair").scroll_into_view_if_needed()
    stage = page.locator("#stage").bounding_box()
    height = stage["y"] + stage["height"] / 2
    page.mouse.move(stage["x"] + 0.25 * stage["width"], height)
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.75 * stage["width"], height)
    page.mouse.up()
    assert float(page.locator("#slider").input_value()) == pytest.approx(750, abs=10)
    assert "75" in page.evaluate("document.getElementById('right-picture').style.clipPath")


def test_pictures_are_chosen_and_enlarged(page: Any) -> None:
    source = page.evaluate("document.getElementById('left-picture').src")
    page.select_option("#left", "Source")
    assert page.evaluate("document.getElementById('left-picture').src") != source
    assert "Left: source." in page.locator("#pair-text").inner_text()
    page.select_option("#zoom", "4")
    ratio = page.evaluate("devicePixelRatio")
    width = page.locator("#stage").bounding_box()["width"]
    assert width == pytest.approx(4 * 96 / ratio, abs=1)
