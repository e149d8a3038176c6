"""What only Flask has: views that are tuples, hooks, teardowns, contexts, factories, and WSGI around it."""

from __future__ import annotations

import functools
import io
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("flask")
pytest.importorskip("flask_login")
pytest.importorskip("asgiref")

from flask import (
    Blueprint,
    Flask,
    abort,
    current_app,
    has_request_context,
    redirect,
    request,
    send_file,
    session,
    stream_with_context,
)
from flask.views import MethodView, View
from flask_login import current_user, login_required, login_user, logout_user
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import EnvironBuilder

from xr2_web import ConfigurationError, current, get_prompt, propagate, redirected, track, track_event
from xr2_web.flask import Xr2
from xr2_web.scope import bound

from .flask_sites import Member
from .modes import FLASK


@pytest.fixture
def mode():
    """The views of these tests are their own, so one mode is enough."""
    return FLASK[0].values[0]


@pytest.fixture
def serve(open_site):
    """Open a site that also has these views, each at the path of its name; return a visitor who fetched ``welcome``."""

    def serve(*views: Any, extend: Any = lambda app: None, **options: Any) -> Any:
        def add(app: Flask) -> None:
            for view in views:
                app.add_url_rule(f"/{view.__name__}", view_func=view, methods=["GET", "POST"])
            extend(app)

        visitor = open_site(extend=add, **options).visitor()
        visitor.trace_id = visitor.get("/product/welcome").text
        return visitor

    return serve


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("bought", ["purchase_completed"]),
        (("bought", 201), ["purchase_completed"]),
        (("bought", 201, {"X-Mine": "1"}), ["purchase_completed"]),
        (("bought", {"X-Mine": "1"}), ["purchase_completed"]),
        ({"total": 12}, ["purchase_completed"]),
        (("refused", 402), []),
        (({"error": "refused"}, 500), []),
    ],
)
def test_a_view_may_return_whatever_flask_takes(serve, returned, expected):
    @track("purchase_completed")
    def place():
        return returned

    visitor = serve(place)

    visitor.get("/place")
    visitor.post("/place")

    assert visitor.site.event_names() == expected


@pytest.mark.parametrize("kind", ["response", "tuple"])
def test_redirected_knows_responses_and_tuples(serve, kind):
    @track("purchase_completed", when=redirected)
    def place():
        return redirect("/thanks") if kind == "response" else ("", 303, {"Location": "/thanks"})

    visitor = serve(place)

    visitor.post("/place")

    assert visitor.site.event_names() == ["purchase_completed"]


def test_a_field_sees_what_the_view_returned(serve):
    @track("purchase_completed", value=lambda call: call.result["total"])
    def place():
        return {"total": 12}

    visitor = serve(place)

    visitor.post("/place")

    assert [event["value"] for event in visitor.site.events()] == [12.0]


class Order(MethodView):
    @track("purchase_completed")
    def post(self):
        return "bought"

    def get(self):
        return "form"


@track("purchase_completed")
class DecoratedOrder(MethodView):
    def post(self):
        return "bought"

    def get(self):
        return "form"


class DecoratorsOrder(MethodView):
    decorators = [track("purchase_completed")]  # noqa: RUF012

    def post(self):
        return "bought"

    def get(self):
        return "form"


class AsyncOrder(MethodView):
    @track("purchase_completed")
    async def post(self):
        return "bought"

    async def get(self):
        return "form"


@pytest.mark.parametrize("view", [Order, DecoratedOrder, DecoratorsOrder, AsyncOrder])
def test_a_class_based_view_is_an_event_when_its_handler_answers(serve, view):
    visitor = serve(view.as_view("place"))

    visitor.get("/place")
    answer = visitor.post("/place")

    assert answer.text == "bought"
    assert visitor.site.event_names() == ["purchase_completed"]


class Dispatched(View):
    methods = ["GET", "POST"]  # noqa: RUF012

    @track("purchase_completed")
    def dispatch_request(self):
        return "bought", int(request.args.get("status", 200))


class AsyncDispatched(View):
    methods = ["GET", "POST"]  # noqa: RUF012

    @track("purchase_completed")
    async def dispatch_request(self):
        return "bought", int(request.args.get("status", 200))


class MethodDispatched(MethodView):
    init_every_request = False

    @track("purchase_completed")
    def dispatch_request(self, **path):
        return super().dispatch_request(**path)

    def post(self):
        return "bought", int(request.args.get("status", 200))

    def get(self):
        return "form"


@pytest.mark.parametrize("view", [Dispatched, AsyncDispatched, MethodDispatched])
def test_a_class_with_one_handler_for_all_observes_status_and_method(serve, view):
    visitor = serve(view.as_view("place"))

    visitor.get("/place")
    visitor.post("/place", status=402)
    assert visitor.site.events() == []

    visitor.post("/place")
    assert visitor.site.event_names() == ["purchase_completed"]


class Page(MethodView):
    @track("seen")
    def get(self):
        return "page"


def test_a_head_that_the_handler_for_get_answers_is_no_event(serve):
    """Its name says that a GET is one, and no more."""
    visitor = serve(Page.as_view("page"))

    visitor.request("HEAD", "/page")
    assert visitor.site.events() == []

    visitor.get("/page")
    assert visitor.site.event_names() == ["seen"]


def careless(function):
    """Decorate without a word about what it is."""
    return lambda *args, **kwargs: current_app.ensure_sync(function)(*args, **kwargs)


def careful(function):
    @functools.wraps(function)
    def decorated(*args, **kwargs):
        return current_app.ensure_sync(function)(*args, **kwargs)

    return decorated


@pytest.mark.parametrize("stack", [[track("purchase_completed"), "x"], ["x", track("purchase_completed")]])
@pytest.mark.parametrize("decorate", [careful, careless])
@pytest.mark.parametrize("is_async", [False, True])
def test_decorators_stand_in_any_order(serve, stack, decorate, is_async):
    def place():
        return {"total": 12}, int(request.args.get("status", 200))

    async def aplace():
        return place()

    view = aplace if is_async else place
    for each in stack:
        view = decorate(view) if each == "x" else each(view)
    visitor = serve(extend=lambda app: app.add_url_rule("/place", "place", view, methods=["GET", "POST"]))

    visitor.get("/place")
    visitor.post("/place", status=402)
    assert visitor.site.events() == []

    assert visitor.post("/place").status == 200
    assert visitor.site.event_names() == ["purchase_completed"]


@pytest.mark.parametrize("view_is_async", [False, True])
@pytest.mark.parametrize("order", [0, 1])
def test_a_view_for_members_is_an_event_of_members(serve, order, view_is_async):
    def place():
        return "bought"

    async def aplace():
        return "bought"

    view = aplace if view_is_async else place
    for each in (track("purchase_completed"), login_required)[:: -1 if order else 1]:
        view = each(view)
    visitor = serve(extend=lambda app: app.add_url_rule("/place", "place", view, methods=["POST"]), has_users=True)

    assert visitor.post("/place").status == 401
    assert visitor.site.events() == []

    user = visitor.post("/login/ada")
    assert visitor.post("/place").text == "bought"
    assert [event["user_id"] for event in visitor.site.events()] == [user.text, user.text]


UTCNOW = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning:flask_login")


def enter(name):
    login_user(Member(f"id-{name}"), remember=bool(request.args.get("remember")))
    return "welcome"


def leave():
    logout_user()
    return "bye"


@pytest.fixture
def serve_members(serve):
    """Serve a site at which nobody tracks that somebody comes or goes."""

    def extend(app):
        app.add_url_rule("/enter/<name>", view_func=enter, methods=["POST"])
        app.add_url_rule("/leave", view_func=leave, methods=["POST"])

    def members(*views, **options):
        return serve(*views, extend=extend, has_users=True, **options)

    return members


@pytest.mark.parametrize("leaves", [True, False])
def test_what_an_anonymous_visitor_has_fetched_is_of_who_logs_in_first(serve_members, leaves):
    """Trap 31: A fetches before the login, and does nothing that is reported; then B buys."""
    visitor = serve_members()

    visitor.post("/enter/ada")
    if leaves:
        visitor.post("/leave")
    visitor.post("/enter/bob")
    bought = visitor.post("/event/paid")

    assert bought.text in ("other_user", "no_trace")
    assert visitor.site.events() == []


def test_who_logs_in_keeps_what_was_fetched_before(serve_members):
    visitor = serve_members()

    changing = visitor.post("/enter/ada")
    again = visitor.post("/enter/ada")
    visitor.post("/event/paid")

    assert [("xr2_carry" in answer.cookies) for answer in (changing, again)] == [True, False]
    assert [(event["trace_id"], event["user_id"]) for event in visitor.site.events()] == [(visitor.trace_id, "id-ada")]


@UTCNOW
def test_a_remembered_member_is_known_before_anybody_asks(serve_members):
    """Flask-Login's session knows a remembered member only from the first load on, and we load nobody."""
    visitor = serve_members()
    visitor.post("/enter/ada", remember=1)
    del visitor.jar["session"]

    visitor.post("/event/paid")

    assert [event["user_id"] for event in visitor.site.events()] == ["id-ada"]


@UTCNOW
def test_a_remembered_member_is_known_to_a_streamed_body(serve_members):
    """Flask's own context is gone by then."""
    visitor = serve_members()
    visitor.post("/enter/ada", remember=1)
    del visitor.jar["session"]

    visitor.get("/tracked-stream")

    assert {event["user_id"] for event in visitor.site.events()} == {"id-ada"}


@UTCNOW
def test_a_remembered_member_who_leaves_is_anonymous(serve_members):
    def part():
        logout_user()
        return track_event("parted").reason or "accepted"

    visitor = serve_members(part)
    visitor.post("/enter/ada", remember=1)
    del visitor.jar["session"]

    visitor.post("/part")
    assert "remember_token" not in visitor.jar
    visitor.jar["remember_token"] = "id-eve|forged"
    visitor.post("/event/forged")

    assert [(event["event_name"], event["user_id"]) for event in visitor.site.events()] == [
        ("parted", None),
        ("forged", None),
    ]


def test_a_user_whom_the_loader_no_longer_knows_is_anonymous_once_somebody_asks(serve_members):
    """Before that it is the id of the session: asking the loader would cost its query."""

    def look():
        name = current_user.get_id()
        track_event("looked")
        return name or "nobody"

    visitor = serve_members(look)
    visitor.site.app.login_manager.user_loader(lambda name: None)
    visitor.post("/enter/ada")

    visitor.post("/event/paid")
    answer = visitor.post("/look")

    assert answer.text == "nobody"
    assert {event["event_name"]: event["user_id"] for event in visitor.site.events()} == {
        "paid": "id-ada",
        "looked": None,
    }


def test_views_of_nested_blueprints_are_found_and_named(serve):
    inner, outer = Blueprint("cart", __name__), Blueprint("shop", __name__)

    @inner.post("/pay/<int:order>")
    @track("paid", value=lambda call: call.kwargs["order"])
    def pay(order):
        return {"order": order}, int(request.args.get("status", 200))

    outer.register_blueprint(inner, url_prefix="/cart")
    visitor = serve(
        extend=lambda app: app.register_blueprint(outer, url_prefix="/shop"),
        events={"shop.cart.pay": {"event": "ordered", "value": lambda call: call.kwargs["order"]}},
    )

    visitor.post("/shop/cart/pay/7", status=409)
    assert visitor.site.events() == []

    visitor.post("/shop/cart/pay/7")
    assert sorted((event["event_name"], event["value"]) for event in visitor.site.events()) == [
        ("ordered", 7.0),
        ("paid", 7.0),
    ]


def test_a_streamed_body_in_the_request_context_makes_each_event_once(serve):
    """Trap 16: the teardown of the context runs twice there. `Scope._take` and `Body._end` hand over once only.

    An event that is made twice arrives once all the same, so what is counted is what was made.
    """
    torn_down = []

    @track("purchase_completed")
    def place():
        def parts():
            yield str(has_request_context())
            track_event("shown")

        return stream_with_context(parts())

    def extend(app):
        app.teardown_request(lambda exc: torn_down.append(bound() is not None))

    visitor = serve(place, extend=extend, events={"place": "ordered"})
    torn_down.clear()

    answer = visitor.post("/place")
    answer.native.close()  # as servers do

    assert answer.text == "True"
    assert sorted(visitor.site.event_names()) == ["ordered", "purchase_completed", "shown"]
    assert torn_down
    assert visitor.site.runtime.counts == {"prompt_fetched": 1, "delivered": 3}


def test_a_streamed_body_in_the_request_context_ends_with_the_body_and_not_with_the_context(serve):
    """Trap 16: the context may be torn down long before the body ends, and once more after it.

    It protects that ``Xr2.init_app`` ends the scope of what streams in `Body`, and in no teardown.
    """

    @track("purchase_completed", after="response")
    def place():
        return stream_with_context(iter(["one", "two"]))

    visitor = serve(place, events={"place": "ordered"})

    visitor.abandon("/place")

    assert visitor.site.events() == []
    assert visitor.site.runtime.counts == {"prompt_fetched": 1, "aborted": 2}


def test_a_client_that_keeps_the_context_makes_each_event_once(serve):
    """Trap 16: ``with app.test_client()`` leaves the context open until the next request.

    An event that is made twice arrives once all the same, so what is counted is what was made.
    """

    @track("purchase_completed")
    def place():
        session["name"] = "ada"
        return "bought"

    visitor = serve(place)

    with visitor.site.app.test_client(use_cookies=False) as client:
        client.post("/place", headers=visitor.sent())
        assert session["name"] == "ada"
        assert bound() is None
        client.get("/")

    assert visitor.site.event_names() == ["purchase_completed"]
    assert visitor.site.runtime.counts == {"prompt_fetched": 1, "delivered": 1}


def test_a_plain_response_that_nobody_reads_or_closes_makes_its_events(serve):
    """Trap 17: ``client.post("/buy")``. It protects `exchange.finish` in `_depart`, which needs no body to end."""

    @track("purchase_completed", after="response")
    def place():
        return "bought"

    visitor = serve(place, events={"place": "ordered"})

    response = visitor.site.app.test_client(use_cookies=False).post("/place", headers=visitor.sent())

    assert sorted(visitor.site.event_names()) == ["ordered", "purchase_completed"]
    response.close()


def test_an_event_of_a_teardown_has_the_trace(serve):
    def extend(app):
        app.teardown_request(lambda exc: track_event("torn_down"))

    visitor = serve(extend=extend)

    visitor.get("/")

    assert [event["trace_id"] for event in visitor.site.events()] == [visitor.trace_id]


def test_hooks_see_the_scope_and_what_they_fetch_is_carried(serve):
    def extend(app):
        @app.before_request
        def fetch():
            get_prompt("product")

        @app.after_request
        def note(response):
            response.headers["X-Trace"] = current.trace_id
            return response

    visitor = serve(extend=extend)

    answer = visitor.get("/")
    visitor.post("/event/paid")

    assert answer.header("x-trace").startswith("evt_")
    assert [event["slug"] for event in visitor.site.events()] == ["product"]


def test_an_error_page_carries_what_it_fetched(serve):
    def extend(app):
        @app.errorhandler(404)
        def missing(exc):
            return get_prompt("product").trace_id, 404

    visitor = serve(extend=extend)

    answer = visitor.get("/nowhere")
    visitor.post("/event/paid")

    assert answer.status == 404
    assert [event["trace_id"] for event in visitor.site.events()] == [answer.text]


def test_an_aborted_view_is_no_event(serve):
    @track("purchase_completed")
    def place():
        abort(409)

    visitor = serve(place)

    assert visitor.post("/place").status == 409
    assert visitor.site.events() == []


def test_an_exception_passes_through_a_testing_client(serve):
    """Trap 23: the ``finally`` around the application in `_wrapped` unbinds where it raises, too."""

    def place():
        raise LookupError("the application's own")

    visitor = serve(place, flask={"TESTING": True})

    with pytest.raises(LookupError, match="own"):
        visitor.post("/place")

    assert bound() is None


def test_a_file_is_an_event_when_it_is_answered(serve):
    def ticket():
        return send_file(io.BytesIO(b"ticket"), "text/plain")

    visitor = serve(ticket, events={"ticket": "fetched"})

    assert visitor.post("/ticket").text == "ticket"
    assert visitor.site.event_names() == ["fetched"]


def test_a_thread_sees_the_scope_and_not_the_request(serve):
    """Trap 27."""

    def ask():
        seen = []

        def work():
            seen.extend([current.trace_id, has_request_context(), get_prompt("product").trace_id])
            track_event("worked")

        thread = Thread(target=propagate(work))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(lambda: current.trace_id).result())
        return seen

    visitor = serve(ask)

    known, has_request, fetched, without = visitor.get("/ask").native.json
    visitor.post("/event/paid")

    assert (known, has_request, without) == (visitor.trace_id, False, None)
    assert {event["event_name"]: event["trace_id"] for event in visitor.site.events()} == {
        "worked": fetched,
        "paid": fetched,
    }


def test_work_that_outlives_its_request_reports_under_its_trace(serve):
    """Trap 6: Flask's own context is long gone then."""
    works = []

    def start():
        works.append(propagate(lambda: track_event("worked")))
        return "started"

    visitor = serve(start)
    visitor.get("/start")

    receipt = works[0]()

    assert receipt.accepted
    assert [event["trace_id"] for event in visitor.site.events()] == [visitor.trace_id]


@pytest.mark.parametrize("carry", ["header", "session"])
def test_neither_an_idle_page_nor_an_event_accesses_the_session(serve, carry):
    """Trap 10: `_session` reads the token, and the user, past the mark by which Flask adds ``Vary``."""
    accessed = []

    class Interface(Flask.session_interface.__class__):
        def save_session(self, app, session, response):
            accessed.append(session.accessed)
            super().save_session(app, session, response)

    def extend(app):
        app.session_interface = Interface()

    visitor = serve(extend=extend, carry=carry)
    accessed.clear()

    answers = [visitor.get("/"), visitor.post("/event/paid")]

    assert accessed == [False, False]
    assert [answer.header("vary") for answer in answers] == [None, None]
    assert answers[1].text == "accepted"


def test_without_a_secret_key_cookies_carry_and_sessions_are_named(open_site, caplog):
    site = open_site(keys=[])
    visitor = site.visitor()
    visitor.get("/product/welcome")
    assert visitor.post("/event/paid").text == "accepted"
    site.close()

    site = open_site(keys=[], carry="session")
    answer = site.visitor().get("/product/welcome")

    assert answer.status == 200
    assert answer.header("vary") is None
    assert caplog.text.count("has no SECRET_KEY") == 1


def test_a_factory_installs_with_init_app(local_xr2):
    xr2 = Xr2()

    def create_app():
        app = Flask(__name__)
        app.config.update(XR2_API_KEY=local_xr2.api_key, XR2_BASE_URL=local_xr2.base_url, XR2_OUTBOX="memory")
        xr2.init_app(app)
        app.get("/")(lambda: get_prompt("welcome").trace_id)
        return app

    answers = [create_app().test_client().get("/") for _ in range(2)]

    assert all(answer.text.startswith("evt_") and "Set-Cookie" in answer.headers for answer in answers)


def test_a_misspelt_configuration_key_is_named():
    app = Flask(__name__)
    app.config["XR2_CARY"] = "cookie"

    with pytest.raises(ConfigurationError, match="XR2_CARY is not a setting; did you mean XR2_CARRY"):
        Xr2(app)


def test_a_keyword_wins_over_the_configuration():
    app = Flask(__name__)
    app.config["XR2_CARRY"] = "header"

    Xr2(app, carry="none", enabled=False)

    assert app.extensions["xr2_web"].runtime.settings.carry == "none"


def test_a_foreign_application_mounted_inside_keeps_its_events(serve):
    """It has no hooks of Flask's, so nothing is carried; but nothing is lost either."""

    @track("paid", after="response")
    def pay():
        pass

    def foreign(environ, start_response):
        pay()
        track_event("seen")
        start_response("200 OK", [])
        return [current.trace_id.encode()]

    def mount(app):
        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/foreign": foreign})

    visitor = serve(extend=mount)

    answer = visitor.post("/foreign")

    assert answer.text == visitor.trace_id
    assert visitor.site.event_names() == ["seen", "paid"]


def test_interleaved_bodies_see_their_own_scope_and_leave_none(serve):
    """Trap 3: closed in the wrong order, on one thread."""

    def story():
        get_prompt("welcome", fresh=True)

        def parts():
            yield str(current.trace_id)
            yield str(current.trace_id)

        return parts()

    app = serve(story).site.app
    bodies = [app(EnvironBuilder("/story").get_environ(), lambda status, headers: None) for _ in range(2)]
    first, second = map(iter, bodies)

    seen = [next(first), next(second), next(first), next(second)]
    bodies[0].close()
    assert bound() is None
    bodies[1].close()

    assert seen[0] == seen[2] != seen[1] == seen[3]
    assert bound() is None


def test_a_body_that_is_closed_early_cleans_up_within_its_scope(serve):
    """Trap 2: a generator that is closed runs its ``finally``. It protects the binding in `Body.close`."""

    def story():
        def parts():
            try:
                yield "one"
                yield "two"
            finally:
                track_event("left")

        return parts()

    visitor = serve(story)

    visitor.abandon("/story")

    assert [(event["event_name"], event["trace_id"]) for event in visitor.site.events()] == [("left", visitor.trace_id)]
    assert bound() is None


def test_a_body_that_is_never_read_leaves_no_scope_and_no_event(serve):
    @track("purchase_completed", after="response")
    def story():
        return iter(["one", "two"])

    visitor = serve(story)
    environ = EnvironBuilder("/story", method="POST", headers=visitor.sent()).get_environ()

    body = visitor.site.app(environ, lambda status, headers: None)
    body.close()

    assert visitor.site.events() == []
    assert visitor.site.runtime.counts["aborted"] == 1


def test_an_iterator_that_fails_is_no_event(serve):
    @track("purchase_completed", after="response")
    def story():
        def parts():
            yield "one"
            raise LookupError("the application's own")

        return parts()

    visitor = serve(story)

    with pytest.raises(LookupError):
        visitor.post("/story")

    assert visitor.site.events() == []
    assert bound() is None
