"""Trap 28: many visitors at once, two worker processes with threads, and every event is its visitor's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..local_xr2 import LocalXr2
from .journal import doubled, events_by_trace
from .servers import serving
from .visitors import Visitor, interleave

VISITORS = 200
SHOPS = ["django_shop", "flask_shop", "starlette_shop"]


@pytest.mark.parametrize("project", SHOPS)
def test_each_purchase_belongs_to_the_product_page_its_visitor_saw_last(
    project: str, local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    with serving(project, tmp_path, environ) as server:
        visitors = [Visitor(number, server.base_url) for number in range(VISITORS)]
        interleave([visitor.shop() for visitor in visitors], seed=28)

    purchases = events_by_trace(local_xr2, "purchase_completed")
    assert {trace_id: event["value"] for trace_id, event in purchases.items()} == {
        visitor.trace_ids[-1]: visitor.price for visitor in visitors
    }
    assert len({event["session_id"] for event in purchases.values()}) == VISITORS

    members = [visitor for visitor in visitors if visitor.signed_up_from]
    sign_ups = events_by_trace(local_xr2, "sign_up")
    assert sign_ups.keys() == {member.signed_up_from for member in members}
    for member in members:
        sign_up, purchase = sign_ups[member.signed_up_from], purchases[member.trace_ids[-1]]
        assert sign_up["session_id"] == purchase["session_id"]
        assert sign_up["user_id"] == purchase["user_id"] is not None
    assert doubled(local_xr2) == []
    assert server.complaints() == []


def test_each_like_belongs_to_the_answer_its_visitor_got_last(
    local_xr2: LocalXr2, environ: dict[str, str], tmp_path: Path
) -> None:
    with serving("fastapi_chat", tmp_path, environ) as server:
        visitors = [Visitor(number, server.base_url) for number in range(VISITORS)]
        interleave([visitor.chat() for visitor in visitors], seed=28)

    likes = events_by_trace(local_xr2, "answer_liked")
    assert likes.keys() == {visitor.trace_ids[-1] for visitor in visitors}
    assert len({event["session_id"] for event in likes.values()}) == VISITORS
    assert doubled(local_xr2) == []
    assert server.complaints() == []
