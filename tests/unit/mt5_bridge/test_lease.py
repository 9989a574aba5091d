"""A lease is over when any of the machine's clocks says so."""

from __future__ import annotations

import math
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.lease import Lease, LeaseGuard, Moment, Readings, age, read_clocks, read_lease, write_lease

BOOT = Moment("boot-1", 1000.0, 1_700_000_000.0)
seconds = st.floats(0, 1e6)


def later(elapsed: float, wall: float, boot: str = "boot-1") -> Moment:
    return Moment(boot, BOOT.elapsed + elapsed, BOOT.wall + wall)


class TestAge:
    @given(elapsed=seconds, wall=st.floats(-1e6, 1e6))
    def test_is_what_the_faster_clock_says(self, elapsed: float, wall: float) -> None:
        assert age(BOOT, later(elapsed, wall)) == pytest.approx(max(elapsed, wall), abs=1e-3)

    def test_a_wall_clock_set_back_changes_nothing(self) -> None:
        assert age(BOOT, later(30, -3600)) == 30

    def test_a_pause_that_only_the_wall_clock_saw_counts(self) -> None:
        assert age(BOOT, later(1, 600)) == 600

    def test_after_a_restart_of_the_machine_everything_is_over(self) -> None:
        assert age(BOOT, later(5, 5, boot="boot-2")) == math.inf
        assert Lease(BOOT, 1e9).left(later(5, 5, boot="boot-2")) == -math.inf

    def test_a_clock_that_began_anew_is_a_restart_where_no_boot_is_known(self) -> None:
        assert age(replace(BOOT, boot=""), Moment("", 3.0, BOOT.wall + 3)) == math.inf

    def test_a_reader_that_knows_no_boot_goes_by_the_wall_clock(self) -> None:
        assert age(BOOT, Moment("", 7.0, BOOT.wall + 12)) == 12

    def test_the_real_clocks_do_not_run_backwards(self) -> None:
        assert 0 <= age(read_clocks(), read_clocks()) < 60


class TestReadings:
    @given(steps=st.lists(st.tuples(st.floats(0, 100), st.floats(-500, 500)), max_size=8))
    def test_the_age_is_the_sum_of_what_the_faster_clock_said_at_each_look(
        self, steps: list[tuple[float, float]]
    ) -> None:
        readings, elapsed, wall, least = Readings(), 0.0, 0.0, 0.0
        readings.of(BOOT, BOOT)
        for step, jump in steps:
            elapsed, wall, least = elapsed + step, wall + jump, least + step
            least = max(least, wall)
            assert age(BOOT, readings.of(BOOT, later(elapsed, wall))) == pytest.approx(least, abs=1e-3)

    def test_a_pause_is_not_undone_by_a_wall_clock_set_back(self) -> None:
        readings = Readings()
        readings.of(BOOT, later(10, 68))
        assert age(BOOT, readings.of(BOOT, later(20, -322))) == 78

    def test_another_moment_begins_anew(self) -> None:
        readings = Readings()
        readings.of(BOOT, later(10, 400))
        assert age(later(20, 20), readings.of(later(20, 20), later(21, 21))) == 1


class TestFile:
    def test_gives_back_what_was_written_over_an_older_one(self, tmp_path: Path) -> None:
        path = tmp_path / "lease"
        for lease in (Lease(BOOT, 240.0), Lease(later(1, 1), 5.5)):
            write_lease(path, lease)
            assert read_lease(path) == lease
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [each.name for each in tmp_path.iterdir()] == ["lease"]

    def test_none_means_no_end(self, tmp_path: Path) -> None:
        assert read_lease(tmp_path / "lease") is None

    @given(position=st.integers(0, 45), byte=st.integers(0, 255))
    def test_a_damaged_one_is_noticed(self, tmp_path_factory: pytest.TempPathFactory, position: int, byte: int) -> None:
        path = tmp_path_factory.mktemp("lease") / "lease"
        write_lease(path, Lease(BOOT, 240.0))
        content = bytearray(path.read_bytes())
        assert len(content.strip()) > 45
        if content[position] == byte:
            return
        content[position] = byte
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            read_lease(path)


class Clocks:
    def __init__(self) -> None:
        self.now = BOOT

    def __call__(self) -> Moment:
        return self.now


class TestGuard:
    def test_without_a_file_nothing_is_over(self, tmp_path: Path) -> None:
        assert not LeaseGuard(tmp_path / "lease", Clocks()).over()

    def test_is_over_at_its_end_and_not_before(self, tmp_path: Path) -> None:
        clocks = Clocks()
        guard = LeaseGuard(tmp_path / "lease", clocks)
        write_lease(tmp_path / "lease", Lease(BOOT, 240.0))
        assert not guard.over()
        clocks.now = later(239.9, 239.9)
        assert not guard.over()
        clocks.now = later(240, 0)
        assert guard.over()

    def test_is_over_though_the_clock_that_showed_it_was_set_back(self, tmp_path: Path) -> None:
        clocks = Clocks()
        guard = LeaseGuard(tmp_path / "lease", clocks)
        write_lease(tmp_path / "lease", Lease(BOOT, 240.0))
        clocks.now = later(10, 230)
        assert not guard.over()
        clocks.now = later(20, -160)
        assert guard.over()

    def test_holds_again_when_it_was_renewed(self, tmp_path: Path) -> None:
        clocks = Clocks()
        guard = LeaseGuard(tmp_path / "lease", clocks)
        write_lease(tmp_path / "lease", Lease(BOOT, 240.0))
        clocks.now = later(300, 300)
        assert guard.over()
        write_lease(tmp_path / "lease", Lease(later(299, 299), 240.0))
        assert not guard.over()

    def test_a_reader_without_a_boot_is_not_fooled_by_a_wall_clock_set_back(self, tmp_path: Path) -> None:
        clocks = Clocks()
        guard = LeaseGuard(tmp_path / "lease", clocks)
        write_lease(tmp_path / "lease", Lease(BOOT, 240.0))
        clocks.now = Moment("", 5.0, BOOT.wall)
        assert not guard.over()
        clocks.now = Moment("", 245.0, BOOT.wall - 3600)
        assert guard.over()

    def test_a_file_that_cannot_be_read_counts_as_over(self, tmp_path: Path) -> None:
        (tmp_path / "lease").write_text("nonsense")
        assert LeaseGuard(tmp_path / "lease", Clocks()).over()
