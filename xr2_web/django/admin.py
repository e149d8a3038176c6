"""What waits and what was refused, to look at; a dead letter can be put back, and nothing else be changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import ngettext

from .models import DeadLetter, DeadLetters, Event, Kept

if TYPE_CHECKING:
    ModelAdmin: TypeAlias = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class KeptAdmin(ModelAdmin):
    """The common part of both."""

    list_filter = ("event_name",)
    search_fields = ("trace_id__exact",)
    search_help_text = "A trace id"
    ordering = ("id",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Events are made by tracking them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What has happened stays as it happened."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No accepted event is lost."""
        return False

    @admin.display(description="made", ordering="made_at")
    def made(self, kept: Kept) -> str:
        """When it was tracked."""
        return _moment(kept.made_at)

    @admin.display(description="body")
    def shown_body(self, kept: Kept) -> str:
        """What is sent."""
        return format_html("<pre>{}</pre>", kept.readable_body)


@admin.register(Event)
class EventAdmin(KeptAdmin):
    """Events that wait."""

    list_display = ("event_name", "trace_id", "made", "attempts", "due", "is_taken")
    fields = readonly_fields = ("event_name", "trace_id", "made", "attempts", "due", "is_taken", "shown_body")

    @admin.display(description="due", ordering="due_at")
    def due(self, event: Event) -> str:
        """When it may be taken; where it is taken, the end of the lease."""
        return _moment(event.due_at)

    @admin.display(description="taken", boolean=True)
    def is_taken(self, event: Event) -> bool:
        """Whether a courier has taken it."""
        return bool(event.token)


@admin.register(DeadLetter)
class DeadLetterAdmin(KeptAdmin):
    """Events that xR2 refused."""

    list_display = ("event_name", "trace_id", "made", "attempts", "died", "reason")
    fields = readonly_fields = ("event_name", "trace_id", "made", "attempts", "died", "reason", "shown_body")
    ordering = ("-id",)
    actions = ("requeue",)

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        """Whether this user may change dead letters."""
        return ModelAdmin.has_change_permission(self, request)

    @admin.display(description="died", ordering="died_at")
    def died(self, letter: DeadLetter) -> str:
        """When it was refused."""
        return _moment(letter.died_at)

    @admin.action(description="Send the selected dead letters again", permissions=["requeue"])
    def requeue(self, request: HttpRequest, letters: DeadLetters) -> None:
        """Have them tried again."""
        count = letters.requeue()
        told = ngettext("%d event waits again.", "%d events wait again.", count) % count
        self.message_user(request, told, messages.SUCCESS)


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC if settings.USE_TZ else None)
    return str(localize(localtime(moment) if settings.USE_TZ else moment))
