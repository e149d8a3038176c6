"""What Django REST framework adds to Django: views that raise their refusals, users of its own, and routers."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("django")
pytest.importorskip("pytest_django")
pytest.importorskip("rest_framework", reason="djangorestframework is not installed")

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.http import Http404
from django.urls import include
from django.urls import path as url
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.decorators import action, api_view, authentication_classes, permission_classes
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.test import APIClient
from rest_framework.views import APIView, exception_handler
from rest_framework.viewsets import ModelViewSet, ViewSet

from xr2_web import current, track, track_event

from .modes import DJANGO_SYNC
from .test_django import counted_queries, session_of


@pytest.fixture(params=DJANGO_SYNC)
def mode(request):
    """Its views are sync functions."""
    return request.param


@pytest.fixture
def serve(open_site):
    """Open a site with these patterns, and return a visitor of it who has fetched ``welcome``."""

    def serve(*patterns: Any, **options: Any) -> Any:
        visitor = open_site(extend=lambda known: known.extend(patterns), **options).visitor()
        visitor.trace_id = visitor.get("/product/welcome").text
        return visitor

    return serve


@pytest.fixture
def member(_django_database):
    """A user with a token, in the header that carries it."""
    user = get_user_model().objects.create(username="ada")
    token = Token.objects.create(user=user)
    yield {"id": str(user.pk), "Authorization": f"Token {token.key}"}
    Token.objects.all().delete()


class OrderSerializer(serializers.Serializer):
    total = serializers.FloatField()


def place(request: Any) -> Response:
    """Answer as an API of orders does, with the status of the query."""
    order = OrderSerializer(data=request.query_params)
    order.is_valid(raise_exception=True)
    status = int(request.query_params.get("status", 201))
    if status == 404:
        raise Http404
    if status == 403:
        raise PermissionDenied
    return Response(order.data, status=status)


purchase = track("purchase_completed", value=lambda call: call.result.data["total"])


class OnHandler(APIView):
    @purchase
    def post(self, request):
        return place(request)

    def get(self, request):
        return Response([])


@purchase
class OnClass(APIView):
    def post(self, request):
        return place(request)

    def get(self, request):
        return Response([])


@method_decorator(purchase, name="post")
class OnMethod(APIView):
    def post(self, request):
        return place(request)

    def get(self, request):
        return Response([])


@method_decorator([never_cache, track("purchase_completed")], name="dispatch")
class OnDispatch(APIView):
    def post(self, request):
        return place(request)

    def get(self, request):
        return Response([])


@api_view(["GET", "POST"])
@purchase
def below(request):
    return place(request) if request.method == "POST" else Response([])


@track("purchase_completed")
@api_view(["GET", "POST"])
def above(request):
    return place(request) if request.method == "POST" else Response([])


@api_view(["GET", "POST"])
@purchase
@authentication_classes([])
@permission_classes([])
def above_the_policies(request):
    return place(request) if request.method == "POST" else Response([])


class OnCreate(ViewSet):
    @purchase
    def create(self, request):
        return place(request)

    def list(self, request):
        return Response([])


VIEWS = {
    "handler": OnHandler.as_view(),
    "class": OnClass.as_view(),
    "method": OnMethod.as_view(),
    "dispatch": OnDispatch.as_view(),
    "below": below,
    "above": above,
    "above the policies": above_the_policies,
    "viewset": OnCreate.as_view({"get": "list", "post": "create"}),
}


@pytest.fixture(params=VIEWS)
def orders(request, serve):
    """A visitor of a site that takes orders at ``/orders``."""
    return serve(url("orders", VIEWS[request.param]))


def test_an_order_is_an_event(orders):
    answer = orders.post("/orders", total=12)

    assert (answer.status, answer.native.json()) == (201, {"total": 12.0})
    (event,) = orders.site.events()
    assert (event["event_name"], event["trace_id"]) == ("purchase_completed", orders.trace_id)
    assert event["value"] in (12.0, None)  # a decorator of the whole view sees what it answers to errors too


@pytest.mark.parametrize("query", [{}, {"total": "much"}, {"total": 1, "status": 404}, {"total": 1, "status": 403}])
def test_what_the_exception_handler_answers_is_no_event(orders, query):
    answer = orders.post("/orders", **query)

    assert answer.status == query.get("status", 400)
    assert orders.site.events() == []


def test_a_response_with_an_error_is_no_event(orders):
    assert orders.post("/orders", total=1, status=409).status == 409
    assert orders.site.events() == []


def test_opening_the_list_is_no_event(orders):
    answers = [orders.request(method, "/orders") for method in ("GET", "OPTIONS", "HEAD")]

    assert [answer.status for answer in answers][:2] == [200, 200]
    assert orders.site.events() == []


def test_a_method_that_is_not_allowed_is_no_event(orders):
    assert orders.request("PUT", "/orders", total=1).status == 405
    assert orders.site.events() == []


class Refused(APIException):
    pass


def lenient(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Handle what the application refuses by an answer that is no error."""
    return Response({"error": "refused"}, status=200) if isinstance(exc, Refused) else exception_handler(exc, context)


@pytest.mark.parametrize("is_above", [False, True])
def test_an_exception_that_is_answered_with_success_is_an_event_of_the_whole_view_only(serve, is_above):
    """Below the decorator of the view it is an exception, above it a response."""

    def refuse(request):
        raise Refused

    tracked = track("purchase_completed")
    view = tracked(api_view(["POST"])(refuse)) if is_above else api_view(["POST"])(tracked(refuse))
    visitor = serve(url("refuse", view), django={"REST_FRAMEWORK": {"EXCEPTION_HANDLER": f"{__name__}.lenient"}})

    assert visitor.post("/refuse").status == 200
    assert visitor.site.event_names() == (["purchase_completed"] if is_above else [])


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = get_user_model()
        fields = ("username",)


class Users(ModelViewSet):
    queryset = get_user_model().objects.all()
    serializer_class = UserSerializer
    authentication_classes = ()

    @track("sign_up", value=lambda call: len(call.request.data["username"]))
    def create(self, request, *args, **kwargs):
        return super().create(request, *args, **kwargs)

    @track("looked")
    def list(self, request, *args, **kwargs):
        return super().list(request, *args, **kwargs)

    @track("looked_closely")
    def retrieve(self, request, *args, **kwargs):
        return super().retrieve(request, *args, **kwargs)

    @track("left")
    def destroy(self, request, *args, **kwargs):
        return super().destroy(request, *args, **kwargs)

    @action(detail=True, methods=["post"])
    @track("greeted")
    def greet(self, request, pk=None):
        return Response({"hello": self.get_object().username})

    @track("praised", value=lambda call: int(call.kwargs["pk"]))
    @action(detail=True, methods=["post"], url_path="praise-loudly", permission_classes=[])
    def praise(self, request, pk=None):
        return Response({"well": self.get_object().username})

    @praise.mapping.delete
    @track("unpraised")
    def unpraise(self, request, pk=None):
        return Response(status=204)


@pytest.fixture
def users(serve):
    router = SimpleRouter()
    router.register("users", Users)
    return serve(url("", include(router.urls)), events={"user-greet": "route_greeted"})


def test_the_actions_of_a_router_are_events(users):
    client = APIClient(headers=users.sent())
    name = {"username": "grace"}

    created = client.post("/users/", name, format="json")
    invalid = client.post("/users/", name, format="json")
    pk = get_user_model().objects.get(username="grace").pk
    client.get("/users/")
    client.get(f"/users/{pk}/")
    missing = client.post("/users/0/greet/")
    client.post(f"/users/{pk}/greet/")
    client.post(f"/users/{pk}/praise-loudly/")
    client.delete(f"/users/{pk}/praise-loudly/")
    client.delete(f"/users/{pk}/")

    assert (created.status_code, invalid.status_code, missing.status_code) == (201, 400, 404)
    events = users.site.events()
    assert [event["event_name"] for event in events] == [
        "sign_up",
        "greeted",
        "route_greeted",
        "praised",
        "unpraised",
        "left",
    ]
    assert [event["value"] for event in events if event["value"] is not None] == [5.0, float(pk)]


def test_fields_see_the_request_of_the_framework(serve):
    """With the data that it has parsed, which Django's own request cannot give any more."""

    @api_view(["POST"])
    @track("ordered", metadata=lambda call: {"data": call.request.data, "same": call.request is call.args[0]})
    def order(request):
        return Response(request.data)

    visitor = serve(url("order", order))

    APIClient(headers=visitor.sent()).post("/order", {"tea": 2}, format="json")

    assert [event["metadata"] for event in visitor.site.events()] == [{"data": {"tea": 2}, "same": True}]


def test_a_token_names_the_user(serve, member):
    @api_view(["POST"])
    @authentication_classes([TokenAuthentication])
    @permission_classes([IsAuthenticated])
    @track("purchase_completed")
    def buy(request):
        track_event("paid")
        return Response({"user": current.user_id})

    visitor = serve(url("purchase", buy, name="purchase"), events={"purchase": "bought"})

    assert visitor.post("/purchase").status == 401
    visitor.headers["Authorization"] = member["Authorization"]
    answer = visitor.post("/purchase")

    assert answer.native.json() == {"user": member["id"]}
    assert {event["event_name"]: event["user_id"] for event in visitor.site.events()} == dict.fromkeys(
        ["paid", "purchase_completed", "bought"], member["id"]
    )


def test_the_session_names_the_user(serve):
    @api_view(["POST"])
    @authentication_classes([SessionAuthentication])
    @track("purchase_completed")
    def buy(request):
        return Response({"user": request.user.pk})

    visitor = serve(url("purchase", buy))
    user = visitor.post("/login/ada")

    visitor.post("/purchase")

    assert [event["user_id"] for event in visitor.site.events()] == [user.text, user.text]


def test_a_view_without_authentication_has_no_user(serve):
    """Whatever Django's session says: to this view the visitor is anonymous."""

    @api_view(["POST"])
    @authentication_classes([])
    @track("purchase_completed")
    def buy(request):
        assert isinstance(request.user, AnonymousUser)
        return Response({})

    visitor = serve(url("purchase", buy))
    visitor.post("/login/ada")

    visitor.post("/purchase")

    assert [event["user_id"] for event in visitor.site.events() if event["event_name"] != "logged_in"] == [None]


class ByHeader(BaseAuthentication):
    """Authenticates a user who is no model of Django's."""

    class Machine:
        is_authenticated = True

        def __init__(self, name: str) -> None:
            self.id = name

    def authenticate(self, request):
        return self.Machine(request.headers["X-Machine"]), None


def test_a_user_who_is_no_model_is_named_by_the_id(serve):
    @api_view(["POST"])
    @authentication_classes([ByHeader])
    @track("purchase_completed")
    def buy(request):
        return Response({})

    visitor = serve(url("purchase", buy))
    visitor.headers["X-Machine"] = "m-7"

    visitor.post("/purchase")

    assert [event["user_id"] for event in visitor.site.events()] == ["m-7"]


def test_a_view_that_authenticates_late_costs_no_query_of_ours(serve, member):
    """Trap 10: the user that the framework has loaded is taken as it is."""

    @api_view(["POST"])
    @authentication_classes([TokenAuthentication])
    def buy(request):
        track_event("paid")
        return Response({})

    visitor = serve(url("purchase", buy))
    visitor.headers["Authorization"] = member["Authorization"]

    with counted_queries() as queries:
        visitor.post("/purchase")

    assert len(queries) == 1
    assert "authtoken_token" in queries[0]
    assert [event["user_id"] for event in visitor.site.events()] == [member["id"]]


def test_an_idle_api_costs_no_query_and_no_session(serve):
    """Trap 10."""

    @api_view(["GET", "POST"])
    @authentication_classes([])
    def idle(request):
        return Response({})

    visitor = serve(url("idle", idle))
    visitor.post("/login/ada")

    with counted_queries() as queries:
        answers = [visitor.get("/idle"), visitor.post("/idle")]

    assert queries == []
    assert [session_of(answer).session.accessed for answer in answers] == [False, False]
    assert [(answer.header("vary"), answer.cookies) for answer in answers] == [("Accept", {})] * 2


@pytest.fixture
def atomic_requests():
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.mark.usefixtures("atomic_requests")
class TestAtomicRequests:
    """Trap 13: the exception handler marks the transaction, and the response leaves as if nothing were."""

    @pytest.fixture
    def visitor(self, serve):
        @api_view(["POST"])
        def order(request):
            get_user_model().objects.create(username="order")
            track_event("paid")
            placed(request)
            return place(request)

        @track("placed")
        def placed(request):
            return 1

        @track("above")
        @api_view(["POST"])
        def outer(request):
            with transaction.atomic():
                track_event("paid")
            return place(request)

        return serve(url("order", order, name="order"), url("outer", outer), events={"order": "ordered"})

    @pytest.mark.parametrize("path", ["/order", "/outer"])
    @pytest.mark.parametrize("query", [{}, {"total": 1, "status": 404}, {"total": 1, "status": 403}])
    def test_a_request_that_is_rolled_back_makes_no_event(self, visitor, path, query):
        assert visitor.post(path, **query).status == query.get("status", 400)

        assert visitor.site.events() == []
        assert not get_user_model().objects.exists()

    def test_a_request_that_commits_makes_its_events(self, visitor):
        visitor.post("/order", total=1)
        visitor.post("/outer", total=1)

        assert sorted(visitor.site.event_names()) == ["above", "ordered", "paid", "placed"]

    def test_an_error_that_is_returned_commits_what_the_view_reported(self, visitor):
        """Only what is raised is rolled back."""
        visitor.post("/order", total=1, status=409)

        assert sorted(visitor.site.event_names()) == ["paid", "placed"]
        assert get_user_model().objects.exists()
