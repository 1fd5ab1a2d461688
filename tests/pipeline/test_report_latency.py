"""Latencies and the balance of frames, from made-up stage records."""

from dataclasses import replace

import numpy as np
import pytest
from report_factories import MS, ended, make_run, make_table, processed, stamp_of

from l4edge_pipeline.report import latency
from l4edge_pipeline.timing.records import Outcome

AB = make_table("a", "b")
ABC = make_table("a", "b", "c")


def balance(account):
    return account["unaccounted"], account["lost"], account["surplus"]


class TestAccount:
    """The double-entry check."""

    def test_a_sound_run_balances(self):
        accounts = latency.account_frames(make_run("ab", 5), AB, frames_offered=5)
        for stage in "ab":
            assert accounts[stage] == {**dict.fromkeys(latency.FRAME_KEYS, 0), "published": 5, "processed": 5}

    def test_superseded_and_dropped_frames_are_accounted_for(self):
        records = [
            *make_run("a", 4),
            processed("b", 0, 10),
            ended("b", 1, Outcome.SUPERSEDED),
            ended("b", 2, Outcome.DROPPED, "no route"),
            processed("b", 3, 310),
        ]
        account = latency.account_frames(records, AB, frames_offered=4)["b"]
        assert (account["processed"], account["superseded"], account["dropped"]) == (2, 1, 1)
        assert balance(account) == (0, 0, 0)

    def test_a_frame_that_vanished_between_two_stages_shows(self):
        records = [r for r in make_run("ab", 5) if (r.stage, r.input_sequence) != ("b", 3)]
        accounts = latency.account_frames(records, AB, frames_offered=5)
        assert balance(accounts["a"]) == (0, 0, 0)
        assert balance(accounts["b"]) == (1, 1, 0)

    def test_a_frame_that_never_reached_the_first_stage_shows(self):
        accounts = latency.account_frames(make_run("ab", 5), AB, frames_offered=7)
        assert balance(accounts["a"]) == (2, 2, 0)
        assert balance(accounts["b"]) == (0, 0, 0)

    def test_a_lost_frame_and_one_counted_twice_do_not_cancel_out(self):
        records = [*make_run("a", 3), processed("b", 0, 10), processed("b", 1, 110), processed("b", 1, 120)]
        account = latency.account_frames(records, AB, frames_offered=3)["b"]
        assert account["unaccounted"] == 0
        assert balance(account) == (0, 1, 1)

    def test_more_records_than_frames_are_reported_not_forced_to_balance(self):
        accounts = latency.account_frames(make_run("ab", 5), AB, frames_offered=4)
        assert balance(accounts["a"]) == (-1, 0, 1)

    def test_a_stage_that_died_leaves_its_frames_unaccounted(self):
        records = [r for r in make_run("abc", 10) if r.stage == "a" or (r.stage == "b" and r.input_sequence < 4)]
        accounts = latency.account_frames(records, ABC, frames_offered=10)
        assert balance(accounts["b"]) == (6, 6, 0)
        assert balance(accounts["c"]) == (4, 4, 0)

    def test_a_restarted_stage_that_counts_from_0_again_balances(self):
        second_life = [replace(r, stamp_ns=r.stamp_ns + 10**12) for r in make_run("ab", 3)]
        accounts = latency.account_frames(make_run("ab", 3) + second_life, AB, frames_offered=6)
        assert balance(accounts["b"]) == (0, 0, 0)

    def test_no_records_at_all(self):
        accounts = latency.account_frames([], AB, frames_offered=3)
        assert balance(accounts["a"]) == (3, 3, 0)
        assert balance(accounts["b"]) == (0, 0, 0)


class TestStages:
    def test_latency_runs_from_received_to_published(self):
        records = [processed("a", i, i * 100, wait_ms=2, compute_ms=5 + i, publish_ms=1) for i in range(3)]
        numbers = latency.stage_statistics(records, AB)["a"]
        assert numbers["frames"] == 3
        assert numbers["p50_ms"] == pytest.approx(9)
        assert numbers["max_ms"] == pytest.approx(10)
        assert numbers["compute_p50_ms"] == pytest.approx(6)
        assert numbers["wait_p50_ms"] == pytest.approx(2)
        assert set(latency.STAGE_KEYS) <= set(numbers)

    @pytest.mark.parametrize(
        ("latencies", "misses", "deadline_misses"),
        [([9.9, 10.0], 0, 0), ([10.1, 20.0], 2, 0), ([20.1, 5], 1, 1), ([], 0, 0)],
    )
    def test_a_miss_is_a_latency_beyond_the_budget(self, latencies, misses, deadline_misses):
        records = [processed("a", i, 0, wait_ms=0, compute_ms=ms, publish_ms=0) for i, ms in enumerate(latencies)]
        numbers = latency.stage_statistics(records, AB)["a"]
        assert (numbers["misses"], numbers["deadline_misses"]) == (misses, deadline_misses)

    def test_reasons_and_levels_are_counted(self):
        records = [
            processed("a", 0, 0, level="full"), processed("a", 1, 0, level="half"), processed("a", 2, 0, level="half"),
            ended("a", 3, Outcome.DROPPED, "late"), ended("a", 4, Outcome.DROPPED, "late"),
            ended("a", 5, Outcome.DROPPED), ended("a", 6, Outcome.SUPERSEDED),
        ]  # fmt: skip
        numbers = latency.stage_statistics(records, AB)["a"]
        assert numbers["drop_reasons"] == {"late": 2, "no reason": 1}
        assert numbers["levels"] == {"full": 1, "half": 2}
        assert numbers["frames"] == 3

    @pytest.mark.parametrize(
        "moments",
        [{"published_ns": 1}, {"received_ns": 0}, {"finished_ns": 0}, {"started_ns": 10**18}],
        ids=["published first", "never received", "never finished", "started last"],
    )
    def test_moments_out_of_order_are_clock_errors_not_latencies(self, moments):
        records = [processed("a", 0, 0), processed("a", 1, 100, **moments)]
        numbers = latency.stage_statistics(records, AB)["a"]
        assert (numbers["clock_errors"], numbers["frames"]) == (1, 1)
        assert numbers["max_ms"] == pytest.approx(6)

    def test_a_stage_without_frames_has_no_percentiles(self):
        numbers = latency.stage_statistics([], AB)["b"]
        assert numbers["p50_ms"] is numbers["p99_ms"] is numbers["compute_p50_ms"] is None
        assert numbers["frames"] == numbers["misses"] == 0


class TestChain:
    chain = ABC.chains["all"]

    def statistics(self, records):
        passes = latency.chain_passes(records, self.chain)
        return passes, latency.chain_statistics(passes, self.chain, latency.stage_statistics(records, ABC))

    def test_latency_and_glue(self):
        _, numbers = self.statistics(make_run("abc", 20, compute_ms=4, transport_ms=2))
        assert numbers["frames"] == 20
        assert numbers["p50_ms"] == pytest.approx(3 * 6 + 2 * 2)
        assert numbers["glue_p50_ms"] == pytest.approx(22 - 12)
        assert numbers["glue_share"] == pytest.approx(10 / 22)
        assert numbers["misses"] == numbers["incomplete"] == numbers["clock_errors"] == 0
        assert set(latency.CHAIN_KEYS) == set(numbers)

    def test_frames_are_joined_by_stamp_not_by_place(self):
        """The middle stage loses the first frame: joined by index, every latency would be off by one period."""
        records = [r for r in make_run("abc", 10) if r.stage == "a" or r.input_sequence > 0]
        passes, numbers = self.statistics(records)
        assert list(passes.stamps_ns) == [stamp_of(frame) for frame in range(1, 10)]
        assert numbers["max_ms"] == pytest.approx(22)
        assert numbers["incomplete"] == 1

    def test_the_order_of_records_does_not_matter(self):
        records = make_run("abc", 10)
        shuffled = [records[i] for i in np.random.default_rng(1).permutation(len(records))]
        assert self.statistics(shuffled)[1] == self.statistics(records)[1]

    def test_a_superseded_frame_is_incomplete(self):
        records = [r for r in make_run("abc", 5) if (r.stage, r.input_sequence) not in {("b", 2), ("c", 2)}]
        records.append(ended("b", 2, Outcome.SUPERSEDED))
        _, numbers = self.statistics(records)
        assert (numbers["frames"], numbers["incomplete"]) == (4, 1)

    def test_a_missing_stamp_is_ambiguous(self):
        records = [replace(r, stamp_ns=0) if (r.stage, r.input_sequence) == ("b", 1) else r for r in make_run("abc", 3)]
        _, numbers = self.statistics(records)
        assert (numbers["frames"], numbers["ambiguous"], numbers["incomplete"]) == (2, 1, 1)

    def test_a_repeated_stamp_is_left_out(self):
        records = [*make_run("abc", 3), processed("b", 1, 900)]
        passes, numbers = self.statistics(records)
        assert list(passes.stamps_ns) == [stamp_of(0), stamp_of(2)]
        assert (numbers["frames"], numbers["ambiguous"], numbers["incomplete"]) == (2, 1, 0)

    def test_another_boots_clock_is_an_error_not_a_negative_latency(self):
        """The last stage's clock started later: its moments lie before those of the first."""
        shift = 200 * MS
        records = [
            replace(r, **{key: getattr(r, key) - shift
                          for key in ("received_ns", "started_ns", "finished_ns", "published_ns")})
            if (r.stage, r.input_sequence) == ("c", 1) else r
            for r in make_run("abc", 3)
        ]  # fmt: skip
        passes, numbers = self.statistics(records)
        assert (numbers["frames"], numbers["clock_errors"]) == (2, 1)
        assert (passes.latencies_ms > 0).all()

    def test_a_node_that_died_leaves_no_numbers_rather_than_wrong_ones(self):
        _, numbers = self.statistics([r for r in make_run("abc", 4) if r.stage != "c"])
        assert numbers["frames"] == 0 and numbers["incomplete"] == 4
        assert numbers["p50_ms"] is numbers["glue_p50_ms"] is numbers["glue_share"] is None

    def test_segments_add_up_to_the_latency(self):
        passes, _ = self.statistics(make_run("abc", 6, compute_ms=4, transport_ms=2))
        assert passes.segments_ms.shape == (6, 3, 4)
        np.testing.assert_allclose(passes.segments_ms.sum(axis=(1, 2)), passes.latencies_ms)
        np.testing.assert_allclose(passes.segments_ms[0], [[0, 1, 4, 1], [2, 1, 4, 1], [2, 1, 4, 1]])

    def test_a_result_that_arrives_before_publishing_returned(self):
        """Publishing of 3 ms, but the next stage has it after 1 ms: transport is 0, never negative."""
        records = [processed("a", 0, 0, publish_ms=3), processed("b", 0, 6), processed("c", 0, 12)]
        passes, numbers = self.statistics(records)
        assert numbers["clock_errors"] == 0
        np.testing.assert_allclose(passes.segments_ms[0], [[0, 1, 4, 1], [0, 1, 4, 1], [0, 1, 4, 1]])


def test_warm_up_frames_leave_the_statistics():
    records = make_run("ab", 5)
    kept = latency.after_warm_up(records, 2)
    assert {r.stamp_ns for r in kept} == {stamp_of(frame) for frame in (2, 3, 4)}
    assert latency.after_warm_up(records, 0) == records
