"""What a visitor does, and what xR2 hears of it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from flask import Flask
from flask.testing import FlaskClient
from shop import create_app

ACCOUNT = {"username": "ada", "password": "camellia sinensis"}


def trace_on(page) -> str:
    return re.search(r'<code class="trace">(.+?)</code>', page.text)[1]


def test_a_visitor_reads_the_welcome_prompt(client: FlaskClient) -> None:
    page = client.get("/")

    assert "Good to see you, friend." in page.text
    assert "Cast-iron teapot" in page.text


def test_a_customer_is_welcomed_by_name(client: FlaskClient) -> None:
    page = client.post("/signup", data=ACCOUNT, follow_redirects=True)

    assert page.request.path == "/"
    assert "Good to see you, ada." in page.text


def test_a_sign_up_is_credited_to_the_welcome_that_led_to_it(client: FlaskClient, arrived) -> None:
    trace_id = trace_on(client.get("/"))

    client.post("/signup", data=ACCOUNT)

    [event] = arrived()
    assert (event["event_name"], event["slug"], event["trace_id"]) == ("sign_up", "welcome", trace_id)
    assert event["user_id"] == "1"


@pytest.mark.parametrize("form", [{}, {**ACCOUNT, "password": "short"}, {**ACCOUNT, "username": " "}])
def test_a_form_with_mistakes_is_shown_again_and_no_sign_up(client: FlaskClient, arrived, form) -> None:
    client.get("/")

    page = client.post("/signup", data=form)

    assert page.status_code == 200
    assert 'class="errorlist"' in page.text
    assert arrived() == []


def test_a_taken_name_is_refused(app: Flask) -> None:
    app.test_client().post("/signup", data=ACCOUNT)

    page = app.test_client().post("/signup", data=ACCOUNT)

    assert "This name is taken." in page.text


def test_a_wrong_password_does_not_log_in(app: Flask, client: FlaskClient) -> None:
    app.test_client().post("/signup", data=ACCOUNT)

    page = client.post("/login", data={**ACCOUNT, "password": "coffea arabica"})

    assert "Name and password do not match." in page.text
    assert "Log out" not in page.text


def test_a_purchase_is_credited_to_the_product_page(client: FlaskClient, arrived) -> None:
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


def test_a_guest_can_buy_and_stays_unnamed(client: FlaskClient, arrived) -> None:
    client.get("/products/sencha")

    client.post("/checkout", data={"product": "sencha"})

    [event] = arrived()
    assert event["user_id"] is None


def test_what_is_not_on_the_shelf_cannot_be_bought(client: FlaskClient, arrived) -> None:
    client.get("/products/sencha")

    answer = client.post("/checkout", data={"product": "coffee"})

    assert answer.status_code == 404
    assert "Not on our shelves" in answer.text
    assert arrived() == []


def test_looking_is_not_buying(client: FlaskClient, arrived) -> None:
    for path in ("/", "/signup", "/login", "/products/teapot", "/thanks"):
        assert client.get(path).status_code == 200

    assert client.get("/checkout").status_code == 405
    assert arrived() == []


def test_a_purchase_after_a_login_belongs_to_the_customer_who_came_back(
    app: Flask, client: FlaskClient, arrived
) -> None:
    app.test_client().post("/signup", data=ACCOUNT)
    client.get("/products/gaiwan")

    client.post("/login", data=ACCOUNT)
    client.post("/checkout", data={"product": "gaiwan"})

    [event] = arrived()
    assert event["user_id"] == "1"


def test_the_next_customer_on_a_shared_computer_is_not_credited_to_the_last_ones_prompt(
    app: Flask, client: FlaskClient, arrived
) -> None:
    app.test_client().post("/signup", data={**ACCOUNT, "username": "grace"})
    client.post("/signup", data=ACCOUNT)
    client.get("/products/whisk")
    client.post("/logout")

    client.post("/login", data={**ACCOUNT, "username": "grace"})
    client.post("/checkout", data={"product": "whisk"})

    assert purchases(app) == [(1, "whisk", "19.00")]
    assert arrived() == []


def test_the_shop_sells_without_xr2(tmp_path) -> None:
    app = create_app(
        {
            "DATABASE": tmp_path / "shop.sqlite3",
            "XR2_API_KEY": "xr2_dev_nobody",
            "XR2_BASE_URL": "http://127.0.0.1:9",
            "XR2_OUTBOX": "memory",
        }
    )
    client = app.test_client()

    page = client.get("/products/teapot")
    client.post("/checkout", data={"product": "teapot"})

    assert "Built-in text" in page.text
    assert purchases(app) == [(None, "teapot", "48.00")]


def purchases(app: Flask) -> list[tuple]:
    with closing(sqlite3.connect(app.config["DATABASE"])) as connection:
        return connection.execute("SELECT user_id, product, total FROM purchase").fetchall()
