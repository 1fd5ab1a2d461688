"""Stage records: every frame gets exactly one, with its moments in order."""

from l4edge_pipeline.timing.meter import StageMeter
from l4edge_pipeline.timing.records import Outcome


class Steps:
    """A clock that moves one millisecond each time it is read."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1_000_000
        return self.now


def make_meter(first_sequence=None):
    records = []
    return StageMeter("tracking", "/tracking", records.append, first_sequence, Steps(), lambda: 7), records


def test_processed_frame_has_its_moments():
    meter, records = make_meter()
    frame = meter.begin(stamp_ns=5, frame_id="camera", sequence=0, received_ns=500_000)
    frame.finish()
    frame.publish(output_sequence=3, level="full")
    (record,) = records
    assert record.outcome is Outcome.PROCESSED and record.level == "full" and record.output_sequence == 3
    assert (record.wait_ms, record.compute_ms, record.latency_ms) == (0.5, 1.0, 2.5)
    assert record.published_ros_ns == 7


def test_gap_is_superseded_one_by_one():
    meter, records = make_meter()
    for sequence, stamp in ((4, 10), (5, 11), (8, 14)):
        meter.begin(stamp, "camera", sequence, 0).publish(0)
    assert [(record.input_sequence, record.outcome.name) for record in records] == [
        (4, "PROCESSED"), (5, "PROCESSED"), (6, "SUPERSEDED"), (7, "SUPERSEDED"), (8, "PROCESSED"),
    ]


def test_first_frames_are_superseded_only_if_expected():
    meter, records = make_meter(first_sequence=0)
    meter.begin(10, "camera", 2, 0).publish(0)
    assert [record.outcome.name for record in records] == ["SUPERSEDED", "SUPERSEDED", "PROCESSED"]


def test_restarted_publisher_is_no_gap():
    meter, records = make_meter()
    meter.begin(10, "camera", 40, 0).publish(0)
    meter.begin(11, "camera", 0, 0).publish(1)
    assert [record.outcome for record in records] == [Outcome.PROCESSED] * 2


def test_known_superseded_and_rejected_frames_are_counted_once():
    meter, records = make_meter()
    meter.begin(10, "camera", 0, 0).publish(0)
    meter.supersede(1)
    meter.reject(2, "camera", 0, 0, "empty image")
    meter.begin(12, "camera", 3, 0).publish(1)
    assert [record.input_sequence for record in records] == [0, 1, 2, 3]
    assert records[2].detail == "empty image"


def test_stamps_must_rise():
    meter, records = make_meter()
    meter.begin(10, "camera", 0, 0).publish(0)
    assert meter.begin(10, "camera", 1, 0) is None
    assert meter.begin(9, "camera", 2, 0) is None
    assert meter.begin(0, "camera", 3, 0) is None
    assert [record.detail for record in records[1:]] == ["stamp runs back", "stamp runs back", "stamp is missing"]
    assert all(record.outcome is Outcome.DROPPED for record in records[1:])


def test_arrival_is_never_after_the_start():
    meter, records = make_meter()
    meter.begin(10, "camera", 0, received_ns=10**15).publish(0)
    assert records[0].wait_ms == 0.0
