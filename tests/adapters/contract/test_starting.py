"""What the settings do when an application starts, and with everything off."""

from __future__ import annotations

import logging
import re

import pytest

MALFORMED = [pytest.param("", id="empty"), pytest.param("two words", id="space"), pytest.param("ключ", id="non-ascii")]


def told(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "xr2_web"]


@pytest.mark.parametrize("key", MALFORMED)
def test_a_malformed_key_stops_the_application_at_start(open_site, mode, key):
    site_class = mode.site_class()

    with pytest.raises(site_class.start_error(), match=re.escape(f"{site_class.shown_key} is malformed")):
        open_site(api_key=key)


def test_all_problems_are_told_at_once_with_the_nearest_name(open_site, mode):
    with pytest.raises(mode.site_class().start_error()) as caught:
        open_site(carry_mode="cookie", attribution="best", rate_limit="fast")

    message = str(caught.value).lower()
    assert "did you mean" in message
    assert "attribution" in message
    assert "rate_limit" in message


def test_without_a_key_everything_is_off_and_one_warning_says_so(open_site, caplog, monkeypatch):
    monkeypatch.delenv("XR2_API_KEY", raising=False)
    site = open_site(api_key=None)
    visitor = site.visitor()

    answers = [visitor.get("/fallback/welcome"), visitor.post("/event/paid"), visitor.post("/buy")]

    assert [answer.text for answer in answers] == ["True None Greet Ada.", "disabled", "bought"]
    assert [message for message in told(caplog) if "API_KEY" in message] == told(caplog)
    assert len(told(caplog)) == 1
    assert site.events() == []


def test_disabled_nothing_is_sent_and_prompts_name_the_setting(open_site, caplog):
    site = open_site(enabled=False, events={"buy": "bought"})
    visitor = site.visitor()

    answers = [visitor.get("/fallback/welcome"), visitor.get("/without-fallback"), visitor.post("/event/paid")]
    visitor.post("/buy")

    assert answers[0].text == "True None Greet Ada."
    assert "ENABLED" in answers[1].text
    assert answers[2].text == "disabled"
    assert not answers[0].cookies
    assert len(told(caplog)) == 1
    assert site.events() == []


def test_the_key_is_in_no_log_line_and_no_page(open_site, caplog):
    caplog.set_level(logging.DEBUG, "xr2_web")
    site = open_site(api_key="xr2_dev_a_secret_of_ours")
    visitor = site.visitor()

    answers = [visitor.get("/product/welcome"), visitor.post("/buy"), visitor.get("/fallback/unknown")]
    site.events()

    assert all("a_secret_of_ours" not in answer.text + repr(answer.headers) for answer in answers)
    assert "a_secret_of_ours" not in caplog.text
    assert "a_secret_of_ours" not in repr(site.runtime)
