import pytest
from manta_common.varint import varint


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), (2**32 - 1, b"\xff" * 4 + b"\x0f")],
)
def test_varints(number: int, encoded: bytes) -> None:
    assert varint(number) == encoded
