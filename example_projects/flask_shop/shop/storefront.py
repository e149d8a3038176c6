"""The shelf, a product, the checkout."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from flask import Blueprint, abort, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from xr2_web import get_prompt

from .catalogue import PRODUCTS, Product
from .database import connection
from .writer import write

bp = Blueprint("storefront", __name__)


@dataclass(frozen=True, slots=True)
class Order:
    product: Product
    total: Decimal


@bp.get("/")
def home() -> str:
    prompt = get_prompt("welcome", fallback="Good to see you, {{name}}. Take your time and look around.")
    greeting = write(prompt.render({"name": g.user["username"] if g.user else "friend"}))
    return render_template("home.html", prompt=prompt, greeting=greeting, products=PRODUCTS.values())


@bp.get("/products/<slug>")
def product(slug: str) -> str:
    product = PRODUCTS.get(slug) or abort(404)
    prompt = get_prompt("product", fallback="{{product}}. {{note}}")
    pitch = write(prompt.render({"product": product.name, "note": product.note}))
    return render_template("product.html", prompt=prompt, pitch=pitch, product=product)


@bp.post("/checkout")
def checkout() -> ResponseReturnValue:
    product = PRODUCTS.get(request.form.get("product", "")) or abort(404)
    g.order = place_order(product)
    session["order"] = {"name": product.name, "total": str(product.price)}
    return redirect(url_for(".thanks"), 303)


@bp.get("/thanks")
def thanks() -> str:
    return render_template("thanks.html", order=session.get("order"))


def place_order(product: Product) -> Order:
    """Sell one piece of the product; a guest's order belongs to nobody."""
    with connection() as db:
        query = "INSERT INTO purchase (user_id, product, total) VALUES (?, ?, ?)"
        db.execute(query, (session.get("user_id"), product.slug, str(product.price)))
    return Order(product, product.price)
