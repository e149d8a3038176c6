"""A pytest plugin for Flask's own suite, plain and wrapped: it uses a private name that pytest has since renamed."""

from __future__ import annotations

from _pytest import monkeypatch

if not hasattr(monkeypatch, "notset"):
    monkeypatch.notset = monkeypatch.NOTSET
