"""Subscriptions that are looked into when somebody needs what lies there.

On two cores every wake-up in the middle of a frame's way takes time from the stage at work: readers that are in no
hurry (recorder, monitors) and inputs that are read as they last were do without.
"""

from typing import Any, List, Tuple

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile


class _NeverReady(CallbackGroup):
    """Keeps its subscriptions out of what the executor waits for."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass


class PolledSubscription:
    """A subscription that never wakes its node.

    Args:
        quality: its depth is how many messages may lie there between two looks; older ones are lost.
    """

    def __init__(self, node: Node, message_type: type, topic: str, quality: QoSProfile):
        self.topic = topic
        self.message_type = message_type
        self._group = _NeverReady()
        self._subscription = node.create_subscription(
            message_type, topic, _never_called, quality, raw=True, callback_group=self._group
        )

    def take(self) -> List[bytes]:
        """All messages since the last look, serialized, the oldest first."""
        return [serialized for serialized, _ in self.take_with_arrivals()]

    def take_with_arrivals(self) -> List[Tuple[bytes, int]]:
        """The same, each with the moment of its arrival: nanoseconds of the wall clock, as the middleware notes it."""
        taken: List[Tuple[bytes, int]] = []
        handle = self._subscription.handle
        with handle:
            while True:
                item = handle.take_message(self.message_type, True)
                if item is None:
                    return taken
                taken.append((item[0], item[1]["received_timestamp"]))


def _never_called(_: bytes) -> None:
    """Rclpy asks for a callback; none of these is called."""
