"""Events in a database (``XR2_OUTBOX=database``); ``python -m chat.event_tables`` makes the tables."""

import os
from pathlib import Path

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import sessionmaker

from xr2_web.sqlalchemy import create_tables, keep_events


def new_engine() -> Engine:
    path = os.environ.get("SHOP_DATABASE", Path(__file__).resolve().parents[1] / "chat.sqlite3")
    return create_engine(f"sqlite:///{path}", connect_args={"timeout": 20})


def install() -> None:
    engine = new_engine()
    keep_events(engine, sessionmaker(engine))


if __name__ == "__main__":
    create_tables(new_engine())
