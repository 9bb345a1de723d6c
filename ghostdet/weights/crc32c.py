"""The checksum CRC-32C (Castagnoli), which zlib does not have. Source: RFC 3720, section 12.1 and appendix B.4."""
import numpy as np

POLYNOMIAL = 0x82F63B78  # its lowest bit first
ONES = 0xFFFFFFFF  # the register starts with it, and the result is inverted
START = bytes.fromhex('54641f64')  # these four bytes turn a register of 0 into ONES
BITS: np.ndarray = np.arange(32, dtype=np.uint32)


def _table() -> np.ndarray:
    """Return what each of the 256 bytes makes of a register of 0."""
    registers: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        registers = registers >> 1 ^ np.where(registers & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    return registers


TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data`.

    >>> hex(crc32c(b'123456789'))
    '0xe3069283'
    """
    # A Python loop over all bytes would take seconds for a network. So the data is cut into pieces, and each step
    # updates the registers of all pieces at once. The zeros in front leave a register of 0 as it is.
    data = START + data
    length = int(len(data) ** 0.5)  # of a piece, in bytes
    pieces = np.frombuffer(bytes(-len(data) % length) + data, np.uint8).reshape(-1, length)
    # A register is linear in its bits. The last 32 rows show what `length` zeros make of each bit.
    registers = np.concatenate([np.zeros(len(pieces), np.uint32), np.uint32(1) << BITS])
    for column in np.pad(pieces, ((0, 32), (0, 0))).T:
        registers = TABLE[(registers ^ column) & 255] ^ registers >> 8
    shifted, total = registers[-32:], np.uint32(0)
    for register in registers[:-32]:
        total = np.bitwise_xor.reduce(shifted[total >> BITS & 1 == 1]) ^ register
    return int(total) ^ ONES
