from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from xr2_web import settings
from xr2_web.errors import ConfigurationError
from xr2_web.settings import Settings, Source
from xr2_web.values import TRACE_LIFE

KEY = "xr2_live_SECRET"

SPELLINGS: dict[str, Callable[[Mapping[str, object]], Source]] = {
    "{name}=": settings.keywords,
    'XR2["{NAME}"]': lambda given: settings.framework(_upper(given), 'XR2["{upper}"]'),
    "XR2_{NAME}": lambda given: settings.framework(_upper(given), "XR2_{upper}"),
}


def _upper(given: Mapping[str, object]) -> dict[str, object]:
    return {name.upper(): value for name, value in given.items()}


def spell(spelling: str, name: str) -> str:
    return spelling.format(name=name, NAME=name.upper())


def load(**given: object) -> Settings:
    return settings.load(settings.keywords(given))


def problems(**given: object) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(**given)
    return caught.value.problems


def buyer(request: object) -> str:
    return "u1"


class TestNames:
    def test_every_field_has_a_reader_and_a_keyword_of_its_name(self) -> None:
        assert set(Settings._fields) == set(settings._READERS) == settings.SettingsKeywords.__optional_keys__

    @pytest.mark.parametrize("spelling", SPELLINGS)
    @pytest.mark.parametrize(("typed", "meant"), [("api_kye", "api_key"), ("rate_limits", "rate_limit")])
    def test_an_unknown_name_is_an_error_that_shows_the_nearest_as_its_user_writes_it(
        self, spelling: str, typed: str, meant: str
    ) -> None:
        with pytest.raises(ConfigurationError) as caught:
            settings.load(SPELLINGS[spelling]({typed: "x"}))

        hint = f"{spell(spelling, typed)} is not a setting; did you mean {spell(spelling, meant)}?"
        assert caught.value.problems == (hint,)

    def test_a_name_like_no_other_gets_no_hint(self) -> None:
        assert problems(zzz=1) == ("zzz= is not a setting",)

    @pytest.mark.parametrize("name", [1, None, ("a",), "{0.__class__}", "{upper!r:>{9}}"])
    def test_a_strange_name_in_a_dict_is_an_error_and_no_crash(self, name: Any) -> None:
        with pytest.raises(ConfigurationError, match="is not a setting") as caught:
            settings.load(settings.framework({name: 1}, 'XR2["{upper}"]'))

        assert str(name).upper() in str(caught.value)

    def test_unknown_names_in_the_environment_are_somebody_elses(self) -> None:
        chosen = settings.load(settings.environment({"XR2_API_KYE": "x", "XR2_PORT": "1", "PATH": "/bin"}))

        assert chosen == Settings()

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_a_bad_value_is_reported_under_the_name_its_user_wrote(self, spelling: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            settings.load(SPELLINGS[spelling]({"attribution": "middle"}), settings.environment({}))

        assert str(caught.value) == f"{spell(spelling, 'attribution')} must be one of last, first"

    def test_a_bad_value_in_the_environment_is_reported_with_its_variable(self) -> None:
        with pytest.raises(ConfigurationError, match=r"^XR2_CONCURRENCY must be a number from 1 to 64$"):
            settings.load(settings.environment({"XR2_CONCURRENCY": "many"}))

    def test_all_problems_of_all_sources_are_reported_at_once(self) -> None:
        keywords = settings.keywords({"api_key": "", "colour": 1})
        framework = settings.framework({"CARRY": "pigeon", "OUTBOKS": "memory"}, 'XR2["{upper}"]')
        environment = settings.environment({"XR2_RATE_LIMIT": "fast"})

        with pytest.raises(ConfigurationError) as caught:
            settings.load(keywords, framework, environment)

        named = [problem.split()[0] for problem in caught.value.problems]
        assert named == ["colour=", 'XR2["OUTBOKS"]', "api_key=", 'XR2["CARRY"]', "XR2_RATE_LIMIT"]
        assert all(problem in str(caught.value) for problem in caught.value.problems)


class TestOrder:
    SOURCES = (
        settings.keywords({"source_name": "keyword"}),
        settings.framework({"SOURCE_NAME": "framework"}, "XR2_{upper}"),
        settings.environment({"XR2_SOURCE_NAME": "environment"}),
    )

    @pytest.mark.parametrize(
        ("first", "wins"), [(0, "keyword"), (1, "framework"), (2, "environment"), (3, settings.DEFAULT_SOURCE_NAME)]
    )
    def test_keyword_then_framework_then_environment_then_default(self, first: int, wins: str) -> None:
        assert settings.load(*self.SOURCES[first:]).source_name == wins

    def test_a_key_set_to_none_wins_over_the_environment(self) -> None:
        chosen = settings.load(settings.keywords({"api_key": None}), settings.environment({"XR2_API_KEY": KEY}))

        assert chosen.api_key is None

    def test_the_environment_gives_every_kind_of_value(self) -> None:
        environ = {
            "XR2_API_KEY": KEY,
            "XR2_BASE_URL": "https://xr2.example/",
            "XR2_ENABLED": "false",
            "XR2_EVENTS": '{"shop": "purchase_completed"}',
            "XR2_CARRY_MAX_AGE": "3600",
            "XR2_RATE_LIMIT": "30/min",
            "XR2_SHUTDOWN_TIMEOUT": "0.5",
            "XR2_USER_ID": f"{__name__}.buyer",
            "XR2_RESPECT_GPC": "no",
        }

        chosen = settings.load(settings.environment(environ))

        assert chosen == Settings(
            api_key=KEY,
            base_url="https://xr2.example",
            enabled=False,
            events={"shop": {"event": "purchase_completed"}},
            carry_max_age=3600,
            rate_limit=30,
            shutdown_timeout=0.5,
            user_id=chosen.user_id,
            respect_gpc=False,
        )
        assert chosen.user_id is not None
        assert chosen.user_id(None) == "u1"


class TestApiKey:
    def test_a_missing_key_is_no_error_but_keeps_everything_off(self) -> None:
        chosen = settings.load(settings.environment({}))

        assert not chosen.is_active
        assert chosen.why_inactive == "API_KEY is not set"

    def test_it_is_active_with_a_key_until_it_is_disabled(self) -> None:
        assert load(api_key=KEY).is_active
        assert not load(api_key=KEY, enabled=False).is_active
        assert load(api_key=KEY, enabled=False).why_inactive == "ENABLED is false"

    @pytest.mark.parametrize("key", ["", " ", "a b", "a\r\nX-Evil: 1", "a\n", "ключ", "a\0", "a\x7f", b"bytes", 1])
    def test_a_malformed_key_is_an_error_that_does_not_quote_it(self, key: object) -> None:
        assert problems(api_key=key) == (
            "api_key= is malformed: empty, or with white space, control or non-ASCII characters",
        )


class TestSecrets:
    def test_no_secret_shows_in_a_repr(self) -> None:
        chosen = load(api_key=KEY, secret_key="SECRET2", base_url="https://xr2.example")

        assert "https://xr2.example" in repr(chosen)
        assert "SECRET" not in f"{chosen!r} {chosen}"

    def test_settings_have_no_vars_to_print_and_cannot_be_changed(self) -> None:
        chosen = load(api_key=KEY)

        assert not hasattr(chosen, "__dict__")
        with pytest.raises(AttributeError):
            chosen.api_key = "other"  # type: ignore[misc]

    @pytest.mark.parametrize(
        "given",
        [
            {"api_key": "SECRET \n"},
            {"base_url": "https://user:SECRET@xr2.uk"},
            {"base_url": "https://xr2.uk/?key=SECRET"},
            {"base_url": "https://xr2.uk:SECRET"},
            {"secret_key": 5, "api_key": "SECRET ключ"},
            {"events": "SECRET"},
        ],
    )
    def test_no_secret_shows_in_an_error_or_its_traceback(self, given: dict[str, object]) -> None:
        with pytest.raises(ConfigurationError) as caught:
            load(**given)

        shown = "".join(traceback.format_exception(caught.value)).replace(__file__, "")
        assert "SECRET" not in f"{caught.value!r}{caught.value.problems}"
        assert "SECRET" not in "\n".join(line for line in shown.splitlines() if not line.startswith("  "))

    @pytest.mark.parametrize("value", ["", b"bytes", 5])
    def test_a_secret_key_must_be_text(self, value: object) -> None:
        assert problems(secret_key=value) == ("secret_key= must be text and not empty",)


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("given", "read"),
        [
            ("https://xr2.uk", "https://xr2.uk"),
            ("https://xr2.uk/", "https://xr2.uk"),
            ("http://localhost:8765", "http://localhost:8765"),
            ("http://[::1]:8765/", "http://[::1]:8765"),
            ("https://example.com/proxy/xr2//", "https://example.com/proxy/xr2"),
            ("HTTPS://XR2.UK", "HTTPS://XR2.UK"),
        ],
    )
    def test_an_address_is_taken_without_its_last_slash(self, given: str, read: str) -> None:
        assert load(base_url=given).base_url == read

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ("", "must begin with https:// or http://"),
            ("xr2.uk", "must begin with"),
            ("//xr2.uk", "must begin with"),
            ("file:///etc/passwd", "must begin with"),
            ("ftp://xr2.uk", "must begin with"),
            ("javascript:alert(1)", "must begin with"),
            ("http://", "must be a scheme, a host"),
            ("https:///api", "must be a scheme, a host"),
            ("https://:443", "must be a scheme, a host"),
            ("https://xr2.uk:0", "must be a scheme, a host"),
            ("https://xr2.uk?", "must be a scheme, a host"),
            ("https://xr2.uk#", "must be a scheme, a host"),
            ("https://xr2.uk/?a=b", "must be a scheme, a host"),
            ("https://xr2.uk/#top", "must be a scheme, a host"),
            ("https://xr2.uk:99999", "has no valid host and port"),
            ("https://xr2.uk:port", "has no valid host and port"),
            ("https://[::1", "has no valid host and port"),
            ("https://user@xr2.uk", "must not hold a user name or password"),
            ("https://user:pass@xr2.uk", "must not hold a user name or password"),
            ("https://xr2.uk\\@evil.example", "must be an address"),
            ("https://xr2.uk\r\nX-Evil: 1", "must be an address"),
            ("https://xr2.uk/a b", "must be an address"),
            ("https://xr2.uk/\0", "must be an address"),
            ("https://ключ.uk", "must be an address"),
            (None, "must be an address"),
            (b"https://xr2.uk", "must be an address"),
        ],
    )
    def test_any_other_is_refused(self, given: object, why: str) -> None:
        [problem] = problems(base_url=given)

        assert problem.startswith(f"base_url= {why}")


class TestRateLimit:
    @pytest.mark.parametrize(
        ("given", "limit"), [(None, None), ("", None), (60, 60), ("60", 60), ("60/min", 60), (" 60 / min ", 60)]
    )
    def test_it_is_requests_a_minute_or_none(self, given: object, limit: int | None) -> None:
        assert load(rate_limit=given).rate_limit == limit

    @pytest.mark.parametrize("given", [0, -1, "0/min", "1.5", 1.5, "60/s", "fast", True, "9" * 7])
    def test_anything_else_is_refused(self, given: object) -> None:
        [problem] = problems(rate_limit=given)

        assert problem.startswith("rate_limit= must be a number of requests a minute such as 90/min")

    @pytest.mark.parametrize(
        ("base_url", "limit"),
        [
            ("https://xr2.uk", 90),
            ("https://localhost.example", 90),
            ("http://10.0.0.1", 90),
            ("http://localhost:8765", None),
            ("http://127.0.0.1:8765", None),
            ("http://127.8.8.8", None),
            ("http://[::1]:8765", None),
        ],
    )
    def test_only_on_loopback_there_is_none_by_default(self, base_url: str, limit: int | None) -> None:
        assert load(base_url=base_url).rate_limit == limit
        assert load(base_url=base_url, rate_limit=5).rate_limit == 5


class TestEvents:
    def test_a_rule_is_an_event_name_or_the_options_of_track(self) -> None:
        options = {
            "event": "purchase_completed",
            "value": 5,
            "when": buyer,
            "methods": ["GET"],
            "after": "response",
            "metadata": {"plan": "pro"},
        }

        chosen = load(events={"shop:checkout": "sign_up", "POST /orders/{id}": options})

        assert chosen.events == {"shop:checkout": {"event": "sign_up"}, "POST /orders/{id}": options}

    def test_what_is_changed_afterwards_does_not_change_the_settings(self) -> None:
        options = {"event": "sign_up"}
        events = {"register": options}

        chosen = load(events=events)
        options["event"] = "other"
        events.clear()

        assert chosen.events == {"register": {"event": "sign_up"}}

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ("", "event_name: must have 1 to 100 characters, has 0"),
            ("e" * 101, "event_name: must have 1 to 100 characters, has 101"),
            (None, "must be an event name or options with an 'event'"),
            ({"value": 5}, "must be an event name or options with an 'event'"),
            ({"event": 5}, "event_name: must be text, not int"),
            ({"event": "e", "vaule": 5, "amount": 1}, "has unknown options: amount, vaule"),
            ({"event": "e", 1: 5}, "has unknown options: 1"),
            ({"event": "e", "after": "commit"}, "may say after='response' only"),
            ({"event": "e", "when": "redirected"}, "has a 'when' that is no function"),
            ({"event": "e", "methods": 5}, "has 'methods' that are not names such as GET"),
            ({"event": "e", "methods": [b"GET"]}, "has 'methods' that are not names such as GET"),
        ],
    )
    def test_a_rule_that_cannot_work_is_refused_by_name(self, options: object, why: str) -> None:
        assert problems(events={"shop": options}) == (f"events= ['shop'] {why}",)

    @pytest.mark.parametrize("rule", ["", 5, None])
    def test_a_rule_needs_the_name_of_a_route(self, rule: Any) -> None:
        assert problems(events={rule: "e"}) == (f"events= [{rule!r}] is not the name of a route",)

    @pytest.mark.parametrize(
        "rule",
        [
            "/orders",
            "POST orders",
            "POST  /orders",
            "POST /orders/<int:id>",
            "POST /orders/{id:int}",
            "POST /orders/{}",
        ],
    )
    def test_a_path_that_no_request_can_match_is_refused(self, rule: str) -> None:
        [problem] = problems(events={rule: "e"})

        assert problem.startswith(f"events= [{rule!r}] is no method and path such as")

    @pytest.mark.parametrize(
        "rule",
        ["shop:checkout", "shop.checkout", "post it", "POST /", "post /orders/{id}/lines/{number}", "PURGE /x y"],
    )
    def test_names_and_paths_of_every_framework_are_taken(self, rule: str) -> None:
        assert list(load(events={rule: "e"}).events) == [rule]

    def test_all_rules_that_cannot_work_are_named_at_once(self) -> None:
        [problem] = problems(events={"a": "", "b": "fine", "c": None})

        assert "['a']" in problem
        assert "['c']" in problem
        assert "['b']" not in problem

    @pytest.mark.parametrize("events", ["{", "[]", '"sign_up"', "5", [("a", "b")], None])
    def test_only_a_mapping_or_its_json_is_taken(self, events: object) -> None:
        [problem] = problems(events=events)

        assert problem.startswith("events= must ")


class TestOthers:
    @pytest.mark.parametrize(
        ("given", "read"),
        [(True, True), (False, False), ("1", True), ("On", True), (" YES ", True), ("0", False), ("Off", False)],
    )
    def test_flags_are_read_as_people_write_them(self, given: object, read: bool) -> None:
        assert load(enabled=given).enabled is read

    @pytest.mark.parametrize("given", ["", "maybe", "2", 1, 0, None])
    def test_a_flag_that_is_neither_is_refused(self, given: object) -> None:
        assert problems(respect_gpc=given) == ("respect_gpc= must be true or false",)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("carry_max_age", 59),
            ("carry_max_age", TRACE_LIFE + 1),
            ("concurrency", 0),
            ("concurrency", 65),
            ("concurrency", True),
            ("concurrency", None),
            ("outbox_max_events", 0),
            ("shutdown_timeout", -1),
            ("shutdown_timeout", float("nan")),
            ("shutdown_timeout", float("inf")),
            ("prompt_deadline", 0),
            ("prompt_deadline", "soon"),
        ],
    )
    def test_an_amount_out_of_its_range_is_refused(self, name: str, value: object) -> None:
        [problem] = problems(**{name: value})

        assert problem.startswith(f"{name}= must be a number from ")

    @pytest.mark.parametrize("name", ["user_id", "consent", "outbox"])
    def test_a_function_comes_as_itself_or_by_its_dotted_path(self, name: str) -> None:
        assert getattr(load(**{name: buyer}), name) is buyer
        assert getattr(load(**{name: f"{__name__}.buyer"}), name)("request") == "u1"

    @pytest.mark.parametrize("name", ["user_id", "consent", "outbox"])
    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (5, "must be a callable or the dotted path of one"),
            ("no.such.module", "names no.such.module, which cannot be imported: No module named 'no'"),
            ("json.nothing", "names json.nothing, which cannot be imported: module 'json' has no attribute 'nothing'"),
            ("json.__name__", "names json.__name__, which is not callable"),
            (".relative.buyer", "names .relative.buyer, which cannot be imported"),
        ],
    )
    def test_a_path_that_leads_nowhere_is_refused(self, name: str, value: object, why: str) -> None:
        [problem] = problems(**{name: value})

        assert problem.startswith(f"{name}= {why}")

    @pytest.mark.parametrize("name", ["user_id", "consent"])
    def test_a_name_without_a_module_is_no_function(self, name: str) -> None:
        assert problems(**{name: "buyer"}) == (f"{name}= must be a callable or the dotted path of one",)

    def test_a_wrong_outbox_is_told_with_those_that_there_are(self) -> None:
        assert problems(outbox="spol") == (
            "outbox= must be one of spool, memory, database, celery, a callable or the dotted path of one",
        )

    @pytest.mark.parametrize("value", ["a b", "a\r\nb", "имя", "a;b", "a=b", "x" * 65, 5])
    def test_a_carry_name_must_be_one_of_a_cookie_and_a_header(self, value: object) -> None:
        assert problems(carry_name=value) == (
            "carry_name= must be the name of a cookie or header: letters, digits and -_.",
        )

    @pytest.mark.parametrize("value", ["", "a\r\nb", "x" * 101, None])
    def test_a_source_name_must_be_short_and_printable(self, value: object) -> None:
        assert problems(source_name=value) == ("source_name= must be text of 1 to 100 characters",)

    def test_good_values_of_the_rest_are_taken(self) -> None:
        chosen = load(carry_name="", outbox="memory", attribution="first", carry="header", secret_key="s" * 50)

        assert (chosen.carry_name, chosen.outbox, chosen.attribution, chosen.carry) == ("", "memory", "first", "header")
        assert chosen.secret_key == "s" * 50
