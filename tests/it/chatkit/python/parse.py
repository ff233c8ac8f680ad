"""Checks values against the types of the `openai-chatkit` package.

Reads lines of JSON, {"kind": ..., "name": ..., "value": ...}, from standard input. Prints one line for each value that the package
rejects or of which it does not know a field, and exits with status 1 if there was one.
"""

import json
import sys
import warnings
from datetime import datetime
from typing import get_args

warnings.filterwarnings("ignore")

from pydantic import TypeAdapter, ValidationError  # noqa: E402

from chatkit import types, widgets  # noqa: E402

KINDS = {
    kind: TypeAdapter(type_)
    for kind, type_ in {
        "request": types.ChatKitReq,
        "event": types.ThreadStreamEvent,
        "update": types.ThreadItemUpdate,
        "item": types.ThreadItem,
        "thread": types.Thread,
        "page_of_items": types.Page[types.ThreadItem],
        "page_of_threads": types.Page[types.Thread],
        "attachment": types.Attachment,
        "transcription": types.TranscriptionResult,
        "updated_item": types.SyncCustomActionResponse,
        "widget": widgets.WidgetRoot,
    }.items()
}

# Items that the package stores but never sends to clients.
HIDDEN = ("hidden_context_item", "sdk_hidden_context")

# The package takes any component with any property, so each is held against the class of its own name as well.
COMPONENTS = {
    class_.model_fields["type"].default: class_
    for class_ in (*get_args(get_args(widgets.StrictWidgetComponent)[0]), widgets.Card, widgets.ListView)
}


def parse_time(text):
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def lost(value, known, path="."):
    """Yields the fields of `value` that are missing or different in `known`, the package's reading of the same value."""
    if isinstance(value, dict) and isinstance(known, dict):
        for name, inner in value.items():
            if name not in known:
                yield f"{path}.{name} is not known"
            else:
                yield from lost(inner, known[name], f"{path}.{name}")
    elif isinstance(value, list) and isinstance(known, list) and len(value) == len(known):
        for index, (inner, other) in enumerate(zip(value, known)):
            yield from lost(inner, other, f"{path}[{index}]")
    elif value != known:
        at = parse_time(value) if isinstance(value, str) and isinstance(known, str) else None
        if at is None or at != parse_time(known):
            yield f"{path} is understood as {known!r}"


def nodes(value):
    """Yields every component in a value, outermost first."""
    if isinstance(value, dict):
        if value.get("type") in COMPONENTS:
            yield value
        # Contents of actions and tags are not components.
        inner = [value[name] for name in ("children", "widget", "item", "updated_item", "update", "component", "items", "data") if name in value]
    else:
        inner = value if isinstance(value, list) else []
    for each in inner:
        yield from nodes(each)


def hidden(value):
    """Yields for each item in a value whether it must never be sent to clients."""
    if isinstance(value, list):
        for item in value:
            yield from hidden(item)
    elif isinstance(value, dict):
        yield value.get("type") in HIDDEN
        for name in ("item", "items", "updated_item", "data"):
            yield from hidden(value.get(name))


def nulls(value, path="."):
    """Yields the nulls outside free-form maps."""
    if value is None:
        yield f"{path} is null"
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from nulls(inner, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("data", "arguments", "output") or isinstance(inner, list):
                yield from nulls(inner, f"{path}.{name}")


def faults(kind, value):
    if kind not in KINDS:
        yield f"{kind} is not a known kind"
        return
    adapter = KINDS[kind]
    try:
        understood = adapter.validate_python(value)
    except ValidationError as error:
        yield " ".join(str(error).split())
        return
    yield from lost(value, adapter.dump_python(understood, mode="json"))
    if kind == "request":
        return
    yield from nulls(value)
    if any(hidden(value)):
        yield "a hidden item"
    for node in nodes(value):
        class_ = COMPONENTS[node["type"]]
        unknown = set(node) - set(class_.model_fields)
        if unknown:
            yield f"{node['type']} has no {sorted(unknown)}"
        try:
            class_.model_validate(node)
        except ValidationError as error:
            yield " ".join(str(error).split())


def main():
    count = 0
    broken = False
    for line in sys.stdin:
        given = json.loads(line)
        count += 1
        for fault in faults(given["kind"], given["value"]):
            broken = True
            print(f"{given['kind']} {given['name']}: {fault}")
    if not broken:
        print(f"{count} values")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
