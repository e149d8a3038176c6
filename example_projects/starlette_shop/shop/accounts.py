"""Signing up, logging in, logging out: a minimal login in the signed session cookie."""

from __future__ import annotations

from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, UnauthenticatedUser
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from xr2_web import redirected, track

from .pages import templates


class Customer(BaseUser):
    def __init__(self, customer_id: int, username: str) -> None:
        self.customer_id = customer_id
        self.username = username

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return self.username

    @property
    def identity(self) -> str:
        return str(self.customer_id)


class SessionBackend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        if "customer" not in conn.session:
            return None
        return AuthCredentials(["authenticated"]), Customer(**conn.session["customer"])


@track("sign_up", when=redirected)
async def sign_up(request: Request) -> Response:
    if request.method != "POST":
        return templates.TemplateResponse(request, "sign_up.html", {"errors": {}})
    username, password = await credentials(request)
    errors = problems(username, password)
    if not errors:
        user_id = await run_in_threadpool(request.state.store.add_user, username, password)
        if user_id is not None:
            return enter(request, Customer(user_id, username))
        errors = {"username": "This name is taken."}
    return templates.TemplateResponse(request, "sign_up.html", {"errors": errors, "username": username})


async def log_in(request: Request) -> Response:
    if request.method != "POST":
        return templates.TemplateResponse(request, "log_in.html", {"errors": {}})
    username, password = await credentials(request)
    user_id = await run_in_threadpool(request.state.store.find_user, username, password)
    if user_id is not None:
        return enter(request, Customer(user_id, username))
    errors = {"username": "Name and password do not match."}
    return templates.TemplateResponse(request, "log_in.html", {"errors": errors, "username": username})


async def log_out(request: Request) -> Response:
    request.session.clear()
    request.scope["user"] = UnauthenticatedUser()
    return RedirectResponse(request.url_for("home"), 303)


async def credentials(request: Request) -> tuple[str, str]:
    form = await request.form()
    return str(form.get("username", "")).strip(), str(form.get("password", ""))


def problems(username: str, password: str) -> dict[str, str]:
    """Say what is wrong with a new account, by field."""
    found = {}
    if not 1 <= len(username) <= 150:
        found["username"] = "Please choose a name of up to 150 characters."
    if len(password) < 8:
        found["password"] = "Please take at least 8 characters."
    return found


def enter(request: Request, customer: Customer) -> Response:
    """Log the customer in, for the rest of this request as well."""
    request.session["customer"] = vars(customer)
    request.scope["user"] = customer
    return RedirectResponse(request.url_for("home"), 303)
