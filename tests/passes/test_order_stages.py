"""order-stages: the layers of a stage stand together."""

from bfpc.passes.order_stages import order_stages
from tests.passes.checks import check, check_unchanged

BEFORE = """\
    input "x" = %x (N, C, H, W) : 4x8x8
    input "h" = %h (N, C, H, W) : 4x8x8 stage(1)
    %b = Pass(x=%h) : 4x8x8
    %a = Pass(x=%x) : 4x8x8
    %c = Pass(x=%b, residual=%a) : 4x8x8
    output "a" = %a (N, C, H, W)
    output "c" = %c (N, C, H, W)
    """


def test_earlier_stages_come_first_and_a_stage_keeps_its_order() -> None:
    first, second = (f"    %{line}\n" for line in ("b = Pass(x=%h) : 4x8x8", "a = Pass(x=%x) : 4x8x8"))
    after = BEFORE.replace(first + second, second + first)
    check(BEFORE, after, order_stages)
    check_unchanged(after, order_stages)
