"""Watches the stage records and says on /diagnostics which stage is late, drops frames or has gone silent."""

import time
from typing import Dict, List, Optional

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from l4edge_msgs.msg import StageRecord as StageRecordMessage

from l4edge_pipeline.nodes.parameters import declare
from l4edge_pipeline.nodes.polling import PolledSubscription
from l4edge_pipeline.nodes.quality import LOG
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import PipelineNode
from l4edge_pipeline.nodes.wire import decode
from l4edge_pipeline.timing.monitor import StageHealth

PERIOD_S = 0.1
"""Between two looks at the records that have arrived."""
LEVELS = {"ok": DiagnosticStatus.OK, "warning": DiagnosticStatus.WARN, "error": DiagnosticStatus.ERROR}


class TimingMonitorNode(PipelineNode):
    """Aggregates stage records; judges nothing itself."""

    def __init__(self) -> None:
        super().__init__("timing_monitor")
        silence_s = declare(self, "silence_s", 1.0)
        service = self.table.services["timing_monitor"]
        self.health: Dict[str, StageHealth] = {
            stage.name: StageHealth(stage, silence_s) for stage in self.table.stages.values()
        }
        self.diagnostics = self.create_publisher(DiagnosticArray, service.outputs["diagnostics"], 10)
        self.records = PolledSubscription(self, StageRecordMessage, service.inputs["records"], LOG)
        self.create_timer(PERIOD_S, self._take)
        self.create_timer(declare(self, "period_s", 1.0), self._report)

    def _take(self) -> None:
        for serialized in self.records.take():
            message = decode(serialized, StageRecordMessage)
            health = self.health.get(message.stage)
            if health is not None:
                health.add(message.outcome, (message.published_steady_ns - message.received_steady_ns) * 1e-6,
                           time.monotonic_ns())

    def _report(self) -> None:
        self._take()
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        now_ns = time.monotonic_ns()
        for health in self.health.values():
            level, text, values = health.report(now_ns)
            array.status.append(DiagnosticStatus(
                level=LEVELS[level], name=f"l4edge: {health.stage.name}", message=text,
                values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
            ))
        self.diagnostics.publish(array)


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``timing_monitor``."""
    run_node(TimingMonitorNode, arguments)


if __name__ == "__main__":
    main()
