from __future__ import annotations

import os
from pathlib import Path

import pytest

from xr2_web.devserver import Library
from xr2_web.devserver.text_file import MAX_BYTES

from .conftest import Visitor


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def ab_test(version: int, **options: object) -> str:
    lines = [f"{name} = {value}" for name, value in {"version": version, "ab_test": '"tone"', **options}.items()]
    return "\n".join(["---", *lines, "---", f"Text {version}"])


def text_of(library: Library, slug: str) -> str | None:
    return library.catalog().prompts[slug].versions[-1].user_prompt


def test_without_a_folder_there_is_a_sample() -> None:
    catalog = Library().catalog()

    assert list(catalog.prompts) == ["welcome"]
    assert catalog.definitions is None
    assert catalog.problems == ()


def test_a_changed_a_new_and_a_removed_file_are_noticed(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", "Hi")
    library = Library(tmp_path)
    before = text_of(library, "welcome")

    write(tmp_path, "welcome.prompt", "Hello there")
    write(tmp_path, "product.prompt", "Describe it")
    after = text_of(library, "welcome")
    (tmp_path / "welcome.prompt").unlink()

    assert (before, after) == ("Hi", "Hello there")
    assert list(library.catalog().prompts) == ["product"]


def test_nothing_is_read_again_while_nothing_changes(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", "Hi")
    library = Library(tmp_path)

    assert library.catalog() is library.catalog()


def test_a_broken_file_keeps_its_last_good_version_and_is_reported_once(tmp_path: Path) -> None:
    reports: list[str] = []
    write(tmp_path, "welcome.prompt", "Hi")
    write(tmp_path, "events.toml", "[sign_up]")
    library = Library(tmp_path, report=reports.append)
    library.catalog()

    write(tmp_path, "welcome.prompt", "---\nversion")
    write(tmp_path, "events.toml", "[sign_up")
    library.catalog()
    write(tmp_path, "product.prompt", "Describe it")
    catalog = library.catalog()

    assert text_of(library, "welcome") == "Hi"
    assert list(catalog.definitions or ()) == ["sign_up"]
    assert [report.partition(":")[0] for report in reports] == ["welcome.prompt", "events.toml"]
    assert catalog.problems == tuple(reports)


def test_a_mended_file_is_no_longer_a_problem(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", "---\nversion")
    library = Library(tmp_path)
    broken = library.catalog()

    write(tmp_path, "welcome.prompt", "Hi")

    assert (len(broken.problems), broken.prompts) == (1, {})
    assert library.catalog().problems == ()
    assert text_of(library, "welcome") == "Hi"


def test_a_file_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "welcome.prompt").write_bytes(b"\xff\xfe")

    assert Library(tmp_path).catalog().problems == ("welcome.prompt: it is not UTF-8: invalid start byte at byte 0",)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "welcome.prompt").write_bytes(b"\xef\xbb\xbf---\r\nversion = 2\r\n---\r\nHi\r\n")

    assert text_of(Library(tmp_path), "welcome") == "Hi"


def test_files_of_one_slug_are_its_versions(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", "---\nversion = 2\n---\nHi")
    write(tmp_path, "welcome.first.prompt", "Hello")

    versions = Library(tmp_path).catalog().prompts["welcome"].versions

    assert [each.version_number for each in versions] == [1, 2]


def test_files_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", "Hi")
    write(tmp_path, "welcome.b.prompt", "Hello")
    write(tmp_path, "product.prompt", '---\nab_test = "tone"\n---\nHi')

    problems = Library(tmp_path).catalog().problems

    assert problems == (
        "product: the A/B test tone needs two versions and has 1; it is not run",
        "welcome: welcome.b.prompt and welcome.prompt hold version 1; only welcome.b.prompt is served",
    )


def test_two_files_of_one_version_are_told_also_beside_another_version(tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 2), ("c", 2)):
        write(tmp_path, f"welcome.{name}.prompt", f"---\nversion = {number}\n---\n{name}")

    catalog = Library(tmp_path).catalog()

    assert catalog.problems == (
        "welcome: welcome.b.prompt and welcome.c.prompt hold version 2; only welcome.b.prompt is served",
    )
    assert [each.user_prompt for each in catalog.prompts["welcome"].versions] == ["a", "b"]


def test_two_files_of_one_version_are_no_ab_test(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", ab_test(1))
    write(tmp_path, "welcome.b.prompt", ab_test(1))

    catalog = Library(tmp_path).catalog()

    assert catalog.problems == (
        "welcome: welcome.b.prompt and welcome.prompt hold version 1; only welcome.b.prompt is served",
        "welcome: the A/B test tone needs two versions and has 1; it is not run",
    )
    assert catalog.prompts["welcome"].ab_test is None


def test_an_ab_test_of_three_versions_is_not_run_and_told(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(tmp_path, f"welcome.{number}.prompt", ab_test(number))

    catalog = Library(tmp_path).catalog()

    assert catalog.problems == ("welcome: the A/B test tone needs two versions and has 3; it is not run",)
    assert catalog.prompts["welcome"].ab_test is None


def test_a_version_beside_an_ab_test_takes_no_part_in_it(visitor: Visitor) -> None:
    visitor.write(welcome=ab_test(2), welcome__b=ab_test(3), welcome__c="---\nversion = 1\n---\nText 1")

    served = [visitor.fetch().json()["version_number"] for _ in range(4)]

    assert served == [2, 3, 2, 3]


@pytest.mark.parametrize("field", ["weight = 3", "ab_test_requests = 10"])
def test_a_part_in_a_test_that_is_not_named_is_told_and_the_version_served(tmp_path: Path, field: str) -> None:
    write(tmp_path, "welcome.prompt", f"---\n{field}\n---\nHi")

    library = Library(tmp_path)

    assert library.catalog().problems == (
        "welcome: welcome.prompt has a part in an A/B test and names none in ab_test",
    )
    assert text_of(library, "welcome") == "Hi"


def test_a_folder_that_is_gone_keeps_what_it_held_and_is_told_once(tmp_path: Path) -> None:
    folder, reported = tmp_path / "prompts", list[str]()
    folder.mkdir()
    write(folder, "welcome.prompt", "Hi")
    library = Library(folder, report=reported.append)
    library.catalog()

    folder.rename(tmp_path / "elsewhere")
    while_gone = [text_of(library, "welcome") for _ in range(2)]
    told = library.catalog().problems
    (tmp_path / "elsewhere").rename(folder)

    assert while_gone == ["Hi", "Hi"]
    assert told == (f"the folder {folder} is gone; what it held last is served",) == tuple(reported)
    assert library.catalog().problems == ()


def test_an_ab_test_with_an_empty_name_is_none(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", ab_test(1, ab_test='""'))

    catalog = Library(tmp_path).catalog()

    assert catalog.problems == ()
    assert catalog.prompts["welcome"].ab_test is None


def test_an_ab_test_keeps_its_id_and_no_other_has_it(visitor: Visitor) -> None:
    other = {"ab_test": '"length"'}
    visitor.write(welcome=ab_test(1), welcome__b=ab_test(2), product=ab_test(1), product__b=ab_test(2))
    visitor.write(mail=ab_test(1, **other), mail__b=ab_test(2, **other))

    ids = {slug: [visitor.fetch(slug).json()["ab_test_id"] for _ in range(2)] for slug in ("welcome", "product")}
    visitor.write(welcome=ab_test(1, **other), welcome__b=ab_test(2, **other))
    renamed = visitor.fetch().json()["ab_test_id"]

    assert all(first == second for first, second in ids.values())
    assert len({*(first for first, _ in ids.values()), renamed, visitor.fetch("mail").json()["ab_test_id"]}) == 4


def test_a_slug_runs_one_ab_test_at_most(tmp_path: Path) -> None:
    for number, test in enumerate(["tone", "tone", "length", "length"], start=1):
        write(tmp_path, f"welcome.{number}.prompt", f'---\nversion = {number}\nab_test = "{test}"\n---\nHi')

    catalog = Library(tmp_path).catalog()

    assert catalog.problems == ("welcome: only one A/B test can run, and there are tone, length; none is run",)
    assert catalog.prompts["welcome"].ab_test is None


@pytest.mark.parametrize(
    ("weights", "sequence"),
    [
        ((1, 1), "abababab"),
        ((3, 1), "abaaabaa"),
        ((1, 3), "abbbabbb"),
        ((0.5, 1), "abbabbab"),
    ],
)
def test_variants_are_served_in_proportion_to_their_weights(
    visitor: Visitor, weights: tuple[float, float], sequence: str
) -> None:
    visitor.write(welcome=ab_test(1, weight=weights[0]), welcome__b=ab_test(2, weight=weights[1]))

    served = [visitor.fetch().json()["ab_test_variant"] for _ in sequence]

    assert served == [f"version_{each}" for each in sequence]


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [("production", "testing", 1), ("production", "production", 2), ("draft", "testing", 1)],
)
def test_an_ab_test_ends_at_its_limit_of_requests(visitor: Visitor, first: str, second: str, left: int) -> None:
    visitor.write(
        welcome=ab_test(1, status=f'"{first}"', ab_test_requests=3), welcome__b=ab_test(2, status=f'"{second}"')
    )

    served = [visitor.fetch().json() for _ in range(5)]

    assert [each["ab_test_variant"] for each in served] == ["version_a", "version_b", "version_a", None, None]
    assert [each["version_number"] for each in served[3:]] == [left, left]
    assert served[4]["ab_test_id"] is None


def test_a_request_with_a_filter_does_not_count_for_the_limit(visitor: Visitor) -> None:
    visitor.write(welcome=ab_test(1, ab_test_requests=1), welcome__b=ab_test(2))
    visitor.fetch(version_number=1)

    assert visitor.fetch().json()["ab_test_variant"] == "version_a"


@pytest.mark.parametrize(("first", "second"), [(20, 10), (10, 20), (8, 1)])
def test_of_two_limits_the_lower_counts_and_is_told(tmp_path: Path, first: int, second: int) -> None:
    write(tmp_path, "welcome.prompt", ab_test(1, ab_test_requests=first))
    write(tmp_path, "welcome.b.prompt", ab_test(2, ab_test_requests=second))

    catalog = Library(tmp_path).catalog()

    running, lower = catalog.prompts["welcome"].ab_test, min(first, second)
    assert running is not None
    assert running.request_limit == lower
    assert catalog.problems == (f"welcome: the A/B test tone has two limits of requests; the lower, {lower}, counts",)


@pytest.mark.parametrize("second", [{}, {"ab_test_requests": 10}])
def test_one_limit_said_in_one_file_or_in_both_is_no_problem(tmp_path: Path, second: dict[str, int]) -> None:
    write(tmp_path, "welcome.prompt", ab_test(1, ab_test_requests=10))
    write(tmp_path, "welcome.b.prompt", ab_test(2, **second))

    catalog = Library(tmp_path).catalog()

    running = catalog.prompts["welcome"].ab_test
    assert running is not None
    assert running.request_limit == 10
    assert catalog.problems == ()


@pytest.mark.parametrize("half", [b"", b"---\nversion = 2\n", b"---\nversion = 2\n---\n", b"Gr\xc3"])
def test_a_half_written_file_serves_what_it_held_until_it_is_whole(tmp_path: Path, half: bytes) -> None:
    write(tmp_path, "welcome.prompt", "Hi")
    library = Library(tmp_path)
    library.catalog()

    with (tmp_path / "welcome.prompt").open("wb", buffering=0) as file:
        file.write(half)
        meanwhile, problems = text_of(library, "welcome"), library.catalog().problems
        file.seek(0)
        file.write("---\nversion = 2\n---\nGr\u00fc\u00df dich".encode())

    assert meanwhile == "Hi"
    assert [each.partition(":")[0] for each in problems] == ["welcome.prompt"]
    assert text_of(library, "welcome") == "Gr\u00fc\u00df dich"
    assert library.catalog().problems == ()


def test_a_broken_file_that_is_removed_disappears_with_its_last_good_version(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", "Hi")
    library = Library(tmp_path)
    library.catalog()
    write(tmp_path, "welcome.prompt", "---\nversion")
    library.catalog()

    (tmp_path / "welcome.prompt").unlink()

    assert library.catalog().prompts == {}
    assert library.catalog().problems == ()


def test_a_file_that_breaks_again_is_reported_again(tmp_path: Path) -> None:
    reports: list[str] = []
    library = Library(tmp_path, report=reports.append)

    for text in ("---\nversion", "Hi", "---\nversion"):
        write(tmp_path, "welcome.prompt", text)
        library.catalog()

    assert len(reports) == 2


def test_a_report_that_fails_leaves_the_catalog_whole(tmp_path: Path) -> None:
    def fail(problem: str) -> None:
        raise BrokenPipeError

    write(tmp_path, "welcome.prompt", "Hi")
    write(tmp_path, "broken.prompt", "---\nversion")
    library = Library(tmp_path, report=fail)

    with pytest.raises(BrokenPipeError):
        library.catalog()

    assert text_of(library, "welcome") == "Hi"
    assert len(library.catalog().problems) == 1


def test_a_change_is_noticed_though_time_and_size_stay_the_same(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", "Hi")
    library = Library(tmp_path)
    library.catalog()
    before = (tmp_path / "welcome.prompt").stat()

    write(tmp_path, "welcome.prompt", "Yo")
    while (tmp_path / "welcome.prompt").stat().st_ctime_ns == before.st_ctime_ns:
        os.utime(tmp_path / "welcome.prompt", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(tmp_path / "welcome.prompt", ns=(before.st_atime_ns, before.st_mtime_ns))

    assert text_of(library, "welcome") == "Yo"


def test_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    write(tmp_path, "secret", "Nobody should see this")
    write(folder, "welcome.prompt", "Hi")
    library = Library(folder)
    library.catalog()

    for name in ("welcome.prompt", "other.prompt", "events.toml"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(tmp_path / "secret")
    catalog = library.catalog()

    assert text_of(library, "welcome") == "Hi"
    assert list(catalog.prompts) == ["welcome"]
    assert [each.partition(" and")[0] for each in catalog.problems] == [
        f"{name}: it is a link that leads out of the folder,"
        for name in ("other.prompt", "welcome.prompt", "events.toml")
    ]


def test_a_link_inside_of_the_folder_is_read_also_where_the_folder_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "real", "..welcome", "Hi")
    (tmp_path / "real" / "welcome.prompt").symlink_to("..welcome")

    assert text_of(Library(tmp_path / "link"), "welcome") == "Hi"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", "x" * MAX_BYTES)
    with (tmp_path / "huge.prompt").open("wb") as file:
        file.truncate(100_000_000)

    catalog = Library(tmp_path).catalog()

    assert list(catalog.prompts) == ["welcome"]
    assert catalog.problems == ("huge.prompt: it is larger than 1,000,000 bytes",)


def test_what_is_no_file_at_all_harms_nobody(tmp_path: Path) -> None:
    write(tmp_path, "welcome.prompt", "Hi")
    write(tmp_path, "nested.prompt", "---\nmodel_config.a = " + "[" * 50_000 + "\n---\nHi")
    write(tmp_path, "events.toml", "a = " + "[" * 50_000)
    write(tmp_path, "\udcff.prompt", "Hi")
    os.mkfifo(tmp_path / "pipe.prompt")
    (tmp_path / "folder.prompt").mkdir()
    (tmp_path / "loop.prompt").symlink_to("loop.prompt")
    (tmp_path / "nowhere.prompt").symlink_to("nothing")

    catalog = Library(tmp_path).catalog()

    assert list(catalog.prompts) == ["welcome"]
    assert [each.partition(":")[0] for each in catalog.problems] == [
        "folder.prompt",
        "loop.prompt",
        "nested.prompt",
        "pipe.prompt",
        "\\udcff.prompt",
        "events.toml",
    ]
    assert "pipe.prompt: it is no regular file" in catalog.problems
