"""What a visitor does, and what xR2 hears of it."""

from __future__ import annotations

import re
from contextlib import closing

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from shop.models import Order

# Real commits: an event of a transaction that never ends would never be made.
pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

ACCOUNT = {"username": "ada", "password": "camellia sinensis"}


def trace_on(page) -> str:
    return re.search(r'<code class="trace">(.+?)</code>', page.text)[1]


def test_a_visitor_reads_the_welcome_prompt(client: Client) -> None:
    page = client.get("/")

    assert "Good to see you, friend." in page.text
    assert "Cast-iron teapot" in page.text


def test_a_customer_is_welcomed_by_name(client: Client) -> None:
    page = client.post("/signup", ACCOUNT, follow=True)

    assert page.redirect_chain == [("/", 302)]
    assert "Good to see you, ada." in page.text


def test_a_sign_up_is_credited_to_the_welcome_that_led_to_it(client: Client, arrived) -> None:
    trace_id = trace_on(client.get("/"))

    client.post("/signup", ACCOUNT)

    [event] = arrived()
    user = get_user_model().objects.get(username="ada")
    assert (event["event_name"], event["slug"], event["trace_id"]) == ("sign_up", "welcome", trace_id)
    assert event["user_id"] == str(user.pk)


@pytest.mark.parametrize("form", [{}, {**ACCOUNT, "password": "short"}, {**ACCOUNT, "username": "no spaces"}])
def test_a_form_with_mistakes_is_shown_again_and_no_sign_up(client: Client, arrived, form) -> None:
    client.get("/")

    page = client.post("/signup", form)

    assert page.status_code == 200
    assert 'class="errorlist"' in page.text
    assert arrived() == []


def test_a_taken_name_is_refused(client: Client) -> None:
    client.post("/signup", ACCOUNT)

    page = Client().post("/signup", ACCOUNT)

    assert "already exists" in page.text


def test_a_purchase_is_credited_to_the_product_page(client: Client, arrived) -> None:
    client.get("/")
    client.post("/signup", ACCOUNT)
    trace_id = trace_on(client.get("/products/teapot"))

    page = client.post("/checkout", {"product": "teapot"}, follow=True)

    sign_up, purchase = sorted(arrived(), key=lambda event: event["slug"], reverse=True)
    assert "Cast-iron teapot, €48.00" in page.text
    assert (purchase["event_name"], purchase["slug"]) == ("purchase_completed", "product")
    assert (purchase["trace_id"], purchase["value"], purchase["currency"]) == (trace_id, 48.0, "EUR")
    assert purchase["user_id"] == sign_up["user_id"]
    assert purchase["session_id"] == sign_up["session_id"]


def test_a_guest_can_buy_and_stays_unnamed(client: Client, arrived) -> None:
    client.get("/products/sencha")

    client.post("/checkout", {"product": "sencha"})

    [event] = arrived()
    assert event["user_id"] is None
    assert Order.objects.get().customer is None


def test_what_is_not_on_the_shelf_cannot_be_bought(client: Client, arrived) -> None:
    client.get("/products/sencha")

    answer = client.post("/checkout", {"product": "coffee"})

    assert answer.status_code == 404
    assert "Not on our shelves" in answer.text
    assert arrived() == []


def test_looking_is_not_buying(client: Client, arrived) -> None:
    for path in ("/", "/signup", "/login", "/products/teapot", "/thanks"):
        assert client.get(path).status_code == 200

    assert client.get("/checkout").status_code == 405
    assert arrived() == []


def test_a_purchase_after_a_login_belongs_to_the_customer_who_came_back(client: Client, arrived) -> None:
    user = get_user_model().objects.create_user(**ACCOUNT)
    client.get("/products/gaiwan")

    client.post("/login", ACCOUNT)
    client.post("/checkout", {"product": "gaiwan"})

    [event] = arrived()
    assert event["user_id"] == str(user.pk)


def test_the_next_customer_on_a_shared_computer_is_not_credited_to_the_last_ones_prompt(
    client: Client, arrived
) -> None:
    get_user_model().objects.create_user(username="grace", password=ACCOUNT["password"])
    client.post("/signup", ACCOUNT)
    client.get("/products/whisk")
    client.post("/logout")

    client.post("/login", {**ACCOUNT, "username": "grace"})
    client.post("/checkout", {"product": "whisk"})

    assert Order.objects.get().customer.username == "grace"
    assert arrived() == []


def test_the_shop_sells_without_xr2(client: Client, settings) -> None:
    settings.XR2 = {"API_KEY": "xr2_dev_nobody", "BASE_URL": "http://127.0.0.1:9", "OUTBOX": "memory"}

    page = client.get("/products/teapot")
    thanks = client.post("/checkout", {"product": "teapot"}, follow=True)

    assert "Built-in text" in page.text
    assert "Cast-iron teapot, €48.00" in thanks.text


def test_forms_are_protected_against_other_sites() -> None:
    answer = Client(enforce_csrf_checks=True).post("/checkout", {"product": "teapot"})

    assert answer.status_code == 403


def test_the_style_sheet_is_served_without_debug(client: Client) -> None:
    with closing(client.get("/static/shop/shop.css")) as sheet:
        assert b"prefers-color-scheme" in sheet.getvalue()
