"""The tables of a spool file."""

from __future__ import annotations

VERSION = 1
"""The schema, kept as ``user_version``. A file of a newer one is left alone."""

SCHEMA = f"""
BEGIN;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL,
    event_name TEXT NOT NULL,
    body BLOB NOT NULL,
    made_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    UNIQUE (trace_id, event_name)
);
CREATE TABLE dead (
    trace_id TEXT NOT NULL,
    event_name TEXT NOT NULL,
    body BLOB NOT NULL,
    made_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    died_at REAL NOT NULL,
    PRIMARY KEY (trace_id, event_name)
);
CREATE INDEX died ON dead (died_at);
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
COMMIT;
"""
