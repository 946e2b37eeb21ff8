"""XChaCha20-Poly1305 (RFC 8439, draft-irtf-cfrg-xchacha-03) with only the standard library.

Slow, not constant-time, and independent of the implementation that it checks."""

import struct


def rotated(value, bits):
    return (value << bits | value >> 32 - bits) & 0xFFFFFFFF


def rounds(state):
    """Applies twenty rounds to sixteen words."""
    words = list(state)
    quarters = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for _ in range(10):
        for a, b, c, d in quarters:
            for x, y, z, bits in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
                words[x] = (words[x] + words[y]) & 0xFFFFFFFF
                words[z] = rotated(words[z] ^ words[x], bits)
    return words


def initial(key, rest):
    return (*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), *struct.unpack("<4I", rest))


def hchacha20(key, nonce):
    words = rounds(initial(key, nonce))
    return struct.pack("<8I", *words[:4], *words[12:])


def chacha20(key, counter, nonce, data):
    out = bytearray()
    for index in range(0, len(data), 64):
        state = initial(key, struct.pack("<I", counter + index // 64) + nonce)
        block = struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(state, rounds(state))))
        out += bytes(a ^ b for a, b in zip(data[index:index + 64], block))
    return bytes(out)


def poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for index in range(0, len(data), 16):
        total = (total + int.from_bytes(data[index:index + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def tag(key, nonce, associated, ciphertext):
    padded = lambda data: data + bytes(-len(data) % 16)
    lengths = struct.pack("<QQ", len(associated), len(ciphertext))
    return poly1305(chacha20(key, 0, nonce, bytes(32)), padded(associated) + padded(ciphertext) + lengths)


def seal(key, nonce, associated, text):
    """Returns ciphertext and tag."""
    key, nonce = hchacha20(key, nonce[:16]), bytes(4) + nonce[16:]
    ciphertext = chacha20(key, 1, nonce, text)
    return ciphertext + tag(key, nonce, associated, ciphertext)


def open_box(key, nonce, associated, sealed):
    """Returns the text, or None if the tag does not match."""
    key, nonce = hchacha20(key, nonce[:16]), bytes(4) + nonce[16:]
    ciphertext, given = sealed[:-16], sealed[-16:]
    if tag(key, nonce, associated, ciphertext) != given:
        return None
    return chacha20(key, 1, nonce, ciphertext)
