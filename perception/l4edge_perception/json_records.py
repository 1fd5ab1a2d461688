"""Strict reading of JSON into dataclasses: every field present, known and of its type, or an InputError naming it."""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Mapping, Union, get_type_hints

from l4edge_perception.errors import InputError


def from_json(kind: Any, value: Any, file: str, place: str = "") -> Any:
    """``value``, as it came from ``json.loads``, as an object of type ``kind``.

    Args:
        kind: a dataclass, ``Tuple[X, ...]``, ``Mapping[str, X]``, ``Optional[X]``, ``float``, ``Any`` or
            any other type, of which ``value`` must be an instance.
        value: what to read.
        file: named in errors.
        place: path of the field inside the file, named in errors.

    Raises:
        InputError: a field is missing, unknown or of another type.
    """
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _read_dataclass(kind, value, file, place)
    origin = getattr(kind, "__origin__", None)
    if origin is Union or type(kind).__name__ == "UnionType":  # Optional; UnionType came after Python 3.8
        return None if value is None else from_json(kind.__args__[0], value, file, place)
    if origin is tuple:
        _expect(isinstance(value, (list, tuple)), "a list", value, file, place)
        return tuple(from_json(kind.__args__[0], item, file, _join(place, str(i))) for i, item in enumerate(value))
    if origin is not None:
        _expect(isinstance(value, dict), "an object", value, file, place)
        return {name: from_json(kind.__args__[1], item, file, _join(place, name)) for name, item in value.items()}
    if kind is float:
        _expect(isinstance(value, (int, float)) and not isinstance(value, bool), "a number", value, file, place)
        return float(value)
    words = {str: "text", int: "a whole number", bool: "true or false"}
    right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    _expect(right, words.get(kind, kind.__name__), value, file, place)
    return value


def _read_dataclass(kind: Any, value: Any, file: str, place: str) -> Any:
    _expect(isinstance(value, Mapping), "an object", value, file, place)
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    for name in value:
        if name not in known:
            raise InputError(
                "{}: field {}: unknown; fields here are {}".format(file, _join(place, name), ", ".join(known))
            )
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{file}: field {_join(place, name)}: missing")
    return kind(**{name: from_json(hints[name], item, file, _join(place, name)) for name, item in value.items()})


def _expect(right: bool, wanted: str, value: Any, file: str, place: str) -> None:
    if not right:
        raise InputError("{}: field {}: must be {}, is {!r}".format(file, place or "(top)", wanted, value))


def _join(place: str, name: str) -> str:
    return name if not place else f"{place}.{name}"
