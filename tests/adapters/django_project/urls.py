"""No pages of its own: each site under test brings its own."""

from __future__ import annotations

urlpatterns: list[object] = []
