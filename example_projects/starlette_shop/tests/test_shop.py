"""What a visitor does, and what xR2 hears of it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from shop.app import create_app
from starlette.testclient import TestClient

ACCOUNT = {"username": "ada", "password": "camellia sinensis"}


def trace_on(page) -> str:
    return re.search(r'<code class="trace">(.+?)</code>', page.text)[1]


def test_a_visitor_reads_the_welcome_prompt(client: TestClient) -> None:
    page = client.get("/")

    assert "Good to see you, friend." in page.text
    assert "Cast-iron teapot" in page.text


def test_a_customer_is_welcomed_by_name(client: TestClient) -> None:
    page = client.post("/signup", data=ACCOUNT, follow_redirects=True)

    assert page.url.path == "/"
    assert "Good to see you, ada." in page.text


def test_a_sign_up_is_credited_to_the_welcome_that_led_to_it(client: TestClient, arrived) -> None:
    trace_id = trace_on(client.get("/"))

    client.post("/signup", data=ACCOUNT)

    [event] = arrived()
    assert (event["event_name"], event["slug"], event["trace_id"]) == ("sign_up", "welcome", trace_id)
    assert event["user_id"] == "1"


@pytest.mark.parametrize("form", [{}, {**ACCOUNT, "password": "short"}, {**ACCOUNT, "username": " "}])
def test_a_form_with_mistakes_is_shown_again_and_no_sign_up(client: TestClient, arrived, form) -> None:
    client.get("/")

    page = client.post("/signup", data=form)

    assert page.status_code == 200
    assert 'class="errorlist"' in page.text
    assert arrived() == []


def test_a_taken_name_is_refused(client: TestClient) -> None:
    client.post("/signup", data=ACCOUNT)

    page = client.post("/signup", data=ACCOUNT)

    assert "This name is taken." in page.text


def test_a_wrong_password_does_not_log_in(client: TestClient) -> None:
    client.post("/signup", data=ACCOUNT)
    client.cookies.clear()

    page = client.post("/login", data={**ACCOUNT, "password": "coffea arabica"})

    assert "Name and password do not match." in page.text
    assert "Log out" not in page.text


def test_a_purchase_is_credited_to_the_product_page(client: TestClient, arrived) -> None:
    client.get("/")
    client.post("/signup", data=ACCOUNT)
    trace_id = trace_on(client.get("/products/teapot"))

    page = client.post("/checkout", data={"product": "teapot"}, follow_redirects=True)

    sign_up, purchase = sorted(arrived(), key=lambda event: event["slug"], reverse=True)
    assert "Cast-iron teapot, €48.00" in page.text
    assert (purchase["event_name"], purchase["slug"]) == ("purchase_completed", "product")
    assert (purchase["trace_id"], purchase["value"], purchase["currency"]) == (trace_id, 48.0, "EUR")
    assert purchase["user_id"] == sign_up["user_id"]
    assert purchase["session_id"] == sign_up["session_id"]


def test_a_guest_can_buy_and_stays_unnamed(client: TestClient, arrived) -> None:
    client.get("/products/sencha")

    client.post("/checkout", data={"product": "sencha"})

    [event] = arrived()
    assert event["user_id"] is None


def test_what_is_not_on_the_shelf_cannot_be_bought(client: TestClient, arrived) -> None:
    client.get("/products/sencha")

    answer = client.post("/checkout", data={"product": "coffee"})

    assert answer.status_code == 404
    assert "Not on our shelves" in answer.text
    assert arrived() == []


def test_looking_is_not_buying(client: TestClient, arrived) -> None:
    for path in ("/", "/signup", "/login", "/products/teapot", "/thanks"):
        assert client.get(path).status_code == 200

    assert client.get("/checkout").status_code == 405
    assert arrived() == []


def test_a_purchase_after_a_login_belongs_to_the_customer_who_came_back(client: TestClient, arrived) -> None:
    client.post("/signup", data=ACCOUNT)
    client.cookies.clear()
    client.get("/products/gaiwan")

    client.post("/login", data=ACCOUNT)
    client.post("/checkout", data={"product": "gaiwan"})

    [event] = arrived()
    assert event["user_id"] == "1"


def test_the_next_customer_on_a_shared_computer_is_not_credited_to_the_last_ones_prompt(
    client: TestClient, database: Path, arrived
) -> None:
    client.post("/signup", data={**ACCOUNT, "username": "grace"})
    client.cookies.clear()
    client.post("/signup", data=ACCOUNT)
    client.get("/products/whisk")
    client.post("/logout")

    client.post("/login", data={**ACCOUNT, "username": "grace"})
    client.post("/checkout", data={"product": "whisk"})

    assert purchases(database) == [(1, "whisk", "19.00")]
    assert arrived() == []


def test_the_shop_sells_without_xr2(environment: pytest.MonkeyPatch, database: Path) -> None:
    environment.setenv("XR2_BASE_URL", "http://127.0.0.1:9")

    with TestClient(create_app()) as client:
        page = client.get("/products/teapot")
        client.post("/checkout", data={"product": "teapot"})

    assert "Built-in text" in page.text
    assert purchases(database) == [(None, "teapot", "48.00")]


def purchases(database: Path) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT user_id, product, total FROM purchase").fetchall()
