"""The base-128 numbers of the protocol buffers' wire format, for messages that are joined from encoded parts."""


def varint(number: int) -> bytes:
    """The base-128 form of a number >= 0."""
    if number < 0x80:
        return bytes((number,))
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
