"""What of a contract's change can break those who keep to the old one: pure.

A request may ask for less and allow more; an answer may tell more and leave nothing out. Whatever is not known to be
harmless is called breaking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Document = Mapping[str, Any]
_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SUCCESS = "2"


class Way(Enum):
    """In which direction a schema's values go."""

    REQUEST = "request"
    ANSWER = "answer"


@dataclass(frozen=True)
class _Side:
    """A contract, to look references up in."""

    document: Document

    def resolved(self, schema: Any) -> tuple[Mapping[str, Any], str]:
        """The schema behind a reference, and its name."""
        name = ""
        while isinstance(schema, Mapping) and "$ref" in schema:
            name = str(schema["$ref"]).rpartition("/")[2]
            schema = self.document["components"]["schemas"][name]
        return (schema if isinstance(schema, Mapping) else {}), name


def breaking_changes(old: Document, new: Document) -> list[str]:
    """In words, in the order of the old contract. Both are whole OpenAPI 3.1 documents."""
    found: list[str] = []
    for path, operations in old["paths"].items():
        for method, operation in operations.items():
            call = f"{method.upper()} {path}"
            present = new["paths"].get(path, {}).get(method)
            if present is None:
                found.append(f"{call}: is gone")
                continue
            found += [f"{call}: {each}" for each in _Comparison(old, new).of_operations(operation, present)]
    return found


def additions(old: Document, new: Document) -> list[str]:
    """Calls that the old contract does not have."""
    return [
        f"{method.upper()} {path}"
        for path, operations in new["paths"].items()
        for method in operations
        if method not in old["paths"].get(path, {})
    ]


class _Comparison:
    def __init__(self, old: Document, new: Document) -> None:
        self._old = _Side(old)
        self._new = _Side(new)
        self._under_way: set[tuple[str, str, Way]] = set()
        """References that are being compared: a schema may refer to itself."""

    def of_operations(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        if old.get("operationId") != new.get("operationId"):
            yield f"operationId is {new.get('operationId')!r} and was {old.get('operationId')!r}"
        if new.get("security") and not old.get("security"):
            yield "needs a credential now"
        yield from self._parameters(old, new)
        yield from self._request_body(old.get("requestBody"), new.get("requestBody"))
        yield from self._answers(old["responses"], new["responses"])

    def _parameters(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        was, now = ({(each["in"], each["name"]): each for each in side.get("parameters", [])} for side in (old, new))
        for key, parameter in was.items():
            name = f"{key[0]} parameter {key[1]!r}"
            if key not in now:
                yield f"{name} is gone"
                continue
            if now[key].get("required") and not parameter.get("required"):
                yield f"{name} is required now"
            yield from self._schemas(parameter.get("schema"), now[key].get("schema"), name, Way.REQUEST)
        for key in now.keys() - was.keys():
            if now[key].get("required"):
                yield f"{key[0]} parameter {key[1]!r} is new and required"

    def _request_body(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[str]:
        if old is None:
            if new is not None and new.get("required"):
                yield "a body is required now"
            return
        if new is None:
            yield "takes no body any more"
            return
        if new.get("required") and not old.get("required"):
            yield "a body is required now"
        yield from self._contents(old["content"], new["content"], "body", Way.REQUEST)

    def _answers(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        for status, answer in old.items():
            if status not in new:
                if status.startswith(_SUCCESS):
                    yield f"answers {status} no more"
                continue
            for name in answer.get("headers", {}):
                if name not in new[status].get("headers", {}):
                    yield f"{status} has no header {name} any more"
            yield from self._contents(answer.get("content", {}), new[status].get("content", {}), status, Way.ANSWER)
        for status in new.keys() - old.keys():
            if status.startswith(_SUCCESS):
                yield f"answers {status} as well"

    def _contents(self, old: Mapping[str, Any], new: Mapping[str, Any], where: str, way: Way) -> Iterator[str]:
        for media_type, content in old.items():
            if media_type not in new:
                yield f"{where} is no {media_type} any more"
                continue
            yield from self._schemas(content.get("schema"), new[media_type].get("schema"), where, way)
        if not old and new and way is Way.ANSWER:
            yield f"{where} has a body now"

    def _schemas(self, old: Any, new: Any, where: str, way: Way) -> Iterator[str]:
        was, old_name = self._old.resolved(old)
        now, new_name = self._new.resolved(new)
        pair = (old_name, new_name, way)
        if old_name and pair in self._under_way:
            return
        self._under_way.add(pair)
        if old_name or new_name or was != now:
            yield from self._different(was, now, where, way)
        self._under_way.discard(pair)

    def _different(self, was: Mapping[str, Any], now: Mapping[str, Any], where: str, way: Way) -> Iterator[str]:
        if _is_choice(was) or _is_choice(now):
            yield from self._choices(_choices(was), _choices(now), where, way)
            return
        yield from _types(was, now, where, way)
        yield from _values(was, now, where, way)
        yield from _limits(was, now, where, way)
        yield from self._properties(was, now, where, way)
        for part in ("items", "additionalProperties"):
            if part in was and part in now:
                yield from self._schemas(was[part], now[part], f"{where}[]", way)
            elif part in now and way is Way.REQUEST:
                yield f"{where}: {part} are limited now"
            elif part in was and way is Way.ANSWER:
                yield f"{where}: {part} may be anything now"

    def _properties(self, was: Mapping[str, Any], now: Mapping[str, Any], where: str, way: Way) -> Iterator[str]:
        old, new = was.get("properties", {}), now.get("properties", {})
        needed_before, needed_now = set(was.get("required", ())), set(now.get("required", ()))
        for name, schema in old.items():
            if name not in new:
                yield f"{where}.{name} is gone"
                continue
            yield from self._schemas(schema, new[name], f"{where}.{name}", way)
        if way is Way.REQUEST:
            yield from (f"{where}.{name} is required now" for name in sorted(needed_now - needed_before))
        else:
            lost = (needed_before - needed_now) & new.keys()
            yield from (f"{where}.{name} may be missing now" for name in sorted(lost))

    def _choices(self, old: list[Any], new: list[Any], where: str, way: Way) -> Iterator[str]:
        """What was allowed must be allowed by one of the new choices; what is told, have been one of the old."""
        outer, inner = (old, new) if way is Way.REQUEST else (new, old)
        for each in outer:
            tries = [
                list(self._schemas(*((each, other) if way is Way.REQUEST else (other, each)), where, way))
                for other in inner
            ]
            if all(tries):
                yield min(tries, key=len, default=[f"{where} has no choices"])[0]


def _is_choice(schema: Mapping[str, Any]) -> bool:
    return "anyOf" in schema or "oneOf" in schema


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    return list(schema.get("anyOf") or schema.get("oneOf") or [schema])


def _types(was: Mapping[str, Any], now: Mapping[str, Any], where: str, way: Way) -> Iterator[str]:
    old, new = _type_names(was), _type_names(now)
    narrower, wider = (new, old) if way is Way.REQUEST else (old, new)
    if narrower is not None and (wider is None or not wider <= narrower):
        yield f"{where} is {_named(new)} and was {_named(old)}"
    if was.get("format") != now.get("format"):
        told = now.get("format") if way is Way.REQUEST else was.get("format")
        if told is not None:
            yield f"{where} has the format {now.get('format')} and had {was.get('format')}"


def _type_names(schema: Mapping[str, Any]) -> set[str] | None:
    """None when any type will do. Whole numbers are numbers as well."""
    given = schema.get("type")
    if given is None:
        return None
    names = {given} if isinstance(given, str) else set(given)
    return names | {"integer"} if "number" in names else names


def _named(types: set[str] | None) -> str:
    return "anything" if types is None else " or ".join(sorted(types))


def _values(was: Mapping[str, Any], now: Mapping[str, Any], where: str, way: Way) -> Iterator[str]:
    """New values in answers are none: clients are told to expect them (docs/api.md)."""
    old, new = _enumerated(was), _enumerated(now)
    if old is not None and new is not None:
        yield from (f"{where} is never {each!r} any more" for each in old if each not in new)
    if old is None and new is not None and way is Way.REQUEST:
        yield f"{where} is limited to {new} now"
    if old is not None and new is None and way is Way.ANSWER:
        yield f"{where} may be anything now"


def _enumerated(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return None if values is None else list(values)


def _limits(was: Mapping[str, Any], now: Mapping[str, Any], where: str, way: Way) -> Iterator[str]:
    """Only what a request has to keep to: an answer's limits are promises of no value to those who read it."""
    if way is Way.ANSWER:
        return
    for name in _LEAST:
        none_yet = float("-inf") if "imum" in name.lower() else 0  # lengths and counts are never below nothing
        if name in now and now[name] > was.get(name, none_yet):
            yield f"{where}: {name} is {now[name]} and was {was.get(name)}"
    for name in _MOST:
        if name in now and now[name] < was.get(name, float("inf")):
            yield f"{where}: {name} is {now[name]} and was {was.get(name)}"
    if "pattern" in now and now["pattern"] != was.get("pattern"):
        yield f"{where}: the pattern is {now['pattern']} and was {was.get('pattern')}"
