"""ROS parameters into frozen configurations."""

from dataclasses import MISSING, fields
from typing import Any, Type, TypeVar

from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node

from l4edge_perception.errors import InputError

Configuration = TypeVar("Configuration")
PARAMETER_TYPES = (bool, int, float, str)


def configure(node: Node, kind: Type[Configuration]) -> Configuration:
    """Declare every plain field of the dataclass ``kind`` as a parameter of ``node`` and build ``kind`` from them.

    The dataclass states the default and the type of each parameter, so there is one place for both.

    Raises:
        InputError: a parameter has the wrong type or a value that ``kind`` refuses.
    """
    values = {}
    for item in fields(kind):  # type: ignore[arg-type]
        if item.default is not MISSING and isinstance(item.default, PARAMETER_TYPES):
            values[item.name] = declare(node, item.name, item.default)
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(f"{node.get_fully_qualified_name()}: {error}") from error


def declare(node: Node, name: str, default: Any) -> Any:
    """Declare one parameter of the type of its default and return its value."""
    try:
        return node.declare_parameter(name, default).value
    except InvalidParameterTypeException as error:
        raise InputError(
            f"{node.get_fully_qualified_name()}: parameter {name} must be a {type(default).__name__}"
        ) from error
