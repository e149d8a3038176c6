"""Signing up, logging in, logging out."""

from __future__ import annotations

import sqlite3

from flask import Blueprint, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from xr2_web import redirected, track

from .database import connection

bp = Blueprint("accounts", __name__)


@bp.before_app_request
def load_user() -> None:
    g.user = None
    if "user_id" in session:
        query = "SELECT id, username FROM user WHERE id = ?"
        g.user = connection().execute(query, (session["user_id"],)).fetchone()


@bp.route("/signup", methods=["GET", "POST"])
@track("sign_up", when=redirected)
def sign_up() -> ResponseReturnValue:
    if request.method != "POST":
        return render_template("sign_up.html", errors={})
    username, password = request.form.get("username", "").strip(), request.form.get("password", "")
    errors = problems(username, password)
    user_id = None if errors else create_user(username, password)
    if user_id is None:
        return render_template("sign_up.html", errors=errors or {"username": "This name is taken."})
    session["user_id"] = user_id
    return redirect(url_for("storefront.home"), 303)


@bp.route("/login", methods=["GET", "POST"])
def log_in() -> ResponseReturnValue:
    if request.method != "POST":
        return render_template("log_in.html", errors={})
    query = "SELECT id, password FROM user WHERE username = ?"
    user = connection().execute(query, (request.form.get("username", "").strip(),)).fetchone()
    if user is None or not check_password_hash(user["password"], request.form.get("password", "")):
        return render_template("log_in.html", errors={"username": "Name and password do not match."})
    session["user_id"] = user["id"]
    return redirect(url_for("storefront.home"), 303)


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    session.clear()
    return redirect(url_for("storefront.home"), 303)


def problems(username: str, password: str) -> dict[str, str]:
    """Say what is wrong with a new account, by field."""
    found = {}
    if not 1 <= len(username) <= 150:
        found["username"] = "Please choose a name of up to 150 characters."
    if len(password) < 8:
        found["password"] = "Please take at least 8 characters."
    return found


def create_user(username: str, password: str) -> int | None:
    """Add the account and return its id, or None when the name is taken."""
    try:
        with connection() as db:
            query = "INSERT INTO user (username, password) VALUES (?, ?)"
            return db.execute(query, (username, generate_password_hash(password))).lastrowid
    except sqlite3.IntegrityError:
        return None
