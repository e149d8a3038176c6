"""What the pages say of the faults in force and of the time, and how their forms change both. No I/O happens here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ConfigurationError
from . import chaos
from .chaos import NOTHING, Fault, Faults

RATE, SECONDS, OTHER = "rate.", "seconds.", "other"
"""Before the name of a fault in the form: its rate in per cent, and its seconds; the field for another status."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Faults under a ``title``, and what an application under them is expected to do."""

    title: str
    faults: Faults
    expected: str


PRESETS: Mapping[str, Preset] = {
    "works": Preset("Everything works", NOTHING, "What was kept back arrives."),
    "down": Preset(
        "xR2 is down",
        {"503": Fault(1)},
        "Prompts are the last good copy or the fallback, at once. Events wait, and none is lost.",
    ),
    "flaky": Preset(
        "Bad network",
        chaos.read({"reset": 0.1, "silent": 0.1, "slow": {"rate": 0.3, "seconds": 1}}),
        "No request takes longer than PROMPT_DEADLINE. What is sent twice counts once.",
    ),
    "busy": Preset(
        "Too many requests",
        chaos.read({"429": {"rate": 1, "seconds": 30}}),
        "Nothing is sent for as long as the server says, by none of the processes.",
    ),
    "quota": Preset(
        "Quota used up",
        {chaos.QUOTA: Fault(1)},
        "No prompt is fetched until midnight UTC; events go on.",
    ),
    "revoked": Preset(
        "Key revoked",
        {chaos.REVOKED: Fault(1)},
        "Events wait, and the log names the setting that holds the key.",
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A fault in the form: ``percent`` and ``seconds`` as they are entered, None where it lasts no time."""

    name: str
    told: str
    percent: str
    seconds: str | None


_TOLD = {
    "503": "The server is in trouble: answered with 503, and not processed.",
    "429": "Too many requests: answered with 429 and Retry-After.",
    chaos.SLOW: "The answer comes later; other faults may befall it too.",
    chaos.RESET: "The connection is reset, and the request is not processed.",
    chaos.SILENT: "Processed, but the answer never comes.",
    chaos.QUOTA: "The daily quota of prompt fetches is used up.",
    chaos.REVOKED: "The key is refused with 401.",
}


def rows(faults: Faults, entered: Mapping[str, str]) -> list[Row]:
    """Return a row for each fault that is offered, and for each in force, with what was ``entered`` in a wrong form."""
    names = dict.fromkeys([*_TOLD, *faults])
    return [_row(name, faults.get(name, Fault(0, chaos.usual_seconds(name))), entered) for name in names]


def read_form(fields: Mapping[str, str]) -> Faults:
    """Return the faults that a form holds, or those of its preset; raise ``ConfigurationError`` with what is wrong."""
    if "preset" in fields:
        if (preset := PRESETS.get(fields["preset"])) is None:
            raise ConfigurationError([f"chaos: there is no preset {fields['preset']}"])
        return preset.faults
    if not any(field.startswith(RATE) for field in fields):
        raise ConfigurationError(["chaos: the form has neither a preset nor a rate"])
    entries: dict[str, object] = {}
    for field, text in fields.items():
        if not field.startswith(RATE) or not text.strip():
            continue
        name = field.removeprefix(RATE)
        if name == OTHER:
            name = fields.get(OTHER, "").strip()
        if name in entries:
            raise ConfigurationError([f"chaos: {name} is given twice"])
        rate = _rate(text)
        if rate != 0:
            seconds = fields.get(f"{SECONDS}{name}", "").strip()
            entries[name] = {"rate": rate, **({"seconds": seconds} if seconds else {})}
    return chaos.read(entries)


def describe(faults: Faults) -> str:
    """Say in one line what breaks, and for how many of the requests; nothing where nothing does."""
    return ", ".join(_described(name, fault) for name, fault in faults.items() if fault.rate)


def _described(name: str, fault: Fault) -> str:
    lasting = "" if fault.seconds is None else f" ({_number(fault.seconds)} s)"
    return f"{name}{lasting} for {_number(100 * fault.rate)} %"


def _row(name: str, fault: Fault, entered: Mapping[str, str]) -> Row:
    told = _TOLD.get(name, "Answered with this status, and not processed.")
    percent = entered.get(f"{RATE}{name}", _number(100 * fault.rate))
    seconds = None if fault.seconds is None else entered.get(f"{SECONDS}{name}", f"{_number(fault.seconds)}s")
    return Row(name, told, percent, seconds)


def _rate(text: str) -> object:
    try:
        return float(text) / 100
    except ValueError:
        return text


def _number(value: float) -> str:
    return f"{value:.6g}"
