"""The README's blocks, run as they stand against a local xR2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xr2_web.default import default
from xr2_web.settings import Settings

from .local_xr2 import LocalXr2

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def block(mark: str) -> str:
    """Return the one block that holds ``mark``."""
    (found,) = [each for each in BLOCKS if mark in each]
    return found


@pytest.fixture(autouse=True)
def environment(local_xr2: LocalXr2, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two variables that the README exports."""
    monkeypatch.setenv("XR2_BASE_URL", local_xr2.base_url)
    monkeypatch.setenv("XR2_API_KEY", local_xr2.api_key)


def run(source: str, **names: Any) -> dict[str, Any]:
    namespace = {"__name__": "readme", **names}
    exec(compile(source, "README.md", "exec"), namespace)
    return namespace


def events(local_xr2: LocalXr2) -> list[tuple[str, str, Any, Any]]:
    default().flush(5)
    return [(event["event_name"], event["slug"], event["value"], event["currency"]) for event in local_xr2.events()]


def test_the_ten_lines_work(local_xr2: LocalXr2) -> None:
    pytest.importorskip("flask")
    app = run(block("# app.py"))["app"]
    visitor = app.test_client()

    greeting = visitor.get("/").text
    thanks = visitor.post("/buy").text

    assert greeting == "Greet Ada."
    assert thanks == "Thank you!"
    assert events(local_xr2) == [("purchase_completed", "welcome", 20.0, "EUR")]


def test_the_flask_factory_works() -> None:
    pytest.importorskip("flask")

    app = run(block("def create_app"))["create_app"]()

    assert app.test_client().get("/").status_code == 404


def test_the_fastapi_application_works(local_xr2: LocalXr2) -> None:
    pytest.importorskip("fastapi")
    testclient = pytest.importorskip("starlette.testclient")
    app = run(block("FastAPI()"))["app"]

    with testclient.TestClient(app) as visitor:
        messages = visitor.get("/").json()
        order = visitor.post("/orders/7").json()
        visitor.post("/sign-up")

    assert {"role": "user", "content": "Greet Ada."} in messages["messages"]
    assert order == {"order": 7}
    assert sorted(event[0] for event in events(local_xr2)) == ["purchase_completed", "sign_up"]


def test_the_django_blocks_work(local_xr2: LocalXr2, tmp_path: Path) -> None:
    pytest.importorskip("django")
    (tmp_path / "settings.py").write_text(
        "SECRET_KEY = 'readme'\nROOT_URLCONF = 'urls'\nUSE_TZ = True\nINSTALLED_APPS = []\nMIDDLEWARE = []\n"
        "TEMPLATES = [{'BACKEND': 'django.template.backends.django.DjangoTemplates', 'OPTIONS': {'loaders': ["
        "('django.template.loaders.locmem.Loader', {'landing.html': '{{ greeting }}'})]}}]\n"
        "ALLOWED_HOSTS = ['*']\n" + block("# settings.py")
    )
    (tmp_path / "views.py").write_text(block("# views.py"))
    (tmp_path / "urls.py").write_text(
        "from django.http import HttpResponse\n"
        "from django.urls import include, path\n"
        "import views\n"
        "shop = ([path('checkout', lambda request: HttpResponse('sold'), name='checkout')], 'shop')\n"
        "urlpatterns = [path('', views.landing), path('shop/', include(shop))]\n"
    )
    script = (
        "import django; django.setup()\n"
        "from django.core.management import call_command; call_command('check')\n"
        "from django.test import Client\n"
        "visitor = Client()\n"
        "print(visitor.get('/').content.decode(), visitor.post('/shop/checkout').content.decode())\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env={
            "DJANGO_SETTINGS_MODULE": "settings",
            "XR2_BASE_URL": local_xr2.base_url,
            "XR2_API_KEY": local_xr2.api_key,
            "PYTHONPATH": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Greet Ada. sold"
    assert [event["event_name"] for event in local_xr2.events()] == ["purchase_completed"]


def test_the_client_block_works(local_xr2: LocalXr2) -> None:
    names = run(block("xR2Client"))

    assert names["response"].ok
    assert [event["user_id"] for event in local_xr2.events()] == ["user_123"]
    names["client"].close()


def test_the_scope_block_works(local_xr2: LocalXr2) -> None:
    run(block("with xr2_web.scope"))

    assert events(local_xr2) == [("digest_sent", "welcome", None, None)]
    assert local_xr2.events()[0]["metadata"] == {"plan": "pro"}
    assert local_xr2.events()[0]["user_id"] == "42"


def test_every_block_is_run_here() -> None:
    marks = ("# app.py", "# settings.py", "# views.py", "def create_app", "FastAPI()", "xR2Client", "xr2_web.scope(")

    assert len(BLOCKS) == len(marks)
    assert all(block(mark) for mark in marks)


def test_the_table_of_settings_is_complete() -> None:
    table = README[README.index("## Settings") : README.index("## Delivery")]

    missing = [name for name in Settings._fields if f"`{name.upper()}`" not in table]

    assert not missing
