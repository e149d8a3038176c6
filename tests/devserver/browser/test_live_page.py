"""The pages of the local xR2 in a browser."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from .conftest import App

VENDOR = Path(__file__).parent / "vendor"


def open_live(page: Any, path: str = "/") -> None:
    """Open a page and wait until it follows."""
    page.goto(path)
    page.wait_for_selector('.connection[data-state="open"]')


def test_a_visitor_appears_without_a_reload(page: Any, app: App) -> None:
    open_live(page)
    page.evaluate("window.isTheSame = true")

    trace_id = app.fetch()
    page.wait_for_selector(f"text={trace_id}")
    app.send(trace_id, "purchase_completed", value=20, currency="EUR", session_id="the-session")
    page.wait_for_selector("text=20 EUR")

    assert "the-session" in page.locator("article.visit").text_content()
    assert page.evaluate("window.isTheSame")


def test_what_is_open_and_has_the_focus_stays_while_others_arrive(page: Any, app: App) -> None:
    trace_id = app.fetch()
    app.send(trace_id)
    app.send(trace_id)
    open_live(page)
    app.send("evt_nobody")
    page.wait_for_selector("text=evt_nobody")
    opened, closed = page.locator("details.insight:not([open])"), page.locator("details.insight[open]")
    opened, closed = opened.element_handle(), closed.element_handle()
    closed.query_selector("summary").click()
    opened.query_selector("summary").focus()
    page.keyboard.press("Enter")

    page.wait_for_selector(f"text={app.fetch()}")

    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert [opened.get_attribute("open"), closed.get_attribute("open")] == ["", None]


def test_a_refused_event_shows_why_and_what_to_do(page: Any, app: App) -> None:
    open_live(page)

    app.send(app.fetch(), "purchase_complete")

    insight = page.locator("details.insight")
    insight.wait_for()
    assert "The nearest name is purchase_completed" in insight.inner_text()
    assert "[purchase_complete]" in insight.inner_text()


def test_a_search_narrows_what_is_shown_and_what_arrives(page: Any, app: App) -> None:
    app.send(app.fetch(), "sign_up", user_id="ada")
    app.send(app.fetch(), "sign_up", user_id="grace")
    open_live(page)

    page.get_by_label("Text").fill("ada")
    page.locator("article.visit").nth(1).wait_for(state="detached")
    page.wait_for_url("**/?text=ada*")
    hidden, shown = app.fetch(), app.fetch()
    app.send(hidden, user_id="grace")
    app.send(shown, user_id="ada")
    page.wait_for_selector(f"text={shown}")

    assert page.locator("article.visit").count() == 2
    assert page.get_by_text(hidden).count() == 0


def test_the_funnel_of_a_prompt_follows_too(page: Any, app: App) -> None:
    traces = [app.fetch() for _ in range(4)]
    open_live(page, "/prompts/welcome")
    for trace_id in traces[::2]:
        app.send(trace_id)

    page.wait_for_selector("tbody tr:first-child td:nth-child(3):text-is('2')")

    rows = page.locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[:4] for row in rows] == [
        ["version 1, tone: version_a", "2", "2", "100.0 %"],
        ["version 2, tone: version_b", "2", "0", "0.0 %"],
    ]
    assert page.get_by_role("img", name="Conversion to sign_up by version").is_visible()


def test_a_prompt_is_tried_without_losing_what_was_entered(page: Any, app: App) -> None:
    open_live(page, "/prompts/welcome")
    page.get_by_label("Version").select_option("1")
    page.get_by_role("button", name="Render").click()
    page.wait_for_selector("text=Missing required variables: name")

    page.get_by_label("name").fill("Ada")
    page.wait_for_selector(f"dd:text-is('{len([app.fetch()])}')")
    page.get_by_role("button", name="Render").click()

    page.wait_for_selector("pre:text-is('Greet Ada, 1.')")
    assert page.get_by_label("name").input_value() == "Ada"


def test_what_is_broken_on_purpose_stands_on_the_open_pages_until_everything_works(browser: Any, app: App) -> None:
    context = browser.new_context(base_url=app.base_url, reduced_motion="reduce")
    watching, steering = context.new_page(), context.new_page()
    open_live(watching)
    open_live(steering, "/chaos")

    steering.get_by_role("button", name="Key revoked").click()
    watching.wait_for_selector("text=revoked for 100 %")
    assert app.refused() == 401
    steering.wait_for_selector("dd:text-is('1 \N{MULTIPLICATION SIGN}')")

    steering.get_by_label("revoked, share of requests").fill("0")
    steering.get_by_label("slow, share of requests").fill("50")
    steering.get_by_label("how long, slow").fill("1ms")
    steering.get_by_role("button", name="Put in force").click()
    watching.wait_for_selector("text=slow (0.001 s) for 50 %")

    steering.get_by_role("button", name="Everything works").click()
    watching.locator("#steered").wait_for(state="detached")
    assert app.fetch().startswith("evt_")
    context.close()


def test_clearing_takes_two_steps_and_empties_the_page(page: Any, app: App) -> None:
    app.fetch()
    open_live(page)
    button = page.get_by_role("button", name="Forget everything")
    assert not button.is_visible()

    page.get_by_text("Clear", exact=True).click()
    button.click()

    page.wait_for_selector("text=Waiting for the first visitor")


def test_without_scripts_everything_is_there_by_reload(browser: Any, app: App) -> None:
    context = browser.new_context(base_url=app.base_url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    trace_id = app.fetch()
    app.send(trace_id, user_id="ada")

    page.reload()
    page.get_by_label("Text").fill("ada")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="welcome").first.click()
    page.get_by_label("name").fill("Ada")
    page.get_by_role("button", name="Render").click()

    assert page.locator("#tried pre").first.inner_text() == "Greet Ada, 2."
    context.close()


def test_a_page_that_is_not_looked_at_takes_no_connection_and_catches_up(page: Any, app: App) -> None:
    open_live(page)
    page.evaluate("""() => {
        Object.defineProperty(document, 'hidden', {value: true, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }""")
    trace_id = app.fetch()
    page.wait_for_timeout(1_000)
    assert page.get_by_text(trace_id).count() == 0

    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")

    page.wait_for_selector(f"text={trace_id}")


def test_the_keyboard_reaches_everything(page: Any, app: App) -> None:
    app.send(app.fetch(), "undefined")
    open_live(page)
    focusable = "a[href], button, input, select, textarea, summary, [tabindex]"
    wanted = page.evaluate(
        "all => [...document.querySelectorAll(all)].filter(each => each.checkVisibility()).length", focusable
    )

    reached = set()
    for _ in range(2 * wanted):
        page.keyboard.press("Tab")
        place = page.evaluate("all => [...document.querySelectorAll(all)].indexOf(document.activeElement)", focusable)
        if place in reached:
            break
        reached.add(place)

    assert len(reached - {-1}) == wanted


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["/", "/?text=nothing", "/prompts/welcome", "/prompts/nope", "/traces/known", "/traces/nope", "/chaos"]
)
def test_axe_finds_nothing(page: Any, app: App, path: str, scheme: str) -> None:
    trace_id = app.fetch()
    app.send(trace_id, "purchase_completed", value=20, currency="EUR", session_id="s", user_id="u", metadata={"a": 1})
    app.send(trace_id, "purchase_completed")
    app.send(app.fetch(), "purchase_complete")
    app.send("evt_nobody")
    app.breaks({"quota": 0.2, "slow": {"rate": 0.1, "seconds": 0}})
    page.emulate_media(color_scheme=scheme)
    page.goto(path.replace("known", trace_id))
    page.wait_for_selector('.connection[data-state="open"]')
    for closed in page.locator("details:not([open]) summary").all()[::-1]:
        closed.click()

    page.evaluate((VENDOR / "axe.min.js").read_text())
    found = page.evaluate("axe.run()")["violations"]

    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


@pytest.mark.parametrize("path", ["/", "/prompts/welcome", "/traces/evt_nobody", "/chaos"])
def test_nothing_is_wider_than_a_phone(page: Any, app: App, path: str) -> None:
    app.send("evt_nobody", "e" * 100, user_id="u" * 255, session_id="s" * 100, metadata={"k" * 80: "v" * 300})
    app.send(app.fetch(), "sign_up", value=1e15, currency="EUR")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(path)

    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_axe_is_here_unchanged() -> None:
    known = tomllib.loads((VENDOR / "vendor.toml").read_text())

    for name, origin in known.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == origin["sha256"]
        assert "Mozilla Public License" in (VENDOR / origin["license"]).read_text()
