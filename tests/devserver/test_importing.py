"""``xr2-web prompts import``, and that what it writes is served as it was meant."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from xr2_web.cli import main
from xr2_web.devserver import Library
from xr2_web.devserver.importing.folder import compose
from xr2_web.devserver.prompts import Version
from xr2_web.devserver.text_file import MAX_BYTES
from xr2_web.errors import ConfigurationError

from .conftest import Visitor

PROMPTY = """\
---
name: Basic Prompt
description: Answers questions
metadata:
  authors: [someone]
model:
  id: gpt-4
  provider: azure
  apiType: chat
  connection:
    kind: key
    endpoint: ${env:ENDPOINT}
    apiKey: a-secret-key
  options:
    temperature: 0.7
    stop: null
inputSchema:
  properties:
    - name: firstName
      kind: string
      default: Jane
    - name: question
      kind: string
      required: true
      description: What to answer
      sample: Why?
---
system:
You answer {{ firstName }}.
{# nobody reads this #}
# Customer
They are called {{firstName}}.

user[name="x"]:
{{question}}
"""
PROMPTY_OLD = """\
---
name: legacy
version: "1.0"
model:
  api: chat
  configuration:
    type: azure_openai
    azure_deployment: gpt-35-turbo
    api_key: a-secret-key
  parameters:
    max_tokens: 500
    stop: ["\\n"]
    tools: ${file:tools.json}
inputs:
  firstName:
    type: string
    sample: Jane
    required: true
  lastName: Doe
  address: {street: Main}
  secret:
    default: ${env:SECRET}
sample:
  firstName: Jane
template: mustache
---
{{! a comment }}
User:
Hi {{{firstName}}} {{lastName}}
  # Assistant :
Hello
"""
DOTPROMPT = """\
# Copyright of somebody
---
name: greetingPrompt
model: googleai/gemini-1.5-flash
tools: [timeOfDay]
config:
  temperature: 0.7
  stopSequences: [STOP]
input:
  default:
    name: Guest
    extra: 1
  schema:
    name: string
    language?: string, the language
    tags?(array, what it is about): string
    tone(enum, how it sounds): [kind, formal]
    (*): any
output:
  format: json
---
{{!-- a comment
of two lines --}}
{{role "system"}}
Be kind in {{language}}. {"a": {{name}}}

{{role 'user'}}
Greet {{{ name }}}.{{! and nobody else }}
{{role "model"}}
Hello
"""
DOTPROMPT_JSON_SCHEMA = """\
---
input:
  schema:
    type: object
    properties:
      text: {type: string, description: What to sum up, default: nothing, maxLength: 3}
      length: {type: [integer, string]}
    required: [text]
    additionalProperties: false
---
<<<dotprompt:role:user>>>
Sum up: {{text}}
"""


@dataclass(slots=True)
class Import:
    """A run of the command: its exit code, and what it said."""

    code: int
    out: str
    err: str


class Importer:
    """Sources to import, the folder to import to, and what is then served from there."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.sources = root / "sources"
        self.folder = root / "prompts"
        self.sources.mkdir()
        self._capsys = capsys

    def run(self, *options: str, **files: str | bytes) -> Import:
        """Write ``files``, named with two underscores for a dot, and import them all in their order."""
        paths = []
        for name, text in files.items():
            paths.append(self.sources / name.replace("__", "."))
            paths[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.run_on(*map(str, paths), *options)

    def run_on(self, *arguments: str) -> Import:
        """Run the command on files that are there."""
        with pytest.raises(SystemExit) as ended:
            main(["prompts", "import", *arguments, "--to", str(self.folder)])
        said = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Import(ended.value.code, said.out, said.err)

    def versions(self, slug: str) -> tuple[Version, ...]:
        """Return what a library finds in the folder, which has no problem with it."""
        catalog = Library(self.folder).catalog()
        assert catalog.problems == ()
        return catalog.prompts[slug].versions

    def files(self) -> list[str]:
        """Return the names of all files in the folder."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


@pytest.fixture
def importer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Importer:
    return Importer(tmp_path, capsys)


def test_prompty_becomes_a_prompt_file(importer: Importer) -> None:
    done = importer.run(basic__prompty=PROMPTY)

    [version] = importer.versions("basic")
    assert (version.version_number, version.status) == (1, "production")
    assert version.system_prompt == "You answer {{firstName}}.\n\n# Customer\nThey are called {{firstName}}."
    assert version.user_prompt == "{{question}}"
    assert version.variables == (
        {"name": "firstName", "default": "Jane", "type": "string"},
        {"name": "question", "required": True, "type": "string", "description": "What to answer"},
    )
    assert version.model_config == {"provider": "azure", "model": "gpt-4", "temperature": 0.7}
    assert (done.code, done.out) == (0, f"wrote {importer.folder / 'basic.prompt'}\n")
    [told] = done.err.splitlines()
    for name in (
        "name",
        "description",
        "metadata",
        "model.apiType",
        "model.connection.kind",
        "model.connection.apiKey",
        "model.connection.endpoint (a reference)",
        "model_config.stop (null)",
        "inputs.question.sample",
        "the attributes of user in line 34",
    ):
        assert name in told.partition("left out of basic.prompt: ")[2].split(", ")


def test_prompty_of_the_first_generation_is_read_too(importer: Importer) -> None:
    done = importer.run(old__prompty=PROMPTY_OLD)

    [version] = importer.versions("old")
    assert (version.system_prompt, version.user_prompt) == (None, "Hi {{firstName}} {{lastName}}")
    assert version.assistant_prompt == "Hello"
    assert version.model_config == {
        "provider": "azure_openai",
        "model": "gpt-35-turbo",
        "max_tokens": 500,
        "stop": ["\n"],
    }
    assert version.variables == (
        {"name": "firstName", "required": True, "type": "string"},
        {"name": "lastName", "default": "Doe"},
        {"name": "address", "default": {"street": "Main"}},
        {"name": "secret"},
    )
    assert "model.parameters.tools (a reference)" in done.err
    assert "inputs.secret.default (a reference)" in done.err


def test_no_key_and_no_address_of_a_prompty_file_is_copied_or_printed(importer: Importer) -> None:
    done = importer.run(basic__prompty=PROMPTY, old__prompty=PROMPTY_OLD)

    written = "".join((importer.folder / name).read_text() for name in importer.files())
    assert "a-secret-key" not in written + done.out + done.err
    assert "${env:" not in written


def test_prompty_in_its_shortest_forms_is_read(importer: Importer) -> None:
    importer.run(body__prompty="Be kind.", model__prompty="---\nmodel: gpt-4\n---\nsystem:\nBe kind.")

    [body], [model] = importer.versions("body"), importer.versions("model")
    assert (body.system_prompt, body.model_config) == ("Be kind.", {})
    assert (model.system_prompt, model.model_config) == ("Be kind.", {"model": "gpt-4"})


def test_dotprompt_becomes_a_prompt_file(importer: Importer) -> None:
    done = importer.run(x__prompt=DOTPROMPT)

    [version] = importer.versions("greetingPrompt")
    assert version.system_prompt == 'Be kind in {{language}}. {"a": {{name}}}'
    assert version.user_prompt == "Greet {{name}}."
    assert version.assistant_prompt == "Hello"
    assert version.model_config == {
        "model": "googleai/gemini-1.5-flash",
        "temperature": 0.7,
        "stopSequences": ["STOP"],
    }
    assert version.variables == (
        {"name": "name", "required": True, "type": "string", "default": "Guest"},
        {"name": "language", "type": "string", "description": "the language"},
        {"name": "tags", "type": "array", "description": "what it is about"},
        {"name": "tone", "required": True, "type": "enum", "description": "how it sounds"},
        {"name": "extra", "default": 1},
    )
    left_out = done.err.strip().partition("left out of greetingPrompt.prompt: ")[2].split(", ")
    assert left_out == ["what is inside of input.schema.tone", "input.schema.(*)", "tools", "output"]


def test_a_comment_on_a_line_of_its_own_goes_with_the_line(importer: Importer) -> None:
    lines = ("a", "  {{! x }}", "b {{!-- }} --}}c{{! y\nz }} {{! }} d {{!e}}", "{{! f }}g{{! h }}", "{{!-- -}} --}}")

    importer.run(a__prompt="\n".join([*lines, "{{!-- i --}}j{{!-- k --}}", "l"]))

    assert importer.versions("a")[0].user_prompt == "a\nb c  d \ng\nj\nl"


def test_a_json_schema_and_written_role_marks_of_dotprompt_are_read(importer: Importer) -> None:
    done = importer.run(sum__prompt=DOTPROMPT_JSON_SCHEMA)

    [version] = importer.versions("sum")
    assert version.user_prompt == "Sum up: {{text}}"
    assert version.variables == (
        {"name": "text", "required": True, "type": "string", "description": "What to sum up", "default": "nothing"},
        {"name": "length"},
    )
    for name in ("additionalProperties", "properties.text.maxLength", "properties.length.type"):
        assert f"input.schema.{name}" in done.err


def test_a_variant_of_dotprompt_is_a_version_that_takes_no_production_traffic(importer: Importer) -> None:
    done = importer.run(greet__formal__prompt="Good day {{name}}", greet__prompt="Hi {{name}}")

    formal, base = importer.versions("greet")
    assert done.code == 0
    assert importer.files() == ["greet.formal.prompt", "greet.prompt"]
    assert (formal.version_number, formal.status, formal.user_prompt) == (1, "testing", "Good day {{name}}")
    assert (base.version_number, base.status, base.user_prompt) == (2, "production", "Hi {{name}}")


def test_yaml_holds_one_prompt_or_a_list_of_them(importer: Importer) -> None:
    one = "system_prompt: Be kind.\nuser: Hi { a }\nmodel_config: {model: m, since: 2026-01-02}\ntags: [x]\n"
    several = """
- slug: welcome
  user: Hi {{name}}
  variables: {name: {required: true, defaultValue: you, since: 1}}
  ab_test: tone
  weight: 3
- slug: welcome
  version: "2"
  status: testing
  ab_test: tone
  ab_test_requests: 10
  variables: [name, {name: plan}]
  messages: [{role: user, content: "Hello {{name}}", name: x}, {role: developer, content: Be kind.}]
"""
    done = importer.run(My__Own__yml=one, several__yaml=several)

    [own] = importer.versions("my-own")
    first, second = importer.versions("welcome")
    assert (own.system_prompt, own.user_prompt) == ("Be kind.", "Hi { a }")
    assert own.model_config == {"model": "m", "since": "2026-01-02"}
    assert first.variables == ({"name": "name", "required": True, "default": "you"},)
    assert (first.ab_test, first.weight, second.ab_test_requests) == ("tone", 3, 10)
    assert (second.version_number, second.status, second.system_prompt) == (2, "testing", "Be kind.")
    assert second.variables == ({"name": "name"}, {"name": "plan"})
    assert importer.files() == ["my-own.prompt", "welcome.prompt", "welcome.v2.prompt"]
    assert done.code == 0
    assert [line.rpartition(": ")[2] for line in done.err.splitlines()] == [
        "tags",
        "variables.name.since",
        "messages[0].name, the order of the messages",
    ]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (
            "a.prompt",
            "---\nmodel: m\n---\nHi\n{{#if x}}a{{/if}}",
            "line 5: {{#if x}}: our templates have {{name}} alone",
        ),
        ("a.prompt", "Hi\n{{role 'system'}}\n\n{{else}}", "line 4: {{else}}"),
        ("a.prompt", "{{>partial}}", "line 1: {{>partial}}"),
        ("a.prompt", "{{json data}}", "line 1: {{json data}}"),
        ("a.prompt", "{{a.b}}", "line 1: {{a.b}}"),
        ("a.prompt", "{{history}}", "line 1: {{history}}"),
        ("a.prompt", "{{~name~}}", "line 1: {{~name~}}"),
        ("a.prompt", "as text: \\{{name}}", "line 1: {{name}}"),
        ("a.prompt", "Hi {{", "line 1: {{"),
        ("a.prompt", "{{! open", "line 1: {{! open"),
        ("a.prompt", "<<<dotprompt:history>>>", "line 1: <<<dotprompt:history>>>"),
        ("a.prompt", "{{role 'tool'}}\nHi", "line 1: xR2 has no messages of the role tool"),
        ("a.prompt", "Hi\n{{role 'user'}}\nHo", "line 2: a second message of the role user"),
        ("a.prompt", "---\ninput: {schema: {a: string}}\n---\nHi\n{a}", "line 5: {a} would be filled like {{a}}"),
        ("a.prompt", "---\nmodel: m", "no closing line"),
        ("a.prompt", "---\n- m\n---\nHi", "the front matter is no mapping"),
        ("a.prompt", "---\nconfig: 3\n---\nHi", "config is no mapping"),
        ("a.prompt", '---\nstatus = "draft"\n---\nHi', "it is a prompt file of xR2 already"),
        ("_a.prompt", "Hi", "it is a partial"),
        ("a.prompty", "user:\n{% for x in y %}", "line 2: {% for x in y %}"),
        ("a.prompty", "user:\n\n{{ name | upper }}", "line 3: {{ name | upper }}"),
        ("a.prompty", "user:\n{{loop}}", "line 2: {{loop}}"),
        ("a.prompty", "user:\n{# open", "line 2: {# open"),
        ("a.prompty", "Hi\nsystem:\nHo", "line 3: a second message of the role system"),
        ("a.prompty", "tool:\nHi", "the role tool"),
        ("a.prompty", "---\ninputs: {t: {kind: thread}}\n---\nHi", "the input t is of the kind thread"),
        ("a.prompty", "---\ninputs: [{kind: string}]\n---\nHi", "an input has no name"),
        ("a.prompty", "---\ntemplate: nunjucks\n---\nHi", "the template language nunjucks"),
        ("a.prompty", "---\nname: x\n---\n\n", "it holds no text"),
        ("a.prompty", "---\nname: [x\n---\nHi", "line 3: "),
        ("a.yaml", "just text", "it is neither a prompt, which is a mapping, nor a list"),
        ("a.yaml", "[]", "it is neither a prompt"),
        ("a.yaml", "- user: Hi", "prompt 1: it has neither a slug nor a name"),
        ("a.yaml", "- slug: b", "prompt 1: it holds no text"),
        ("a.yaml", "\n\nmessages: [{content: a}, {content: b}]", "a.yaml: a second message of the role user"),
        ("a.yaml", "\n\nmessages: [{role: tool, content: a}]", "a.yaml: xR2 has no messages of the role tool"),
        ("a.yaml", "slug: ../../etc/passwd\nuser: Hi", "the slug '../../etc/passwd' is not made of letters"),
        ("a.yaml", "slug: a/../b\nuser: Hi", "the slug 'a/../b' is not made of letters"),
        ("a.yaml", "slug: 7\nuser: Hi", "the slug 7 is not"),
        ("a.yaml", "name: приветствие\nuser: Hi", "no slug can be made of 'приветствие'"),
        ("a.yaml", "version: 0\nuser: Hi", "the version 0 is no whole number above 0"),
        ("a.yaml", "version: true\nuser: Hi", "the version True"),
        ("a.yaml", "version: 1.5\nuser: Hi", "the version 1.5"),
        ("a.yaml", "status: live\nuser: Hi", "'live'"),
        ("a.yaml", "weight: 0\nuser: Hi", "weight must be above 0"),
        ("a.yaml", "user: [a]", "user is no text"),
        ("a.yaml", "messages: Hi", "messages is no list"),
        ("a.yaml", "messages: [{role: user, content: [Hi]}]", "message 1 has no content that is a text"),
        ("a.yaml", "messages: [Hi]", "message 1 is no mapping"),
        ("a.yaml", "variables: name\nuser: Hi", "variables is no list"),
        ("a.yaml", "variables: [{required: true}]\nuser: Hi", "a variable has no name"),
        ("a.yaml", "variables: [{name: x, required: often}]\nuser: Hi", "required"),
        ("a.yaml", "user: Hi\nmodel_config: {a: .nan}", "would not read back as the same"),
        ("a.yaml", 'user: "\\ud800"', "it holds what a prompt file cannot hold"),
        ("a.yaml", "user: Hi\nuser: Ho", "line 1: a key stands twice"),
        ("a.yaml", "\na: &a [x]\nb: *a", "line 3: aliases are not read"),
        ("a.yaml", "user: !!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
        ("a.yaml", "user: !!python/name:os.system ''", "line 1: could not determine a constructor"),
        ("a.yaml", "a: " + "[" * 1_000, "it is nested too deeply"),
        ("a.yaml", "version: " + "9" * 5_000, "line 1: a number is longer than 1000 characters"),
        ("a.yaml", "a: " + "1:" * 50_000 + "1", "line 1: a number is longer than 1000 characters"),
        ("a.prompt", "{{role 'user'}}\n" * 5_000 + "{{#if}}", "line 5001: {{#if}}"),
        ("a.yaml", "a: 2026-99-99", "month"),
        ("a.yaml", "a: 1\n---\nb: 2", "line 2: "),
        ("a.yaml", "a: \x07", "special characters are not allowed"),
        ("a.yaml", b"\xff\xfe\xfd", "it is not UTF-8"),
        ("a.yaml", "user: " + "x" * MAX_BYTES, "it is larger than 1,000,000 bytes"),
        ("a.yaml", 'user: Hi\nmodel_config: {a: "' + "\\a" * 200_000 + '"}', "would be larger than 1,000,000 bytes"),
        ("a.txt", "Hi", "its name must end in .prompty, .prompt, .yaml or .yml"),
    ],
)
def test_what_cannot_be_converted_is_told_and_nothing_is_written(
    importer: Importer, name: str, text: str | bytes, problem: str
) -> None:
    done = importer.run(**{name.replace(".", "__"): text})

    [line] = done.err.splitlines()
    assert (done.code, done.out) == (1, "")
    assert line.startswith(f"{importer.sources / name}: ")
    assert problem in line
    assert importer.files() == []


def test_the_others_are_converted_where_one_cannot_be(importer: Importer) -> None:
    done = importer.run(a__yaml="user: Hi", b__yaml="user: [", c__prompty="user:\nHo")

    assert done.code == 1
    assert importer.files() == ["a.prompt", "c.prompt"]
    assert len(done.out.splitlines()) == 2


def test_the_others_of_a_list_are_converted_where_some_cannot_be(importer: Importer) -> None:
    done = importer.run(many__yaml="- slug: a\n  user: Hi\n- slug: b\n- user: Hi\n- slug: d\n  user: Ho")

    assert done.code == 1
    assert importer.files() == ["a.prompt", "d.prompt"]
    assert [line.partition(": ")[2] for line in done.err.splitlines()] == [
        "prompt 2: it holds no text",
        "prompt 3: it has neither a slug nor a name",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apiKey",
        "AZURE_API_KEY",
        "client_secret",
        "password",
        "access_token",
        "token",
        "Authorization",
        "extra_headers",
        "azure_endpoint",
        "base_url",
        "baseUrl",
        "api_base",
        "host",
    ],
)
def test_keys_and_addresses_of_a_model_are_never_copied(importer: Importer, name: str) -> None:
    options = f"{{{name}: sk-private, temperature: 0.5, max_tokens: 100, nested: {{{name}: sk-private}}}}"

    done = importer.run(
        a__prompty=f"---\nmodel:\n  id: m\n  options: {options}\n---\nuser:\nHi",
        b__prompt=f"---\nmodel: m\nconfig: {options}\n---\nHi",
        c__yaml=f"user: Hi\nmodel_config: {{model: m, {options[1:-1]}}}",
    )

    for slug in "abc":
        [version] = importer.versions(slug)
        assert version.model_config == {"model": "m", "temperature": 0.5, "max_tokens": 100, "nested": {}}
    assert done.code == 0
    assert done.err.count(f"model_config.{name} (a key or an address)") == 3
    assert "sk-private" not in done.err


def test_a_file_that_is_not_there_is_told(importer: Importer) -> None:
    done = importer.run_on(str(importer.sources / "nothing.yaml"), str(importer.sources))

    assert done.code == 1
    assert "nothing.yaml: it cannot be read: No such file or directory" in done.err


def test_nothing_is_overwritten_without_force(importer: Importer) -> None:
    importer.run(a__yaml="user: Hi")

    refused = importer.run(a__yaml="user: Hello")
    kept = importer.versions("a")[0].user_prompt
    forced = importer.run("--force", a__yaml="user: Hello")

    assert (refused.code, refused.out, kept) == (1, "", "Hi")
    assert f"{importer.folder / 'a.prompt'} exists; --force replaces it" in refused.err
    assert (forced.code, importer.versions("a")[0].user_prompt) == (0, "Hello")
    assert importer.files() == ["a.prompt"]


def test_two_prompts_of_one_import_never_share_a_file(importer: Importer) -> None:
    done = importer.run("--force", a__yaml="user: Hi", a__prompty="user:\nHello", A__prompt="Ho")

    assert done.code == 1
    assert done.err.count("holds another prompt of this import already") == 2
    assert importer.versions("a")[0].user_prompt == "Hi"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_link_in_the_folder_is_never_followed(importer: Importer, tmp_path: Path, force: list[str]) -> None:
    (tmp_path / "precious").write_text("precious")
    importer.folder.mkdir()
    (importer.folder / "a.prompt").symlink_to(tmp_path / "precious")

    importer.run(*force, a__yaml="user: Hi")

    assert (tmp_path / "precious").read_text() == "precious"
    assert (importer.folder / "a.prompt").is_symlink() is not bool(force)


def test_a_version_is_imported_beside_those_that_are_there(importer: Importer) -> None:
    importer.folder.mkdir()
    (importer.folder / "a.old.prompt").write_text("---\nversion = 1\n---\nOld")
    (importer.folder / "a.broken.prompt").write_text("---\nversion = 2")

    taken = importer.run(a__yaml="version: 1\nuser: Hi")
    free = importer.run(a__yaml="user: Hi")
    again = importer.run("--force", a__yaml="user: Hello")

    assert (taken.code, "version 1 of a is in" in taken.err) == (1, True)
    assert (free.code, again.code) == (0, 0)
    (importer.folder / "a.broken.prompt").unlink()
    assert [(each.version_number, each.user_prompt) for each in importer.versions("a")] == [(1, "Old"), (2, "Hello")]


@pytest.mark.parametrize(("own", "version"), [(None, 6), (3, 3), (5, 6)])
def test_a_file_that_is_replaced_keeps_its_version_and_another_takes_the_next(
    importer: Importer, own: int | None, version: int
) -> None:
    importer.folder.mkdir()
    for number in (1, 5):
        (importer.folder / f"a.v{number}.prompt").write_text(f"---\nversion = {number}\n---\nOld")
    if own is not None:
        (importer.folder / "a.prompt").write_text(f"---\nversion = {own}\n---\nOld")

    importer.run("--force", a__yaml="user: Hi")

    [imported] = [each for each in importer.versions("a") if each.user_prompt == "Hi"]
    assert imported.version_number == version


def test_a_text_that_would_not_read_back_as_it_is_cannot_be_written() -> None:
    with pytest.raises(ConfigurationError, match="would not read back as the same prompt"):
        compose({"version": 1}, {"user": "\nHi"})


def test_a_folder_that_cannot_be_written_is_told(importer: Importer) -> None:
    importer.folder.mkdir()
    (importer.folder / "a.prompt").mkdir()

    done = importer.run("--force", a__yaml="user: Hi")

    assert (done.code, "a.prompt cannot be written: " in done.err) == (1, True)
    assert importer.files() == ["a.prompt"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_write_that_fails_leaves_nothing_behind(importer: Importer, force: list[str]) -> None:
    source = importer.sources / "a.yaml"
    source.write_text("user: Hi")
    arguments = ["prompts", "import", str(source), "--to", str(importer.folder), *force]
    program = (
        "import resource; from xr2_web.cli import main; from xr2_web.devserver import import_command;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (5, 5)); main({arguments})"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert "a.prompt cannot be written: File too large" in ended.stderr
    assert importer.files() == []


def test_a_dotprompt_file_in_the_folder_is_named_and_heals_when_it_is_imported(importer: Importer) -> None:
    importer.folder.mkdir()
    source = importer.folder / "greet.prompt"
    source.write_text("---\nmodel: m\n---\n{{role 'system'}}\nBe kind to {{ name }}.")
    library = Library(importer.folder)
    before = library.catalog()

    done = importer.run_on(str(source), "--force")

    assert before.problems == (
        "greet.prompt: this is a dotprompt file: xr2-web prompts import makes one of ours of it",
    )
    assert done.code == 0
    assert library.catalog().problems == ()
    assert library.catalog().prompts["greet"].versions[0].system_prompt == "Be kind to {{name}}."


FRAGMENTS = [
    *("user:", "system: ", "assistant:\t", "\\user:", "\\\\system:", "USER:", " user:", "tool:"),
    *("---", "--- ", "+++", "[table]", "a = 1", "a: b", "#", "- x", '"""', "'''", '"', "'", "\\", "\\n"),
    *("{", "}", "{}", "{{", "}}", "{{name}}", "{name}", "{{ name }}", "{% if %}", "{{#if x}}", "{{role 'user'}}"),
    *("ü", "𝄞", "مرحبا", "\u2028", "\u0085", "\ufeff", "\u200b", "\x00", "\x1b", "\x7f"),
    *("\n", "\n", "\n", "\r\n", "\r", "\n\n", " ", "\t", "text"),
]


def odd_text(source: random.Random, *, without: str = "") -> str:
    """Return a text of fragments that look like what surrounds it, without those in which ``without`` occurs."""
    usable = [each for each in FRAGMENTS if not any(letter in each for letter in without)]
    return "".join(source.choices(usable, k=source.randint(1, 12)))


def as_served(text: str) -> str | None:
    """Return what a prompt file keeps of a text: its line ends are one, and there are none around it."""
    kept = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    return kept if kept.strip() else None


@pytest.mark.parametrize("seed", range(10))
def test_any_text_in_yaml_is_served_as_it_is(importer: Importer, visitor: Visitor, seed: int) -> None:
    source = random.Random(seed)
    prompts = [
        {
            "slug": f"p{number}",
            "system": odd_text(source),
            "user": odd_text(source),
            "assistant": f"x{odd_text(source)}x",
            "model_config": {odd_text(source): [odd_text(source), {odd_text(source): source.random()}]},
            "variables": [{"name": odd_text(source), "default": odd_text(source), "description": odd_text(source)}],
        }
        for number in range(8)
    ]
    importer.folder = visitor.folder

    done = importer.run(odd__yaml=yaml.safe_dump(prompts))

    assert (done.code, done.err) == (0, "")
    for prompt in prompts:
        content = visitor.fetch(str(prompt["slug"])).json()
        for role in ("system", "user", "assistant"):
            assert content[f"{role}_prompt"] == as_served(str(prompt[role]))
        assert content["model_config"] == prompt["model_config"]
        assert content["variables"] == prompt["variables"]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".prompty", "---\nmodel: m\n---\nsystem:\n{system}\nUser:\n{user}"),
        (".prompt", "---\nmodel: m\n---\n{{{{role 'system'}}}}\n{system}\n{{{{role 'user'}}}}\n{user}"),
    ],
)
def test_any_text_without_braces_in_another_format_is_served_as_it_is(
    importer: Importer, visitor: Visitor, seed: int, suffix: str, form: str
) -> None:
    source = random.Random(seed)
    # In Prompty's own body a line such as `user:` is no text.
    without = "{}:" if suffix == ".prompty" else "{}"
    texts = {role: f"x{odd_text(source, without=without)}" for role in ("system", "user")}
    importer.folder = visitor.folder

    done = importer.run(**{f"odd{suffix}".replace(".", "__"): form.format(**texts)})

    assert (done.code, done.err) == (0, "")
    content = visitor.fetch("odd").json()
    assert {role: content[f"{role}_prompt"] for role in texts} == {
        role: as_served(text) for role, text in texts.items()
    }


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['yaml'] = None; from xr2_web.cli import main; main(['prompts', 'import', 'a.yaml'])"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert (ended.returncode, ended.stderr) == (1, "Error: yaml is missing: pip install 'xr2-web[dev]'\n")
