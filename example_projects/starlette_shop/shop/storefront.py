"""The shelf, a product, the checkout."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from xr2_web import aget_prompt, track

from .catalogue import PRODUCTS, Product
from .pages import templates
from .store import Order, Store
from .writer import write


async def home(request: Request) -> Response:
    prompt = await aget_prompt("welcome", fallback="Good to see you, {{name}}. Take your time and look around.")
    context = {
        "prompt": prompt,
        "greeting": write(prompt.render({"name": request.user.display_name or "friend"})),
        "products": PRODUCTS.values(),
    }
    return templates.TemplateResponse(request, "home.html", context)


async def product(request: Request) -> Response:
    product = find(request.path_params["slug"])
    prompt = await aget_prompt("product", fallback="{{product}}. {{note}}")
    pitch = write(prompt.render({"product": product.name, "note": product.note}))
    context = {"prompt": prompt, "pitch": pitch, "product": product}
    return templates.TemplateResponse(request, "product.html", context)


async def checkout(request: Request) -> Response:
    form = await request.form()
    user_id = request.user.customer_id if request.user.is_authenticated else None
    order = await place_order(request.state.store, find(form.get("product")), user_id)
    request.session["order"] = {"name": order.product.name, "total": str(order.total)}
    return RedirectResponse(request.url_for("thanks"), 303)


async def thanks(request: Request) -> Response:
    return templates.TemplateResponse(request, "thanks.html", {"order": request.session.get("order")})


@track("purchase_completed", value=lambda call: call.result.total, currency="EUR")
async def place_order(store: Store, product: Product, user_id: int | None) -> Order:
    return await run_in_threadpool(store.add_order, product, user_id)


def find(slug: object) -> Product:
    """Return the product, or answer 404."""
    if slug not in PRODUCTS:
        raise HTTPException(404)
    return PRODUCTS[slug]
