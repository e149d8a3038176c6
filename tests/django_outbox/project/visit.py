"""Visits pages of the project in a process of its own, prints what they say, and waits until all events have left."""

from __future__ import annotations

import os
import sys

import django

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django_outbox.project.settings"
    django.setup()
    from django.test import Client

    from xr2_web.django.installation import installation

    visitor = Client(raise_request_exception=False)
    for page in sys.argv[1:]:
        answer = visitor.post(page)
        sys.stdout.write(f"{answer.status_code} {answer.content.decode()}\n")
    sys.stdout.write(f"{installation().runtime.flush(20).left} left\n")
