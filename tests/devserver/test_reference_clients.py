"""The published clients of xR2 do their quickstart against the local one."""

from __future__ import annotations

from typing import Any

from xr2_sdk.client import AsyncxR2Client, xR2Client  # type: ignore[import-untyped]

from ..local_xr2 import LocalXr2


def test_the_reference_client_does_its_quickstart(local_xr2: LocalXr2) -> None:
    client = xR2Client(local_xr2.api_key, base_url=local_xr2.base_url)

    key = client.check_api_key()
    prompt = client.get_prompt(slug="welcome")
    event = client.track_event(trace_id=prompt.data.trace_id, event_name="sign_up", user_id="u1", metadata={"a": 1})

    client._session.close()
    assert key.data.ok
    assert prompt.data.render({"name": "Ada"}).user_prompt == "Greet Ada."
    assert not event.data.is_duplicate
    assert _event(local_xr2) == ("welcome", "sign_up", "u1", {"a": 1}, event.data.event_id)


async def test_the_async_reference_client_does_its_quickstart(local_xr2: LocalXr2) -> None:
    client = AsyncxR2Client(local_xr2.api_key, base_url=local_xr2.base_url)

    key = await client.check_api_key()
    prompt = await client.get_prompt(slug="product", version_number=3)
    event = await client.track_event(trace_id=prompt.data.trace_id, event_name="sign_up", user_id="u2")
    again = await client.track_event(trace_id=prompt.data.trace_id, event_name="sign_up", user_id="u2")

    await client.aclose()
    assert key.data.ok
    assert prompt.data.render({"product": "Tea"}).user_prompt == "Describe Tea in one sentence."
    assert (again.data.event_id, again.data.is_duplicate) == (event.data.event_id, True)
    assert _event(local_xr2) == ("product", "sign_up", "u2", {}, event.data.event_id)


def _event(local_xr2: LocalXr2) -> tuple[Any, ...]:
    [event] = local_xr2.events()
    return tuple(event[name] for name in ("slug", "event_name", "user_id", "metadata", "event_id"))
