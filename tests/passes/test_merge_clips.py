"""Clips that other quantizers' ranges leave: those in a row become one, those that change nothing go."""

import pytest

from bfpc.passes.merge_clips import merge_clips
from tests.passes.checks import check, check_unchanged


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ("", "high=2.0", "high=2.0"),
        ("high=2.0", "", "high=2.0"),
        ("low=-1.0, high=1.0", "low=0.5, high=2.0", "low=0.5, high=1.0"),
        ("low=-3.0, high=-2.0", "low=-1.0, high=1.0", "low=-1.0, high=-1.0"),
    ],
)
def test_the_second_of_two_clips_is_both(first: str, second: str, merged: str) -> None:
    check(
        f"""\
        input "x" = %x (N, C, H, W) : 4x5x5
        %a = Activate(x=%x) {{activation=Clip({first})}} : 4x5x5
        %y = Activate(x=%a) {{activation=Clip({second})}} : 4x5x5
        output "y" = %y (N, C, H, W)
        """,
        f"""\
        input "x" = %x (N, C, H, W) : 4x5x5
        %y = Activate(x=%x) {{activation=Clip({merged})}} : 4x5x5
        output "y" = %y (N, C, H, W)
        """,
        merge_clips,
    )


def test_a_clip_to_what_pools_and_joins_leave_within_bounds_goes() -> None:
    check(
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Activate(x=%x) {activation=Clip(high=2.0)} : 4x8x8
        %b = Activate(x=%x) {activation=Clip(high=1.5)} : 4x8x8
        %m = Pool(x=%a) {window=Window(kind='max', kernel=(2, 2), stride=(2, 2))} : 4x4x4
        %n = Pool(x=%b) {window=Window(kind='average', kernel=(2, 2), stride=(2, 2))} : 4x4x4
        %c = Activate(x=%m) {activation=Clip(high=2.0)} : 4x4x4
        %j = Concat(x0=%c, x1=%n) : 8x4x4
        %d = Activate(x=%j) {activation=Clip(high=2.0)} : 8x4x4
        %y = Conv(x=%d, weight=@w) {kernel=(1, 1)} : 4x4x4
        %z = Conv(x=%d, weight=@w) {kernel=(1, 1)} : 4x4x4
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @w : 4x8x1x1 [float32]
        """,
        """\
        input "x" = %x (N, C, H, W) : 4x8x8
        %a = Activate(x=%x) {activation=Clip(high=2.0)} : 4x8x8
        %b = Activate(x=%x) {activation=Clip(high=1.5)} : 4x8x8
        %m = Pool(x=%a) {window=Window(kind='max', kernel=(2, 2), stride=(2, 2))} : 4x4x4
        %n = Pool(x=%b) {window=Window(kind='average', kernel=(2, 2), stride=(2, 2))} : 4x4x4
        %j = Concat(x0=%m, x1=%n) : 8x4x4
        %y = Conv(x=%j, weight=@w) {kernel=(1, 1)} : 4x4x4
        %z = Conv(x=%j, weight=@w) {kernel=(1, 1)} : 4x4x4
        output "y" = %y (N, C, H, W)
        output "z" = %z (N, C, H, W)
        constant @w : 4x8x1x1 [float32]
        """,
        merge_clips,
    )


def test_narrower_bounds_pads_and_other_readers_keep_their_clips() -> None:
    check_unchanged(
        """\
        input "x" = %x (N, C, H, W) : 4x4x4
        %a = Activate(x=%x) {activation=Clip(high=2.0)} : 4x4x4
        %p = Pad(x=%a) {pads=(1, 1, 1, 1), value=3.0} : 4x6x6
        %b = Activate(x=%p) {activation=Clip(high=2.0)} : 4x6x6
        %c = Activate(x=%a) {activation=Clip(high=1.0)} : 4x4x4
        output "b" = %b (N, C, H, W)
        output "c" = %c (N, C, H, W)
        """,
        merge_clips,
    )
