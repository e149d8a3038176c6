"""What the shops have in common is copied, since each project stands alone; the copies stay the same."""

from __future__ import annotations

import pytest

from .servers import PROJECTS


@pytest.mark.parametrize("name", ["shop.css", "tea.svg"])
def test_the_shops_look_alike(name: str) -> None:
    assert len({path.read_bytes() for path in PROJECTS.glob(f"*_shop/shop/static/**/{name}")}) == 1


@pytest.mark.parametrize("name", ["writer.py", "catalogue.py"])
def test_the_shops_share_their_words_and_their_shelf(name: str) -> None:
    assert len({path.read_bytes() for path in PROJECTS.glob(f"*_shop/shop/{name}")}) == 1


@pytest.mark.parametrize("name", ["home.html", "product.html", "sign_up.html"])
def test_flask_and_starlette_differ_in_their_urls_only(name: str) -> None:
    flask, starlette = (
        (PROJECTS / shop / "shop/templates" / name).read_text() for shop in ("flask_shop", "starlette_shop")
    )

    assert flask.replace("filename='", "path='/").replace("storefront.", "").replace("accounts.", "") == starlette


def test_the_projects_without_django_keep_events_alike() -> None:
    paths = [PROJECTS / "fastapi_chat/chat/event_tables.py", *PROJECTS.glob("*_shop/shop/event_tables.py")]
    codes = {path.read_text().partition("\n")[2].replace("chat", "shop") for path in paths}

    assert len(paths) == 3
    assert len(codes) == 1
