"""Numbers of bytes and operations as people read them."""

from __future__ import annotations


def byte_text(count: float) -> str:
    """A number of bytes in the unit that suits it, as Keras writes it.

    Args:
        count: the number of bytes.

    Example:
        >>> byte_text(12), byte_text(8408), byte_text(3 * 2**40)
        ('12.00 B', '8.21 KB', '3.00 TB')
    """
    units = ("B", "KB", "MB", "GB", "TB")
    for unit in units:
        if count < 1024:
            return f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} PB"


def short_count(count: float) -> str:
    """A number of operations with three digits or a few more.

    Args:
        count: the number.

    Example:
        >>> short_count(640), short_count(1083588), short_count(4.1e9)
        ('640', '1.08 M', '4.10 G')
    """
    units = ["", " K", " M", " G", " T", " P"]
    while count >= 999.995 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.2f}{units[0]}" if units[0] else f"{count:.0f}"
