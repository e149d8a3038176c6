"""docs/frameworks.md: its blocks are run as they stand, and it knows every line that is logged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import xr2_web

from ..local_xr2 import LocalXr2

PAGE = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def run(name: str) -> dict[str, Any]:
    """Run the block that is the file ``name``."""
    (source,) = [block for block in BLOCKS if block.startswith(f"# {name}\n")]
    namespace: dict[str, Any] = {"__name__": "page"}
    exec(compile(source, name, "exec"), namespace)
    return namespace


def test_the_views_of_django_are_tracked(local_xr2: LocalXr2) -> None:
    pytest.importorskip("rest_framework")
    from django.test import RequestFactory

    from xr2_web.behind import is_behind

    views = run("orders.py")
    create = views["Orders"].as_view({"post": "create"})

    answer = create(RequestFactory().post("/"))

    assert answer.data == {"total": 12}
    for view, handler in ((views["Checkout"], "post"), (views["Quick"], "post"), (views["Orders"], "create")):
        assert hasattr(getattr(view, handler), "__wrapped__")
    assert is_behind(views["cancel"], views["cancel"], "POST")


def test_a_transaction_keeps_its_event(local_xr2: LocalXr2) -> None:
    pytest.importorskip("sqlalchemy")
    xr2_web.configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)
    buy = run("database.py")["buy"]

    with xr2_web.scope():
        xr2_web.get_prompt("welcome")
        receipt = buy()

    assert receipt.reason == "pending"


def test_a_task_is_tracked(local_xr2: LocalXr2) -> None:
    pytest.importorskip("celery")
    runtime = xr2_web.configure(api_key=local_xr2.api_key, base_url=local_xr2.base_url)
    send_digest = run("tasks.py")["send_digest"]

    with xr2_web.scope():
        xr2_web.get_prompt("welcome")
        send_digest.apply()

    assert runtime.flush(5)
    assert [event["event_name"] for event in local_xr2.events()] == ["digest_read"]


def test_a_page_of_another_origin_may_read_the_token(local_xr2: LocalXr2, monkeypatch: pytest.MonkeyPatch) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    responses = pytest.importorskip("starlette.responses")
    monkeypatch.setenv("XR2_API_KEY", local_xr2.api_key)
    monkeypatch.setenv("XR2_BASE_URL", local_xr2.base_url)

    async def landing(request: Any) -> Any:
        return responses.PlainTextResponse((await xr2_web.aget_prompt("welcome")).trace_id)

    app = run("spa.py")["app"]
    app.add_route("/", landing)

    with testclient.TestClient(app) as client:
        answer = client.get("/", headers={"Origin": "https://shop.example"})

    assert answer.headers["X-Xr2-Carry"]
    assert answer.headers["Access-Control-Expose-Headers"] == "X-Xr2-Carry"


def test_every_block_is_run_here() -> None:
    assert [block.splitlines()[0] for block in BLOCKS] == ["# orders.py", "# database.py", "# tasks.py", "# spa.py"]


def test_every_message_is_explained() -> None:
    sources = "".join(each.read_text() for each in Path(xr2_web.__file__).parent.rglob("*.py"))
    logged = set(re.findall(r'"xr2_web\.(\w+): ', sources))
    logged.update(re.findall(r'logger\.\w+\(\s*"xr2_web\.(\w+)"', sources))
    logged.update(re.findall(r'tell_failed\("(\w+)"', sources))
    logged.update(f"event_{kind}" for kind in re.findall(r'_tell\("(\w+)"', sources))

    assert len(logged) > 20
    assert not sorted(name for name in logged if f"`xr2_web.{name}`" not in PAGE)
