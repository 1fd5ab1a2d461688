"""The order of recorded messages does not depend on the order of their arrival."""

from hypothesis import given
from hypothesis import strategies as st

from l4edge_pipeline.replay.ordering import ReorderWindow


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), max_size=60, unique=True), st.randoms())
def test_any_arrival_gives_the_same_order(messages, random):
    arrivals = list(messages)
    random.shuffle(arrivals)
    written = []
    window = ReorderWindow(lambda stamp, topic, content: written.append((stamp, topic)), window_ns=30)
    for stamp, topic in arrivals:
        window.add(stamp, topic, b"")
    window.flush()
    assert written == sorted(messages)


def test_equal_stamp_and_topic_keep_their_order():
    written = []
    window = ReorderWindow(lambda stamp, topic, content: written.append(content))
    for content in (b"c", b"a", b"b"):
        window.add(5, 0, content)
    window.flush()
    assert written == [b"c", b"a", b"b"]


def test_memory_is_bounded_by_the_window():
    written = []
    window = ReorderWindow(lambda stamp, topic, content: written.append(stamp), window_ns=10)
    for stamp in range(1, 101):
        window.add(stamp, 0, b"")
    assert written == list(range(1, 90))


def test_message_without_a_stamp_stays_where_it_arrived():
    written = []
    window = ReorderWindow(lambda stamp, topic, content: written.append((stamp, content)))
    for stamp, content in ((5, b"a"), (0, b"b"), (9, b"c")):
        window.add(stamp, 0, content)
    window.flush()
    assert written == [(5, b"a"), (5, b"b"), (9, b"c")]
