"""Sizes as people write them."""

from __future__ import annotations

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def size(value: object) -> object:
    """A text such as `10GiB` as bytes, anything else as it is. Raises ValueError.

    >>> size("512 MiB"), size("1k"), size(7)
    (536870912, 1024, 7)
    """
    if not isinstance(value, str):
        return value
    digits = value.strip().lower().removesuffix("b").removesuffix("i")
    number, unit = (digits[:-1], digits[-1]) if digits and digits[-1] in "kmgt" else (digits, "")
    number = number.strip()
    if not number.isascii() or not number.isdigit() or len(number) > 20:
        raise ValueError("give a number of bytes, or one with KiB, MiB, GiB or TiB")
    return int(number) * _UNITS[unit]


def shown(size: int) -> str:
    """Bytes as a person reads them.

    >>> shown(312), shown(5 << 20), shown(1234567)
    ('312 B', '5 MiB', '1.2 MiB')
    """
    number, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{number:.1f}".removesuffix(".0") + f" {unit}"
