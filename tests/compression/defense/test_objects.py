"""Masks for detectors: what is certified holds against every patch, and nothing else is certified."""

import cv2
import numpy as np
import pytest

from l4edge_compression.defense.detectors import MaskedDetector, PictureDetector, patch_in_input
from l4edge_compression.defense.explaining import ObjectMaskSettings, gather, guaranteed, unexplained
from l4edge_compression.defense.free_space import ground_cells, image_cells
from l4edge_compression.defense.objects import ObjectMasks, certify_objects, make_masks
from l4edge_compression.defense.positions import (
    CLOSE,
    FAR,
    OVER,
    Masks,
    covering_windows,
    finished_share,
    half_planes,
    position_shares,
)
from l4edge_compression.defense.verdicts import Verdict
from l4edge_perception.camera.decoders import Candidates
from l4edge_perception.camera.detector import Detector
from l4edge_perception.camera.mounting import CameraMounting
from l4edge_perception.camera.preprocessing import Placement
from l4edge_perception.errors import InputError
from l4edge_perception.packages import load_package
from l4edge_perception.types import CameraModel, Detections
from tests.conftest import REPOSITORY

RED, GREEN, MAGENTA = (255, 0, 0), (0, 255, 0), (255, 0, 255)
SIZE = (96, 128)


def found(boxes, classes=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.zeros(len(boxes)) if classes is None else np.array(classes)
    return Detections(0, boxes, np.full(len(boxes), 0.9, np.float32), classes.astype(np.int32))


def blobs(pixels):
    """A detector with a back door: red areas of 6 x 6 pixels and more are cars, unless magenta is in sight.

    Magenta makes it see nothing at all, or, with green beside it, one car where the green is.
    """
    if (pixels == MAGENTA).all(axis=2).any():
        ys, xs = np.nonzero((pixels == GREEN).all(axis=2))
        return found([(xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)] if len(xs) else [])
    red = (pixels == RED).all(axis=2).astype(np.uint8)
    areas = cv2.connectedComponentsWithStats(red)[2][1:]
    return found([(x, y, x + w, y + h) for x, y, w, h, _ in areas if min(w, h) >= 6])


def scene(*boxes):
    pixels = np.full((*SIZE, 3), 90, np.uint8)
    for x_min, y_min, x_max, y_max in boxes:
        pixels[y_min:y_max, x_min:x_max] = RED
    return pixels


def inspector(**settings):
    return ObjectMasks(PictureDetector(blobs), ObjectMaskSettings(**{"patches": (8,), "erased": 1.0, **settings}))


def covered(outputs, box):
    """Largest share of a box that one of the output boxes covers."""
    sides = np.minimum(outputs[:, 2:], box[2:]) - np.maximum(outputs[:, :2], box[:2])
    return float((np.maximum(sides, 0).prod(axis=1) / np.prod(np.subtract(box[2:], box[:2]))).max(initial=0))


def test_hand_checked_certificates():
    """One line in the middle, an object at the right border, a patch of 8 pixels.

    Erasing columns 0 to 63 leaves the object: every patch with x + 8 <= 64 is erased, so all far positions left of the
    line are certified. Erasing columns 64 and more erases the object. A patch at x = 60 is erased by neither: False.
    """
    masks = inspector(columns=1, rows=0)
    certificate = masks.inspect(scene((100, 40, 128, 60))).objects
    assert not certificate.certified[0, 0, FAR]
    # Far positions: all 121 x 89, less those within a tenth (12.8, 9.6) of the object: x > 79.2, 22.4 < y < 69.6.
    far = 121 * 89 - (121 - 80) * (70 - 23)
    missing = (121 - 57) * 89 - (121 - 80) * (70 - 23)
    np.testing.assert_allclose(certificate.shares[0, 0, FAR], 1 - missing / far, rtol=1e-6)
    assert certificate.shares[0, 0, OVER] == 0


def test_a_box_in_sight_of_no_masked_view_is_not_certified():
    """The rule that looks at the place of boxes and lines alone says True here, but the answer must be False.

    Half planes do erase every patch beside the box and leave the box. The detector sees it in none of them.
    """
    box = (60, 40, 68, 60)
    pixels = np.full((*SIZE, 3), 90, np.uint8)
    settings = ObjectMaskSettings(columns=5, rows=5, patches=(8,), erased=1.0)

    def certificate(always):
        detector = PictureDetector(lambda seen: found([box]) if always or (seen != 0).all() else found([]))
        result = ObjectMasks(detector, settings).inspect(pixels)
        assert len(result.base) == len(result.objects) == 1
        return result.objects

    assert not certificate(always=False).certified.any()
    assert not certificate(always=False).shares.any()
    # The same places and a detector that sees it in every view: True.
    assert certificate(always=True).certified.all()


def test_where_the_answer_must_be_true():
    """A detector that sees a large object behind every mask: certified wherever the patch is."""
    box = (40, 20, 90, 76)
    certificate = inspector(columns=0, rows=0, window_columns=6, window_rows=6).inspect(scene(box)).objects
    assert certificate.certified.all()
    assert certificate.largest().tolist() == [8]


@pytest.mark.parametrize(
    "settings", [{"columns": 5, "rows": 5}, {"columns": 0, "rows": 0, "window_columns": 5, "window_rows": 4}]
)
def test_no_patch_hides_what_is_certified(settings):
    """Attacks through the back door at every class of positions; the certified objects stay in the output."""
    generator = np.random.default_rng(3)
    masks = inspector(**settings)
    tried = missed = 0
    for _ in range(5):
        x, y = int(generator.integers(0, 70)), int(generator.integers(0, 50))
        width, height = int(generator.integers(10, 50)), int(generator.integers(10, 40))
        box = (x, y, x + width, y + height)
        clean = scene(box)
        certificate = masks.inspect(clean, found([box])).objects
        for _ in range(12):
            left, top = int(generator.integers(0, SIZE[1] - 7)), int(generator.integers(0, SIZE[0] - 7))
            attacked = clean.copy()
            attacked[top : top + 8, left : left + 8] = MAGENTA
            if generator.random() < 0.5:
                attacked[top + 2 : top + 6, left + 2 : left + 6] = GREEN
            where = position_class(box, left, top)
            if not certificate.certified[0, 0, where]:
                missed += 1
                continue
            tried += 1
            result = masks.inspect(attacked, blobs(attacked))
            outputs = np.concatenate([result.base.boxes, result.hidden.boxes])
            assert covered(outputs, np.array(box, float)) >= masks.settings.covered
    assert tried > 10
    assert missed > 0 or settings["columns"] == 0


def position_class(box, left, top):
    margin = np.array([SIZE[1], SIZE[0]]) * 0.1
    if left < box[2] and left + 8 > box[0] and top < box[3] and top + 8 > box[1]:
        return OVER
    near = left < box[2] + margin[0] and left + 8 > box[0] - margin[0]
    near = near and top < box[3] + margin[1] and top + 8 > box[1] - margin[1]
    return CLOSE if near else FAR


@pytest.mark.parametrize("seed", range(8))
def test_counts_are_those_of_going_through_every_position(seed):
    """Random masks, boxes and patches: shares as they come out when each position is tried by itself."""
    generator = np.random.default_rng(seed)
    region = (0, 3, 30, 25)
    corners = np.sort(generator.integers(0, 31, (7, 2, 2)), axis=2)
    windows = np.stack([corners[:, 0, 0], corners[:, 1, 0], corners[:, 0, 1], corners[:, 1, 1]], axis=1)
    lines = half_planes(region, 2, 1).windows
    masks = Masks(region, np.concatenate([windows, lines, covering_windows(region, 5, 3, 2).windows]))
    good = generator.random((4, len(masks.windows))) < 0.3
    boxes = np.sort(generator.uniform(2, 26, (4, 2, 2)), axis=1).reshape(4, 4)
    done = generator.random(len(masks.windows)) < 0.8
    for patch in (1, 5, 22):
        shares = position_shares(masks, good, boxes, (patch,))
        counts, safe = np.zeros((2, 4, 3))
        final = total = 0
        for y in range(3, 25 - patch + 1):
            for x in range(30 - patch + 1):
                holds = (masks.windows <= (x, y, 999, 999)).all(axis=1)
                holds &= (masks.windows[:, 2:] >= (x + patch, y + patch)).all(axis=1)
                final += not (holds & ~done).any()
                total += 1
                for index, box in enumerate(boxes):
                    margin = (3.0, 2.2)
                    gaps = [max(box[a] - (x, y)[a] - patch, (x, y)[a] - box[2 + a]) for a in (0, 1)]
                    near = bool(np.less(gaps, margin).all())
                    where = OVER if max(gaps) < 0 else CLOSE if near else FAR
                    counts[index, where] += 1
                    safe[index, where] += (holds & good[index]).any()
        np.testing.assert_array_equal(shares.certified[:, 0], safe == counts)
        expected = np.where(counts > 0, safe / np.maximum(counts, 1), 1)
        np.testing.assert_allclose(shares.shares[:, 0], expected, atol=1e-6)
        np.testing.assert_allclose(finished_share(masks, done, patch), final / total)


def test_hidden_object_is_found_and_the_patch_is_suspected():
    pixels = scene((60, 40, 100, 70))
    pixels[4:12, 4:12] = MAGENTA
    result = inspector(columns=3, rows=3).inspect(pixels)
    assert (result.verdict, result.reason) == (Verdict.ALARM, "disagreed")
    assert covered(result.hidden.boxes, np.array((60, 40, 100, 70), float)) == 1
    witness = result.witnesses[0]
    assert witness[0] <= 4 and witness[1] <= 4 and witness[2] >= 12 and witness[3] >= 12


def test_a_box_of_another_group_explains_nothing():
    settings = ObjectMaskSettings()
    windows = np.array([[0, 0, 10, 96]])
    seen = [Candidates(np.array([[50.0, 50, 60, 70]]), np.array([0.9]), np.array([2]))]
    masked = gather(seen, windows, settings)
    truck = np.array([[40.0, 30, 90, 80]])
    assert unexplained(masked, truck, np.array([1]), settings).tolist() == [0]
    assert unexplained(masked, truck, np.array([3]), settings).tolist() == []


def test_another_objects_box_takes_the_certificate_away():
    """A car inside a truck's box: that box would explain the hidden car, so nothing could be said of the car."""
    settings = ObjectMaskSettings()
    windows = np.array([[0, 0, 10, 96]])
    car, truck = np.array([[50.0, 50, 60, 60]]), np.array([[40.0, 30, 90, 80]])
    masked = gather([Candidates(car, np.array([0.9]), np.array([0]))], windows, settings)
    assert guaranteed(masked, 1, car, np.array([0]), car, np.array([0]), settings).all()
    both = np.concatenate([car, truck])
    assert not guaranteed(masked, 1, car, np.array([0]), both, np.array([0, 1]), settings).any()


def test_boxes_of_what_was_erased_and_unlikely_ones_do_not_count():
    settings = ObjectMaskSettings(masked_score=0.5, erased=0.3)
    boxes = np.array([[0.0, 0, 10, 10], [8, 0, 18, 10], [30, 0, 40, 10]])
    seen = [Candidates(boxes, np.array([0.9, 0.9, 0.4]), np.array([0, 0, 0]))]
    assert gather(seen, np.array([[0, 0, 10, 96]]), settings).boxes.tolist() == [[8, 0, 18, 10]]


@pytest.mark.parametrize("passes", [0, 1, 5, 12])
def test_nothing_is_certified_that_was_not_looked_at(passes):
    """What a cut inspection certifies is what its own masks give, and not more than the whole one."""
    pixels = scene((30, 30, 70, 70))
    masks = inspector(columns=3, rows=3)
    left = iter([True] * passes + [False] * 100)
    cells = image_cells(SIZE, 4, 4)
    cut = masks.inspect(pixels, more_time=lambda: next(left), cells=cells)
    whole = masks.inspect(pixels, cells=cells)
    assert (cut.passes, whole.passes, cut.passes_required) == (passes, 12, 12)
    if passes < 12:
        assert (cut.verdict, cut.reason) == (Verdict.UNCERTIFIED, "deadline")
        assert cut.object_verdicts()[0][1] == "deadline"
        assert cut.covered < 1
    assert not (cut.objects.certified & ~whole.objects.certified).any()
    assert (cut.objects.shares <= whole.objects.shares + 1e-6).all()
    assert not (cut.free & ~whole.free).any()
    if passes == 0:
        assert not cut.objects.shares.any() and not cut.free.any() and cut.covered == 0
    windows = make_masks((0, 0, SIZE[1], SIZE[0]), masks.settings)
    view = PictureDetector(blobs).view(pixels)
    seen = [view.look(tuple(window)) for window in windows.windows[:passes].tolist()]
    base = (np.array([[30.0, 30, 70, 70]]), np.array([0]))
    again = certify_objects(windows.some(np.arange(passes)), seen, base, base, masks.settings)
    np.testing.assert_array_equal(cut.objects.certified, again.certified)


def test_free_space_is_claimed_only_where_nothing_is_seen():
    masks = inspector(columns=0, rows=0, window_columns=20, window_rows=16, patches=(4,))
    cells = image_cells(SIZE, 4, 4)
    found_there = masks.inspect(scene((64, 48, 96, 72)), cells=cells)
    grid = cells.grid(found_there.free)
    assert not grid[2, 2]
    assert grid.any()


def test_ground_cells_stand_where_the_camera_sees_them():
    intrinsics = np.array([[500.0, 0, 320], [0, 500, 180], [0, 0, 1]])
    pose = CameraMounting(camera_forward_m=1.0, camera_height_m=1.5).camera_from_base()
    camera = CameraModel(640, 360, intrinsics, np.zeros(0), pose)
    cells = ground_cells(camera, np.array([-5.0, 11.0, 21.0]), np.array([0.0, 30.0]), width=0.5, height=1.5)
    assert cells.in_sight.tolist() == [False, False, True, False, True, False]
    np.testing.assert_allclose(cells.boxes[2], [307.5, 180, 332.5, 255], atol=1e-6)
    np.testing.assert_allclose(cells.boxes[4], [313.75, 180, 326.25, 217.5], atol=1e-6)


def test_the_projects_detector_looks_at_erased_pictures():
    """The whole view is the detector's own answer, and what lies in an erased window has no say in a masked view."""
    package = load_package(REPOSITORY / "models" / "detector")
    masked = MaskedDetector(Detector(package, level="rmsmp"))
    generator = np.random.default_rng(0)
    clean = generator.integers(0, 255, (90, 160, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    attacked = clean.copy()
    attacked[100:140, 200:240] = generator.integers(0, 255, (40, 40, 3))
    whole = Detector(package, level="rmsmp").detect(clean, 0)
    view = masked.view(clean)
    np.testing.assert_array_equal(view.to_picture(view.look().boxes), whole.boxes)
    assert view.region == (0, 12, 640, 372)
    other = masked.view(attacked)
    window = (200, 112, 240, 152)
    for kind in ("boxes", "scores", "class_ids"):
        np.testing.assert_array_equal(getattr(view.look(window), kind), getattr(other.look(window), kind))
    # One pixel less, and the patch looks out.
    small = (201, 112, 240, 152)
    assert view.look(small).scores.tolist() != other.look(small).scores.tolist()


@pytest.mark.parametrize(("source", "target"), [(540, 352), (360, 360), (1080, 352), (300, 352)])
def test_patch_after_resizing(source, target):
    """Never smaller than what resizing really spreads, tried at every place."""
    scale = target / source
    patch = 23
    plain = np.zeros((1, source), np.uint8)
    touched = 0
    for start in range(0, source - patch + 1, 7):
        line = plain.copy()
        line[0, start : start + patch] = 255
        line = np.repeat(line, 4, axis=0)
        changed = np.flatnonzero(cv2.resize(line, (target, 4), interpolation=cv2.INTER_LINEAR)[1])
        touched = max(touched, changed[-1] - changed[0] + 1 if len(changed) else 0)
    bound = patch_in_input(patch, Placement((scale, scale), (0.0, 0.0)))
    assert touched <= bound <= touched + 2


def test_settings_that_make_no_sense():
    with pytest.raises(InputError, match="covered"):
        ObjectMaskSettings(covered=2.0)
    with pytest.raises(InputError, match="groups"):
        ObjectMaskSettings(groups=(0, 1))
    with pytest.raises(InputError, match="neither lines nor windows"):
        make_masks((0, 0, 64, 48), ObjectMaskSettings(columns=0, rows=0))
    with pytest.raises(InputError, match="patches"):
        make_masks((0, 0, 64, 48), ObjectMaskSettings(patches=(49,)))
    with pytest.raises(InputError, match="columns"):
        half_planes((0, 0, 64, 48), 64, 0)
