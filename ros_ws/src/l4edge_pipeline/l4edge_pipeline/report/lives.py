"""Which track lived when."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from l4edge_perception.types import Tracks
from l4edge_pipeline.report.scene import class_name
from l4edge_pipeline.timing.statistics import percentile


@dataclass(frozen=True)
class Life:
    """One track from its first message to its last.

    Attributes:
        class_name: the one it had most often.
        stamps_ns: of the frames whose result names the track, rising.
        seen: one bool a stamp, whether a detection was matched in that frame.
        best_view_ns: stamp of the frame in which its box was largest while seen.
    """

    track: int
    class_name: str
    stamps_ns: Tuple[int, ...]
    seen: Tuple[bool, ...]
    best_view_ns: int

    @property
    def seconds(self) -> float:
        """From the first to the last message."""
        return (self.stamps_ns[-1] - self.stamps_ns[0]) * 1e-9

    @property
    def frames_seen(self) -> int:
        """Frames with a matched detection."""
        return sum(self.seen)

    def spans(self) -> List[Tuple[int, int, bool]]:
        """Stretches (first stamp, last stamp, seen) that together cover the life; neighbours share a stamp."""
        spans: List[Tuple[int, int, bool]] = []
        for start, end, seen in zip(self.stamps_ns, self.stamps_ns[1:], self.seen[1:]):
            if spans and spans[-1][2] == seen:
                spans[-1] = (spans[-1][0], end, seen)
            else:
                spans.append((start, end, seen))
        return spans


def track_lives(results: Mapping[int, Tracks]) -> List[Life]:
    """The lives of all tracks, those seen in most frames first."""
    sightings: Dict[int, List[Tuple[int, int, bool, float]]] = {}
    for stamp in sorted(results):
        tracks = results[stamp]
        boxes = np.nan_to_num(tracks.boxes.astype(np.float64))
        areas = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
        for row in zip(tracks.ids, tracks.class_ids, tracks.unseen_s, areas):
            sightings.setdefault(int(row[0]), []).append((stamp, int(row[1]), bool(row[2] <= 0), float(row[3])))
    lives = [_life(track, rows) for track, rows in sightings.items()]
    return sorted(lives, key=lambda life: (-life.frames_seen, life.track))


def _life(track: int, rows: Sequence[Tuple[int, int, bool, float]]) -> Life:
    classes = Counter(row[1] for row in rows)
    best = max(rows, key=lambda row: (row[2], row[3]))
    return Life(
        track=track,
        class_name=class_name(classes.most_common(1)[0][0]),
        stamps_ns=tuple(row[0] for row in rows),
        seen=tuple(row[2] for row in rows),
        best_view_ns=best[0],
    )


def summarise_lives(lives: Sequence[Life], first_stamp_ns: int, longest: int = 20) -> Dict[str, Any]:
    """Counts, and the tracks seen in most frames, times in seconds since the first frame."""
    return {
        "count": len(lives),
        "by_class": dict(Counter(life.class_name for life in lives)),
        "seconds_p50": percentile([life.seconds for life in lives], 50),
        "longest": [
            {
                "id": life.track,
                "class": life.class_name,
                "first_s": (life.stamps_ns[0] - first_stamp_ns) * 1e-9,
                "last_s": (life.stamps_ns[-1] - first_stamp_ns) * 1e-9,
                "frames": len(life.stamps_ns),
                "frames_seen": life.frames_seen,
            }
            for life in lives[:longest]
        ],
    }
