"""What monitor and supervisor say of recorded drives on which nobody attacks: frame by frame, without a clock.

    l4edge simulate drive --out DRIVE --split test --seed 11 --duration 8     # and so on
    python -m l4edge_pipeline.safety.clean_drives DRIVE... --out clean-drives.json --page docs/safety.md

Every frame has all the time it needs, so that the figures are those of the networks and thresholds, not of a machine.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Type, TypeVar

import yaml

from l4edge_perception.camera.classifier import SignClassifier
from l4edge_perception.camera.detector import Detector
from l4edge_perception.errors import InputError
from l4edge_perception.files import write_text
from l4edge_perception.packages import load_package
from l4edge_perception.pages import replaced
from l4edge_perception.recordings.events import CameraEvent, EgoEvent, FrameEvent
from l4edge_perception.recordings.reader import open_recording
from l4edge_perception.safety_types import Hazard, ObjectVerdict, SafetyVerdict, State, Verdict
from l4edge_perception.tracking import Tracker, TrackerConfig
from l4edge_perception.types import CameraModel, EgoState
from l4edge_pipeline.resources import find_package
from l4edge_pipeline.safety.assembly import PackageConfig, assemble
from l4edge_pipeline.safety.config import SupervisorConfig
from l4edge_pipeline.safety.evaluation import SAFETY, overclaims
from l4edge_pipeline.safety.hiding import FreeSpaceConfig
from l4edge_pipeline.safety.monitor import Monitor, MonitorConfig
from l4edge_pipeline.safety.scene import Scene
from l4edge_pipeline.safety.supervisor import Supervisor, way_to_command
from l4edge_pipeline.stages import configuration_folder, load_stages
from l4edge_pipeline.timing.records import Outcome

Config = TypeVar("Config")

HALF_PERIOD_NS = 50_000_000
"""Between two statuses of the supervisor; a frame has two."""

BEGIN = "<!-- clean drives: written by l4edge_pipeline.safety.clean_drives -->"
END = "<!-- end of clean drives -->"


@dataclass(frozen=True)
class Outcomes:
    """What was said of one drive.

    Attributes:
        drive: name of its folder. frames: of it. seconds: from the first to the last, and one period.
        certified: frames. uncertified: frames, by reason.
        alarms: frames with an alarm of the frame or of one of its objects. labels, hiding: those of them with an alarm
            about a sign or light, about something hidden.
        confirmed: frames in which an alarm was confirmed.
        most: highest count of alarms of one suspect.
        state: highest state of the vehicle. causes: all that held it above NOMINAL.
        caution_s: seconds above NOMINAL.
        beyond: certificates that say more than was looked at.
    """

    drive: str
    frames: int
    seconds: float
    certified: int
    uncertified: Dict[str, int]
    alarms: int
    labels: int
    hiding: int
    confirmed: int
    most: int
    state: str
    causes: Dict[str, int]
    caution_s: float
    beyond: int


def outcomes(
    name: str, verdicts: Sequence[SafetyVerdict], states: Sequence[State], causes: Sequence[str], period_s: float
) -> Outcomes:
    """Sum up a drive.

    Args:
        verdicts: of its frames. states: after each of them. causes: of all frames above NOMINAL.
        period_s: between two frames.
    """

    def alarming(wanted: Callable[[ObjectVerdict], bool]) -> int:
        return sum(
            any(entry.verdict == Verdict.ALARM and wanted(entry) for entry in verdict.objects) for verdict in verdicts
        )

    raised = [
        verdict.verdict == Verdict.ALARM or any(entry.verdict == Verdict.ALARM for entry in verdict.objects)
        for verdict in verdicts
    ]
    return Outcomes(
        drive=name,
        frames=len(verdicts),
        seconds=round(len(verdicts) * period_s, 1),
        certified=sum(verdict.verdict == Verdict.CERTIFIED for verdict in verdicts),
        uncertified=dict(Counter(v.reason for v in verdicts if v.verdict == Verdict.UNCERTIFIED)),
        alarms=sum(raised),
        labels=alarming(lambda entry: entry.hazard == Hazard.LABEL),
        hiding=alarming(lambda entry: entry.hazard == Hazard.HIDING),
        confirmed=sum(verdict.alarm_count.confirmed for verdict in verdicts),
        most=max((verdict.alarm_count.alarms for verdict in verdicts), default=0),
        state=max(states, default=State.NOMINAL).name,
        causes=dict(Counter(causes)),
        caution_s=round(sum(state > State.NOMINAL for state in states) * period_s, 1),
        beyond=sum(overclaims(verdict) for verdict in verdicts),
    )


class Bench:
    """Networks, monitor and supervisor for one drive after another."""

    def __init__(self, parameters: Path) -> None:
        try:
            self.parameters = yaml.safe_load(parameters.read_text(encoding="utf-8"))["/**"]["ros__parameters"]
        except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
            raise InputError(f"{parameters}: no parameter file of the safety monitor ({error})") from error
        self._table = load_stages(monitor=True)
        self._detector = Detector(load_package(find_package("detector")), None, 1)
        self._classifier = SignClassifier(load_package(find_package("sign_classifier")))

    def _filled(self, kind: Type[Config]) -> Config:
        names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
        return kind(**{name: value for name, value in self.parameters.items() if name in names})

    def _monitor(self) -> Monitor:
        safety = self._table.stages[SAFETY]
        monitor, _, refused = assemble(
            self._filled(PackageConfig), safety.package, self._filled(MonitorConfig), self._filled(FreeSpaceConfig),
            safety.deadline_ms, 1, clock=_stands_still, ros_clock=_stands_still,
        )
        monitor.check()
        if refused or monitor.finding:
            raise InputError(f"safety monitor: {refused or monitor.finding}")
        return monitor

    def drive(self, folder: Path) -> Outcomes:
        """Look at one recording.

        Raises:
            InputError: it cannot be read, or the monitor does not work.
        """
        monitor, tracker = self._monitor(), Tracker(TrackerConfig())
        supervisor = Supervisor(self._table, SupervisorConfig(), timed=False)
        chain = way_to_command(self._table)
        camera: Optional[CameraModel] = None
        ego: Optional[EgoState] = None
        verdicts: List[SafetyVerdict] = []
        states: List[State] = []
        causes: List[str] = []
        for event in open_recording(folder).events():
            if isinstance(event, CameraEvent):
                camera = event.camera
            elif isinstance(event, EgoEvent):
                ego = event.ego
                supervisor.take_ego(ego, event.stamp_ns)
            elif isinstance(event, FrameEvent):
                pixels, stamp_ns = event.decode(), event.stamp_ns
                seen = self._classifier.classify(pixels, self._detector.detect(pixels, stamp_ns))
                tracks = tracker.update(seen, camera, ego) if camera is not None and ego is not None else None
                for stage in chain:
                    supervisor.take_pass(stage, Outcome.PROCESSED, stamp_ns, 0.0, stamp_ns)
                verdicts.append(monitor.examine(Scene(stamp_ns, 0, pixels, seen, tracks, camera)))
                supervisor.take_verdict(verdicts[-1], stamp_ns)
                status = max(
                    (supervisor.status(stamp_ns + half * HALF_PERIOD_NS) for half in range(2)),
                    key=lambda status: status.state,
                )
                states.append(status.state)
                causes += status.reasons
        return outcomes(folder.name, verdicts, states, causes, 1.0 / self._table.stages[SAFETY].rate_hz)


def summary(drives: Sequence[Outcomes]) -> Dict[str, Any]:
    """All drives together, alarms per hour before and after they are confirmed."""
    hours = sum(drive.seconds for drive in drives) / 3600.0
    frames = sum(drive.frames for drive in drives)
    alarms, confirmed = (sum(getattr(drive, name) for drive in drives) for name in ("alarms", "confirmed"))
    return {
        "drives": len(drives),
        "frames": frames,
        "minutes": round(60 * hours, 2),
        "frames_alarmed": round(alarms / max(frames, 1), 4),
        "alarms_per_hour": round(alarms / hours, 1) if hours else None,
        "confirmed_per_hour": round(confirmed / hours, 1) if hours else None,
        "frames_certified": round(sum(drive.certified for drive in drives) / max(frames, 1), 4),
        "above_caution": sum(State[drive.state] > State.CAUTION for drive in drives),
        "seconds_above_nominal": round(sum(drive.caution_s for drive in drives), 1),
        "certificates_beyond_covered": sum(drive.beyond for drive in drives),
    }


def table(result: Dict[str, Any]) -> str:
    """The drives as lines of Markdown."""
    titles = (
        "drive", "frames", "certified", "uncertified", "alarmed", "about signs and lights", "about hidden objects",
        "most alarms of one suspect", "confirmed", "highest state", "seconds above `NOMINAL`",
    )
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * 8 + "---|---:|"]
    for drive in result["drives"]:
        reasons = ", ".join(f"{name} {count}" for name, count in sorted(drive["uncertified"].items())) or "0"
        lines.append(
            "| {drive} | {frames} | {certified} | {reasons} | {alarms} | {labels} | {hiding} | {most} | {confirmed} | "
            "`{state}` | {caution_s} |".format(reasons=reasons, **drive)
        )
    lines.append("")
    whole = result["summary"]
    lines.append(
        f"Together {whole['frames']} frames, {whole['minutes']} minutes: {whole['frames_certified']:.1%} of the frames "
        f"certified, {whole['frames_alarmed']:.1%} alarmed, which would be {whole['alarms_per_hour']:.0f} frames an "
        f"hour; confirmed: {whole['confirmed_per_hour']:.0f} frames an hour. Drives above `CAUTION`: "
        f"{whole['above_caution']} of {whole['drives']}; {whole['seconds_above_nominal']} s above `NOMINAL`."
    )
    return "\n".join(lines)


def on_page(page: str, result: Dict[str, Any]) -> str:
    """The page with the table in its place.

    Raises:
        InputError: the page has no place for it.
    """
    return replaced(page, BEGIN, END, table(result), "the page")


def _stands_still() -> int:
    return 0


def main() -> None:
    """Look at drives, write what was said of them, and put the table on the page."""
    parser = argparse.ArgumentParser(description="What the safety monitor says of drives without an attack.")
    parser.add_argument("drives", type=Path, nargs="*", help="recordings; none: only put the table of --out on --page")
    parser.add_argument("--out", type=Path, required=True, help="result file")
    parser.add_argument("--page", type=Path, help="where the table belongs")
    parser.add_argument("--parameters", type=Path, default=configuration_folder() / "safety_monitor.param.yaml")
    given = parser.parse_args()
    if given.drives:
        bench, drives = Bench(given.parameters), []
        for folder in given.drives:
            drives.append(bench.drive(folder))
            print(json.dumps(asdict(drives[-1])), flush=True)
        names = " ".join(drive.drive for drive in drives)
        result = {
            "command": f"python -m l4edge_pipeline.safety.clean_drives {names} --out {given.out} --page docs/safety.md",
            "drives_made_by": "l4edge simulate drive --out SPLIT_SEED --split SPLIT --seed SEED "
            "--duration SECONDS --start (6 * (SEED mod 5))",
            "parameters": bench.parameters,
            "summary": summary(drives),
            "drives": [asdict(drive) for drive in drives],
        }
        write_text(given.out, json.dumps(result, indent=1) + "\n")
    result = json.loads(given.out.read_text(encoding="utf-8"))
    if given.page:
        write_text(given.page, on_page(given.page.read_text(encoding="utf-8"), result))
    print(json.dumps(result["summary"]))


if __name__ == "__main__":
    main()
