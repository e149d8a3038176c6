"""What is said of events that are missing, beyond what was expected, or somebody else's."""

from __future__ import annotations

from dataclasses import replace

from xr2_web.demo.comparison import Expectation, Fetch, compare
from xr2_web.demo.journal import Arrival, Journal, Trace, decode

ADA_WELCOME, ADA_PRODUCT = Fetch("Ada", "welcome", "evt_a1"), Fetch("Ada", "product", "evt_a2")
BEN_WELCOME, BEN_PRODUCT = Fetch("Ben", "welcome", "evt_b1"), Fetch("Ben", "product", "evt_b2")
FETCHES = [ADA_WELCOME, ADA_PRODUCT, BEN_WELCOME, BEN_PRODUCT]

EXPECTED = [
    Expectation("sign_up", ADA_WELCOME, user_id="1"),
    Expectation("sign_up", BEN_WELCOME, user_id="2"),
    Expectation("purchase_completed", ADA_PRODUCT, user_id="1", value=48.0, currency="EUR"),
    Expectation("purchase_completed", BEN_PRODUCT, user_id="2", value=14.5, currency="EUR"),
]
ADA_SIGN_UP = Arrival("evt_a1", "sign_up", user_id="1", session_id="sa")
BEN_SIGN_UP = Arrival("evt_b1", "sign_up", user_id="2", session_id="sb")
ADA_PURCHASE = Arrival("evt_a2", "purchase_completed", user_id="1", session_id="sa", value=48.0, currency="EUR")
BEN_PURCHASE = Arrival("evt_b2", "purchase_completed", user_id="2", session_id="sb", value=14.5, currency="EUR")
ARRIVED = [ADA_SIGN_UP, BEN_SIGN_UP, ADA_PURCHASE, BEN_PURCHASE]


def told(*arrived: Arrival, expected: list[Expectation] = EXPECTED) -> list[str]:
    findings = compare(expected, arrived, fetches=FETCHES)
    return [problem for finding in findings for problem in finding.problems]


def test_exactly_the_expected_events_are_right_in_whatever_order_they_came() -> None:
    findings = compare(EXPECTED, ARRIVED[::-1], fetches=FETCHES)

    assert [finding.expected for finding in findings] == EXPECTED
    assert [finding.arrived for finding in findings] == ARRIVED
    assert all(finding.is_right for finding in findings)


def test_a_missing_event_is_told() -> None:
    assert told(ADA_SIGN_UP, BEN_SIGN_UP, ADA_PURCHASE) == [
        "purchase_completed was expected under Ben's product trace evt_b2; it did not arrive."
    ]


def test_an_event_under_another_trace_of_its_visitor_is_told() -> None:
    assert told(ADA_SIGN_UP, BEN_SIGN_UP, replace(ADA_PURCHASE, trace_id="evt_a1"), BEN_PURCHASE) == [
        "Ada's purchase_completed arrived under Ada's welcome trace evt_a1; Ada's product trace evt_a2 was expected."
    ]


def test_an_event_under_a_trace_that_nobody_fetched_is_told() -> None:
    assert told(replace(ADA_SIGN_UP, trace_id="evt_x"), BEN_SIGN_UP, ADA_PURCHASE, BEN_PURCHASE) == [
        "Ada's sign_up arrived under the trace evt_x, which no visitor fetched; "
        "Ada's welcome trace evt_a1 was expected."
    ]


def test_an_event_under_the_other_visitors_trace_is_told() -> None:
    mixed_up = replace(ADA_PURCHASE, trace_id="evt_b1")

    assert told(ADA_SIGN_UP, BEN_SIGN_UP, mixed_up, BEN_PURCHASE) == [
        "Ada's purchase_completed arrived under Ben's welcome trace evt_b1; Ada's product trace evt_a2 was expected."
    ]


def test_visitors_whose_events_changed_places_are_told_by_user_value_and_session() -> None:
    swapped = [replace(ADA_PURCHASE, trace_id="evt_b2"), replace(BEN_PURCHASE, trace_id="evt_a2")]

    assert told(ADA_SIGN_UP, BEN_SIGN_UP, *swapped) == [
        "Ada's purchase_completed arrived with the user 2; the user 1 was expected.",
        "Ada's purchase_completed arrived with 14.50 EUR; 48.00 EUR was expected.",
        "Ada's purchase_completed arrived with the session sb, which is also Ben's.",
        "Ada's purchase_completed arrived with the session sb; sa, as before, was expected.",
        "Ben's purchase_completed arrived with the user 1; the user 2 was expected.",
        "Ben's purchase_completed arrived with 48.00 EUR; 14.50 EUR was expected.",
        "Ben's purchase_completed arrived with the session sa, which is also Ada's.",
        "Ben's purchase_completed arrived with the session sa; sb, as before, was expected.",
    ]


def test_a_session_that_two_visitors_share_is_told() -> None:
    shared = [replace(each, session_id="s") for each in (ADA_SIGN_UP, BEN_SIGN_UP)]

    assert told(*shared, expected=EXPECTED[:2]) == [
        "Ada's sign_up arrived with the session s, which is also Ben's.",
        "Ben's sign_up arrived with the session s, which is also Ada's.",
    ]


def test_a_missing_session_user_or_value_is_told() -> None:
    bare = Arrival("evt_a2", "purchase_completed")

    assert told(bare, expected=EXPECTED[2:3]) == [
        "Ada's purchase_completed arrived with no user; the user 1 was expected.",
        "Ada's purchase_completed arrived with no value; 48.00 EUR was expected.",
        "Ada's purchase_completed arrived without a session.",
    ]


def test_a_user_or_value_that_was_not_expected_is_told() -> None:
    expected = Expectation("answer_liked", ADA_WELCOME)
    named = Arrival("evt_a1", "answer_liked", user_id="7", session_id="sa", value=1.0)

    assert told(named, expected=[expected]) == [
        "Ada's answer_liked arrived with the user 7; no user was expected.",
        "Ada's answer_liked arrived with 1.00; none was expected.",
    ]


def test_every_event_beyond_the_expected_ones_is_told_with_its_owner() -> None:
    extras = [
        Arrival("evt_b1", "purchase_completed", session_id="sb"),
        replace(ADA_SIGN_UP, is_duplicate=True),
        Arrival("evt_a1", "opened", refused="Event 'opened' is not defined."),
        Arrival(None, None, refused="Field required"),
    ]

    findings = compare(EXPECTED, [*ARRIVED, *extras], fetches=FETCHES)[len(EXPECTED) :]

    assert [(finding.visitor, *finding.problems) for finding in findings] == [
        ("Ben", "purchase_completed under Ben's welcome trace evt_b1 arrived; it was not expected."),
        ("Ada", "sign_up under Ada's welcome trace evt_a1 arrived once more than expected."),
        ("Ada", "opened under Ada's welcome trace evt_a1 was refused: Event 'opened' is not defined."),
        (None, "An event under no trace was refused: Field required"),
    ]


def test_the_journal_is_read_as_the_local_xr2_documents_it() -> None:
    answer = b"""{"traces": [{"trace_id": "evt_a1", "slug": "welcome", "version_number": 2, "source_name": "xr2_web",
        "events": [{"trace_id": "evt_a1", "event_name": "sign_up", "user_id": "1", "session_id": "sa", "value": null,
        "currency": null, "metadata": {}, "is_duplicate": false, "is_undefined": false, "refused": null}]}],
        "refused": [{"trace_id": null, "event_name": "x", "user_id": null, "session_id": null, "value": null,
        "currency": null, "is_duplicate": false, "refused": "Field required"}]}"""

    assert decode(answer).arrivals() == (
        replace(ADA_SIGN_UP, slug="welcome", version_number=2),
        Arrival(None, "x", refused="Field required"),
    )


def test_what_one_app_did_is_told_apart_from_what_others_did() -> None:
    astray = [Arrival(None, "x", source_name=name, refused="Field required") for name in ("flask_shop", "django_shop")]
    foreign = Arrival("evt_a1", "sign_up", source_name="django_shop")
    traces = (Trace("evt_a1", "welcome", 1, "flask_shop", (foreign,)), Trace("evt_b1", "welcome", 1, "django_shop"))

    # An event of another app under a trace of this one is not hidden: it must not be there.
    assert Journal(traces, tuple(astray)).of("flask_shop") == Journal(traces[:1], (astray[0],))
