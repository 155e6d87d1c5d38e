"""Reading the bit fields that video headers are made of."""

from __future__ import annotations


class EndOfBits(ValueError):
    """The header ends before the field that was asked for, or the field is absurd."""


class BitReader:
    """Reads big-endian bit fields from the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def bits(self, count: int) -> int:
        """The next `count` bits as an unsigned number.

        Raises:
            EndOfBits: there are fewer.
        """
        if count > self._left:
            raise EndOfBits(f"{count} bits wanted, {self._left} left")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def flag(self) -> bool:
        """The next bit."""
        return bool(self.bits(1))

    def skip(self, count: int) -> None:
        """Pass over `count` bits."""
        self.bits(count)

    def ue(self) -> int:
        """An unsigned Exp-Golomb number (ITU-T H.264 section 9.1); AV1's uvlc too."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise EndOfBits("an Exp-Golomb number of more than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb number (ITU-T H.264 section 9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)
