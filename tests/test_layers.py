"""The layers of docs/architecture.md, held to the imports that the code really has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "xr2_web"

LAYERS = [
    {"_version", "errors", "forks", "loops", "failures", "interruptions"},
    {"once"},
    {"rendering", "values", "pacing", "abreast", "crew", "telling"},
    {"models", "readers", "incoming", "behind"},
    {"settings", "wire"},
    {"flow", "carry", "wrapping", "scope"},
    {"outbox", "transport", "bodies", "identity", "propagation", "witness"},
    {"client", "delivery", "machine", "panel"},
    {"courier", "engines"},
    {"process", "table"},
    {"runtime"},
    {"default"},
    {"unbound"},
    {"drafts"},
    {"rules"},
    {"prompts", "tracking", "current", "lifespan"},
    {"exchange", "operations"},
    {"__init__"},
    {
        "django",
        "flask",
        "flask_toolbar",
        "starlette",
        "celery",
        "sqlalchemy",
        "devserver",
        "prometheus",
        "opentelemetry",
    },
    {"demo"},
    {"cli"},
    {"__main__"},
]
"""Arrows point down only; a package counts as one module."""

LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}

ONLY_IN = {
    "httpx": {"transport", "demo"},
    "httpx2": {"transport", "demo"},
    "httpcore": {"transport"},
    "h11": {"transport"},
    "httpcore2": {"transport"},
    "contextvars_extras": {"scope"},
    "itsdangerous": {"carry"},
    "django": {"django"},
    "flask": {"flask"},
    "werkzeug": {"flask", "flask_toolbar"},
    "debug_toolbar": {"django"},
    "flask_debugtoolbar": {"flask_toolbar"},
    "starlette": {"starlette", "devserver"},
    "celery": {"celery"},
    "sqlalchemy": {"sqlalchemy"},
    "uvicorn": {"devserver"},
    "click": {"cli", "devserver", "demo", "operations"},
    "rich": {"demo", "devserver", "operations"},
    "prometheus_client": {"prometheus"},
    "opentelemetry": {"opentelemetry"},
}
"""Who may know which package."""


def module_of(path: Path) -> str:
    top = path.relative_to(PACKAGE).parts[0]
    return top.removesuffix(".py")


def sources() -> Iterator[Path]:
    examples = PACKAGE / "example_projects"
    return (path for path in PACKAGE.rglob("*.py") if examples not in path.parents)


def imports(path: Path) -> Iterator[str]:
    """Yield what a file imports, as absolute dotted names, function bodies and type-only blocks included."""
    parents = ["xr2_web", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the modules of this package that a file imports."""
    for name in imports(path):
        package, *rest = name.split(".")
        if package == "xr2_web" and rest:
            known = (PACKAGE / rest[0]).is_dir() or (PACKAGE / f"{rest[0]}.py").is_file()
            yield rest[0] if known else "__init__"


def test_every_module_has_its_layer() -> None:
    found = {module_of(path) for path in sources()}

    assert found == set(LEVEL)


@pytest.mark.parametrize("path", sorted(sources()), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    module = module_of(path)

    upward = {name for name in imported_modules(path) if name != module and LEVEL[name] >= LEVEL[module]}

    assert not upward


@pytest.mark.parametrize("path", sorted(sources()), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_package_is_known_to_its_module_only(path: Path) -> None:
    module = module_of(path)

    strangers = {name.split(".")[0] for name in imports(path)} & set(ONLY_IN)

    assert all(module in ONLY_IN[name] for name in strangers)


@pytest.mark.parametrize("path", sorted(sources()), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_inside_imports_the_root(path: Path) -> None:
    allowed = {"__main__"}

    if module_of(path) not in allowed:
        assert "__init__" not in set(imported_modules(path))


def test_the_picture_shows_every_module() -> None:
    picture = (PACKAGE.parent / "docs" / "architecture.md").read_text()

    missing = [module for module in LEVEL if module not in ("_version", "__main__") and module not in picture]

    assert not missing
