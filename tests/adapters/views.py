"""The views of every site under test, written once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import xr2_web
from xr2_web import Call, current, redirected, track, track_event

from .site import Page, Reply, View

VIEWS: list[View] = []


def view(path: str, decorate: Callable[[Any], Any] | None = None) -> Callable[[Any], Any]:
    """Mount a neutral view; its name is the name of the route."""

    def add(function: Any) -> Any:
        VIEWS.append(View(path, function, decorate))
        return function

    return add


def price(call: Call) -> float:
    """Read the price that a view tells in a header; every framework's response has ``headers``."""
    return float(call.result.headers["X-Price"])


def impossible(call: Call) -> float:
    raise ZeroDivisionError("a secret of the application")


@view("/")
async def plain(page: Page) -> Reply:
    return Reply("plain", headers={"Cache-Control": "public, max-age=60", "X-Mine": "kept"})


@view("/product/{slug}")
async def product(page: Page) -> Reply:
    prompt = await page.prompt(page.path["slug"])
    return Reply(prompt.trace_id or "")


@view("/cached/{slug}")
async def cached(page: Page) -> Reply:
    await page.prompt(page.path["slug"])
    headers = {"Cache-Control": "public, max-age=60, s-maxage=600", "Vary": "Accept-Encoding"}
    return Reply("cached", headers=headers)


@view("/twice")
async def twice(page: Page) -> Reply:
    first, second = await page.prompt(), await page.prompt()
    fresh = await page.prompt(fresh=True)
    return Reply(f"{first.trace_id} {second.trace_id} {fresh.trace_id}")


@view("/fallback/{slug}")
async def fallback(page: Page) -> Reply:
    prompt = await page.prompt(page.path["slug"], fallback="Greet {{name}}.")
    return Reply(f"{prompt.is_fallback} {prompt.trace_id} {prompt.render({'name': 'Ada'}).user_prompt}")


@view("/without-fallback")
async def without_fallback(page: Page) -> Reply:
    try:
        await page.prompt("welcome")
    except xr2_web.PromptUnavailable as exc:
        return Reply(str(exc))
    return Reply("available")


@view("/event/{name}")
async def event(page: Page) -> Reply:
    receipt = await page.track(page.path["name"], prompt=page.query.get("prompt"))
    return Reply("accepted" if receipt.accepted else receipt.reason or "")


@view("/both")
async def both(page: Page) -> Reply:
    prompt = await page.prompt()
    await page.track("tried")
    return Reply(prompt.trace_id or "")


@view("/whoami")
async def whoami(page: Page) -> Reply:
    return Reply(f"{current.trace_id} {current.session_id}")


@view("/checkout", track("purchase_completed", when=redirected, value=price, currency="EUR"))
async def checkout(page: Page) -> Reply:
    """Show a form, and answer an invalid one with 200 as form views do."""
    if "price" in page.query:
        return Reply(status=302, headers={"Location": "/thanks", "X-Price": page.query["price"]})
    return Reply("the form, perhaps with its errors", headers={"X-Price": "0"})


@view("/thanks", track("thanked", methods="GET"))
async def thanks(page: Page) -> Reply:
    return Reply("thanks")


@view("/buy", track("purchase_completed", value=price, currency="EUR"))
async def buy(page: Page) -> Reply:
    return Reply("bought", status=int(page.query.get("status", 200)), headers={"X-Price": "12.5"})


@view("/buy-late", track("purchase_completed", after="response"))
async def buy_late(page: Page) -> Reply:
    return Reply("bought", status=int(page.query.get("status", 200)))


@view("/unpriced", track("purchase_completed", value=impossible))
async def unpriced(page: Page) -> Reply:
    return Reply("bought")


@view("/crash", track("purchase_completed"))
async def crash(page: Page) -> Reply:
    await page.prompt()
    await page.track("attempted")
    raise RuntimeError("the application's own")


@track("paid", after="response")
def pay() -> None:
    """A function of the application that is no view."""


@view("/crash-after-paying")
async def crash_after_paying(page: Page) -> Reply:
    pay()
    raise RuntimeError("the application's own")


@view("/orders/{id}")
async def order(page: Page) -> Reply:
    return Reply(f"order {page.path['id']}", status=int(page.query.get("status", 200)))


@view("/login/{name}", track("logged_in"))
async def login(page: Page) -> Reply:
    return Reply(await page.login(page.path["name"]))


@view("/logout", track("logged_out"))
async def logout(page: Page) -> Reply:
    await page.logout()
    return Reply("bye")


async def chapters(page: Page) -> AsyncIterator[str]:
    yield f"{current.trace_id} "
    await page.track("chapter_read")
    yield f"{current.trace_id} "
    yield f"{current.trace_id}"


@view("/stream")
async def stream(page: Page) -> Reply:
    await page.prompt()
    return Reply(body=page.stream(chapters))


@view("/tracked-stream")
async def tracked_stream(page: Page) -> Reply:
    return Reply(body=page.stream(chapters, track("book_read")))


async def late_prompt(page: Page) -> AsyncIterator[str]:
    yield "start "
    prompt = await page.prompt()
    await page.track("chapter_read")
    yield prompt.trace_id or ""


@view("/late")
async def late(page: Page) -> Reply:
    return Reply(body=page.stream(late_prompt))


def myself() -> str:
    """Return what the application sees of the visitor at hand."""
    return f"{current.trace_id} {current.user_id} {current.session_id}"


@view("/me")
async def me(page: Page) -> Reply:
    return Reply(myself())


async def selves(page: Page) -> AsyncIterator[str]:
    yield f"{myself()}\n"
    yield myself()


@view("/me-streamed")
async def me_streamed(page: Page) -> Reply:
    return Reply(body=page.stream(selves))


def refused() -> Reply:
    """Answer a refusal; error handlers are sync code in some frameworks, on the loop or in a thread."""
    receipt = track_event("refused")
    return Reply(myself(), status=403, headers={"X-Receipt": "accepted" if receipt.accepted else receipt.reason or ""})


@view("/refusal", track("purchase_completed"))
async def refusal(page: Page) -> Reply:
    await page.prompt()
    page.refuse()


@view("/status/{status}", track("answered"))
async def bare(page: Page) -> Reply:
    """Answer with a status that has no body."""
    await page.prompt()
    return Reply(status=int(page.path["status"]))


@view("/buy-when-late", track("purchase_completed", when=redirected, after="response"))
async def buy_when_late(page: Page) -> Reply:
    return Reply(status=int(page.query.get("status", 200)), headers={"Location": "/thanks"})


@view("/cross-origin/{slug}")
async def cross_origin(page: Page) -> Reply:
    """Answer a page of another origin as applications do by hand, and their middleware for them."""
    headers = {"Access-Control-Allow-Origin": "https://shop.example", "Access-Control-Allow-Credentials": "true"}
    if page.method == "OPTIONS":
        allowed = {"Access-Control-Allow-Headers": "X-Xr2-Carry", "Access-Control-Max-Age": "600"}
        return Reply(status=204, headers={**headers, **allowed, "Cache-Control": "public, max-age=600"})
    prompt = await page.prompt(page.path["slug"])
    exposed = {"Access-Control-Expose-Headers": "X-Xr2-Carry", "Vary": "Origin"}
    return Reply(prompt.trace_id or "", headers={**headers, **exposed})
