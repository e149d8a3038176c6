from __future__ import annotations

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from xr2_web import get_prompt, redirected, track

from .forms import SignUpForm
from .models import Order, Product
from .orders import place_order
from .writer import write


def home(request: HttpRequest) -> HttpResponse:
    prompt = get_prompt("welcome", fallback="Good to see you, {{name}}. Take your time and look around.")
    greeting = write(prompt.render({"name": request.user.get_username() or "friend"}))
    products = Product.objects.all()
    return render(request, "shop/home.html", {"prompt": prompt, "greeting": greeting, "products": products})


def product(request: HttpRequest, slug: str) -> HttpResponse:
    product = get_object_or_404(Product, slug=slug)
    prompt = get_prompt("product", fallback="{{product}}. {{note}}")
    pitch = write(prompt.render({"product": product.name, "note": product.note}))
    return render(request, "shop/product.html", {"prompt": prompt, "pitch": pitch, "product": product})


@track("sign_up", when=redirected)
def sign_up(request: HttpRequest) -> HttpResponse:
    form = SignUpForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "shop/sign_up.html", {"form": form})
    login(request, form.save())
    return redirect("shop:home")


@require_POST
def checkout(request: HttpRequest) -> HttpResponse:
    product = get_object_or_404(Product, slug=request.POST.get("product"))
    request.session["order"] = place_order(product, request.user).pk
    return redirect("shop:thanks")


def thanks(request: HttpRequest) -> HttpResponse:
    order = Order.objects.select_related("product").filter(pk=request.session.get("order")).first()
    return render(request, "shop/thanks.html", {"order": order})
