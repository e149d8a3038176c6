from __future__ import annotations

from pathlib import Path

from xr2_web.devserver import Library


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


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

    assert "welcome.prompt" in Library(tmp_path).catalog().problems[0]


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
        "welcome: two files hold version 1; only the first is served",
    )


def test_a_slug_runs_one_ab_test_at_most(tmp_path: Path) -> None:
    for number, test in enumerate(["tone", "tone", "length", "length"], start=1):
        write(tmp_path, f"welcome.{number}.prompt", f'---\nversion = {number}\nab_test = "{test}"\n---\nHi')

    catalog = Library(tmp_path).catalog()

    assert "only one A/B test can run" in catalog.problems[0]
    assert catalog.prompts["welcome"].ab_test is None
