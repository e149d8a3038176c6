"""The page of a prompt: what its versions brought, against numbers worked out by hand."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from xr2_web.devserver import Store
from xr2_web.devserver.intervals import difference, wilson
from xr2_web.devserver.store import Trace

from .conftest import NOW, Visitor

NONE, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
AB_TEST = '---\nversion = {0}\nab_test = "tone"\n---\nText {0}'


def page(visitor: Visitor, slug: str = "welcome") -> str:
    answer = visitor.http.get(f"/prompts/{slug}")
    assert answer.status_code == 200
    return answer.text


def tables(visitor: Visitor) -> dict[str, list[list[str]]]:
    """Return the rows of the table of each event: version, fetches, events, rate, interval, revenue."""
    return dict(_tables(page(visitor)))


def _tables(shown: str) -> Iterator[tuple[str, list[list[str]]]]:
    for section in re.findall(r'<article class="conversion".*?</article>', shown, re.DOTALL):
        [name] = re.findall("<h2>(.*?)</h2>", section)
        [body] = re.findall("<tbody>(.*?)</tbody>", section, re.DOTALL)
        rows = re.findall("<tr>(.*?)</tr>", body, re.DOTALL)
        yield name, [[_text(cell) for cell in re.findall("<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


def _text(markup: str) -> str:
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", markup)).split())


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe 1998, "Interval estimation for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
        # Worked out by hand: with one trial the near limit is 1 / (1 + z²).
        (1, 1, 0.2065, 1.0),
        (0, 1, 0.0, 0.7935),
    ],
)
def test_a_rate_has_the_interval_that_wilson_gives(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=0.00006)


def test_of_nothing_tried_nothing_is_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert difference((0, 0), (1, 2)) == (-1.0, 1.0)
    assert difference((1, 2), (0, 0)) == (-1.0, 1.0)


def test_no_rate_is_below_none_or_above_all() -> None:
    lowest = min(wilson(0, trials).low for trials in range(1, 500))
    highest = max(wilson(trials, trials).high for trials in range(1, 500))

    assert (lowest, highest) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        # Newcombe 1998, "Interval estimation for the difference", table II, method 10; there one minus other.
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((0, 20), (0, 10), -0.1611, 0.2775),
        ((0, 10), (10, 10), 0.6075, 1.0),
    ],
)
def test_two_rates_differ_by_the_interval_that_newcombe_gives(
    one: tuple[int, int], other: tuple[int, int], low: float, high: float
) -> None:
    assert difference(one, other) == pytest.approx((low, high), abs=0.00006)


def test_versions_stand_side_by_side_with_their_numbers(visitor: Visitor) -> None:
    visitor.write(welcome="---\nversion = 1\n---\nHi", welcome__2='---\nversion = 2\nstatus = "testing"\n---\nHi')
    first = [visitor.trace_id() for _ in range(20)]
    second = [visitor.fetch(version_number=1).json()["trace_id"] for _ in range(9)]
    third = [visitor.fetch(version_number=2).json()["trace_id"] for _ in range(10)]
    for trace_id in [*first, *second][:1]:
        visitor.send(trace_id, "sign_up")
    for trace_id in third[:9]:
        visitor.send(trace_id, "sign_up")
    visitor.send(third[0], "paid", value=20, currency="EUR")
    visitor.send(third[1], "paid", value=0.1, currency="EUR")
    visitor.send(third[2], "paid", value=0.2, currency="EUR")
    visitor.send(third[3], "paid", value=5, currency="USD")
    visitor.send(third[4], "paid", value=7)
    visitor.send(third[5], "paid")
    visitor.send(third[6], "paid", value=1, currency="")

    assert tables(visitor) == {
        "sign_up": [
            ["version 1", "29", "1", "3.4 %", "0.6 to 17.2", NONE],
            ["version 2", "10", "9", "90.0 %", "59.6 to 98.2", NONE],
        ],
        "paid": [
            ["version 1", "29", "0", "0.0 %", "0.0 to 11.7", NONE],
            ["version 2", "10", "7", "70.0 %", "39.7 to 89.2", "8 20.30 EUR 5 USD"],
        ],
    }


def test_duplicates_and_refused_events_do_not_count(visitor: Visitor) -> None:
    visitor.define("[sign_up]\n[other]")
    trace_id = visitor.trace_id()
    visitor.trace_id()
    visitor.send(trace_id, value=1, currency="EUR")
    visitor.send(trace_id, value=50, currency="EUR")
    visitor.send(trace_id, "undefined", value=50, currency="EUR")
    visitor.send("evt_c0b137fe_1_00000000", value=50, currency="EUR")
    visitor.now += 31 * 24 * 60 * 60
    visitor.send(trace_id, "other", value=50, currency="EUR")

    assert tables(visitor) == {"sign_up": [["version 1", "2", "1", "50.0 %", "9.5 to 90.5", "1 EUR"]]}


def test_another_prompt_does_not_count(visitor: Visitor) -> None:
    visitor.write(product="Hi")
    visitor.send(visitor.trace_id())
    visitor.fetch("product")

    shown = page(visitor, "product")

    assert "No event has followed yet" in shown
    assert "sign_up" not in shown


def test_the_variants_of_an_ab_test_are_compared_in_words(visitor: Visitor) -> None:
    visitor.write(welcome=AB_TEST.format(1), welcome__b=AB_TEST.format(2))
    served = [visitor.fetch().json() for _ in range(20)]
    for each in served:
        if each["version_number"] == 2:
            visitor.send(each["trace_id"], "sign_up")
    visitor.send(served[0]["trace_id"], "paid")

    [certain, chance] = re.findall('<p class="verdict">(.*?)</p>', page(visitor))

    # 0 of 10 against 10 of 10, and 1 of 10 against 0 of 10.
    assert certain.endswith("+100.0 points, which is more than chance makes (95 % interval +60.8 to +100.0).")
    assert chance.endswith(f"{MINUS}10.0 points, which may be chance (95 % interval {MINUS}40.4 to +18.9).")
    assert [row[0] for row in tables(visitor)["paid"]] == ["version 1, tone: version_a", "version 2, tone: version_b"]


def test_a_variant_that_is_worse_for_sure_is_told_too(visitor: Visitor) -> None:
    visitor.write(welcome=AB_TEST.format(1), welcome__b=AB_TEST.format(2))
    for _ in range(20):
        served = visitor.fetch().json()
        if served["version_number"] == 1:
            visitor.send(served["trace_id"])

    [told] = re.findall('<p class="verdict">(.*?)</p>', page(visitor))

    assert told == (
        f"tone, version_b against version_a: {MINUS}100.0 points, which is more than chance makes "
        f"(95 % interval {MINUS}100.0 to {MINUS}60.8)."
    )


def test_each_ab_test_that_was_run_is_compared_on_its_own(visitor: Visitor) -> None:
    for name in ("tone", "length"):
        tested = AB_TEST.replace("tone", name)
        visitor.write(welcome=tested.format(1), welcome__b=tested.format(2))
        for _ in range(2):
            visitor.send(visitor.trace_id())

    told = re.findall('<p class="verdict">(.*?),', page(visitor))

    assert sorted(told) == ["length", "tone"]


def test_the_rows_stand_in_the_order_of_versions_tests_and_variants(visitor: Visitor, store: Store) -> None:
    arms = [
        (2, None, None),
        (2, "length", "version_b"),
        (2, "tone", "version_a"),
        (2, "tone", "version_b"),
        (10, None, None),
        (10, "length", "version_a"),
    ]
    for number, arm in enumerate(reversed(arms)):
        store.add_trace(Trace(f"evt_{number}", "welcome", arm[0], "tests", NOW, *arm[1:]))
    visitor.send("evt_0")

    assert [row[0] for row in tables(visitor)["sign_up"]] == [
        f"version {number}, {name}: {variant}" if name else f"version {number}" for number, name, variant in arms
    ]


def test_all_fetches_of_a_prompt_are_counted_together(visitor: Visitor) -> None:
    visitor.write(welcome=AB_TEST.format(1), welcome__b=AB_TEST.format(2))
    for _ in range(3):
        visitor.fetch()
    visitor.fetch(version_number=1)

    assert "<dt>fetches</dt><dd>4</dd>" in page(visitor)


def test_revenue_of_nothing_is_told_from_none(visitor: Visitor) -> None:
    trace_id = visitor.trace_id()
    visitor.send(trace_id, "free", value=0, currency="EUR")
    visitor.send(trace_id, "without", currency="EUR")

    shown = tables(visitor)

    assert [shown[name][0][-1] for name in ("free", "without")] == ["0 EUR", NONE]


def test_versions_in_the_folder_are_marked_with_the_variant_that_they_are(visitor: Visitor) -> None:
    visitor.write(welcome=AB_TEST.format(1), welcome__b=AB_TEST.format(2), welcome__c="---\nversion = 3\n---\nText 3")

    marked = re.findall(
        r"<h3>(version \d)</h3>(?:(?!</article>).)*?(?:accent\">(.*?)<|</h4>)", page(visitor), re.DOTALL
    )

    assert marked == [
        ("version 3", ""),
        ("version 2", "tone: version_b"),
        ("version 1", "tone: version_a"),
    ]


def ab_test(visitor: Visitor) -> str:
    """Return what the page says of the A/B test."""
    [told] = re.findall('<p class="quiet" id="ab-test">(.*?)</p>', page(visitor), re.DOTALL)
    return " ".join(told.split())


def test_an_ab_test_says_how_often_it_has_served_which_variant_and_when_it_has_ended(visitor: Visitor) -> None:
    visitor.write(welcome=AB_TEST.format(1), welcome__b=AB_TEST.format(2))
    for _ in range(3):
        visitor.fetch()
    assert ab_test(visitor) == "The A/B test tone is running. It has served version_a 2 times and version_b once."

    weighted = AB_TEST.replace("---\n", "---\nweight = 2.5\nab_test_requests = 4\n", 1)
    visitor.write(welcome=weighted.format(1))
    assert ab_test(visitor) == (
        "The A/B test tone is running. It has served version_a 2 times (weight 2.5) and version_b once (weight 1), "
        "of 4 requests."
    )

    visitor.fetch()
    assert ab_test(visitor).startswith("The A/B test tone has ended. It has served version_a 3 times")


def test_what_was_served_without_the_ab_test_is_kept_apart(visitor: Visitor) -> None:
    visitor.write(welcome=AB_TEST.format(1), welcome__b=AB_TEST.format(2))
    visitor.send(visitor.trace_id())
    visitor.fetch(version_number=1)

    assert [row[:3] for row in tables(visitor)["sign_up"]] == [
        ["version 1", "1", "0"],
        ["version 1, tone: version_a", "1", "1"],
    ]
    assert 'class="verdict"' not in page(visitor)


def test_the_picture_places_rates_and_tells_them_to_screen_readers(visitor: Visitor) -> None:
    for number in range(20):
        trace_id = visitor.trace_id()
        if number < 4:
            visitor.send(trace_id)

    [picture] = re.findall("<svg.*?</svg>", page(visitor), re.DOTALL)

    # 4 of 20 with Wilson's interval 8.07 to 41.60, on a scale to 50 %.
    assert 'role="img" aria-labelledby="title-1 description-1"' in picture
    assert '<title id="title-1">Conversion to sign_up by version</title>' in picture
    assert "version 1: 20.0 %, 95 % interval 8.1 to 41.6." in picture
    assert 'cx="40.00%"' in picture
    assert 'x="16.13%" width="67.07%"' in picture
    assert ">50 %</text>" in picture


def test_a_prompt_that_was_fetched_has_a_page_when_its_file_is_gone(visitor: Visitor) -> None:
    visitor.send(visitor.trace_id())
    (visitor.folder / "welcome.prompt").unlink()

    shown = page(visitor)

    assert "There is no file of this prompt" in shown
    assert tables(visitor)["sign_up"][0][:3] == ["version 1", "1", "1"]


def test_a_prompt_that_nobody_knows_is_not_found(visitor: Visitor) -> None:
    assert visitor.http.get("/prompts/nope").status_code == 404


def test_its_versions_are_shown_as_text(visitor: Visitor) -> None:
    visitor.write(welcome="system:\nBe <b>kind</b>.\nuser:\nGreet {{name}}.")

    shown = page(visitor)

    assert "Be &lt;b&gt;kind&lt;/b&gt;." in shown
    assert "Greet {{name}}." in shown


def test_events_stand_by_how_often_they_came_under_any_version_and_then_by_name(visitor: Visitor) -> None:
    visitor.write(welcome__b='---\nversion = 2\nstatus = "testing"\n---\nHi')
    one, two = ([visitor.fetch(version_number=number).json()["trace_id"] for _ in range(2)] for number in (1, 2))
    for trace_id, name in [
        *((one[0], "often"), (one[1], "often"), (two[0], "often")),
        *((two[0], "seldom"), (two[1], "seldom")),
        *((one[0], "once_z"), (two[0], "once_a")),
    ]:
        visitor.send(trace_id, name)

    assert list(tables(visitor)) == ["often", "seldom", "once_a", "once_z"]


def test_many_events_are_cut_to_the_most_frequent_and_say_so(visitor: Visitor) -> None:
    first, second = visitor.trace_id(), visitor.trace_id()
    for number in range(15):
        visitor.send(first, f"event_{number:02}")
    visitor.send(second, "event_14")

    shown = tables(visitor)

    assert list(shown) == ["event_14", *(f"event_{number:02}" for number in range(11))]
    assert "The 12 most frequent events are shown; 3 more came." in page(visitor)
