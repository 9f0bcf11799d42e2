"""Requests that no honest client sends, in kinds, each made by chance from a seed."""

import functools
import gzip
import io
import random
import struct
import typing
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image, PngImagePlugin

MEGABYTE = 2**20
# Of what takes long to send, one comes where of the others come as many.
RARE = 25


class Sent(typing.NamedTuple):
    """Hold what a client sends, and whether it waits for an answer.

    Attributes:
        parts: Bytes, in the pieces in which they are sent.
        waits: Whether the client reads the answer.
    """

    parts: Iterable[bytes]
    waits: bool = True


@functools.cache
def photo(kind: str = "JPEG") -> bytes:
    """Return a small photo of a format."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), "uint8")
    file = io.BytesIO()
    options = {"progressive": True} if kind == "JPEG" else {}
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def part(data: bytes, head: bytes | None = None, boundary: bytes = b"x") -> bytes:
    """Return one part of a form."""
    named = b'Content-Disposition: form-data; name="images"; filename="a.jpg"'
    head = named if head is None else head
    return b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n"


def body(*parts: bytes, boundary: bytes = b"x") -> bytes:
    """Return a form of such parts."""
    return b"".join(parts) + b"--" + boundary + b"--\r\n"


def request(
    content: bytes,
    kind: bytes = b"multipart/form-data; boundary=x",
    more: bytes = b"",
    target: bytes = b"/predict",
    length: bytes | None = None,
) -> bytes:
    """Return the bytes of a request, whose length is true unless it is given."""
    length = b"%d" % len(content) if length is None else length
    head = [b"POST " + target + b" HTTP/1.1", b"Host: localhost"]
    head += [b"Content-Type: " + kind] if kind else []
    head += [b"Content-Length: " + length] if length else []
    return b"\r\n".join([*head, *([more] if more else [])]) + b"\r\n\r\n" + content


def _whole(*arguments, **options) -> Sent:
    return Sent([request(*arguments, **options)])


def _long_name(rng):
    name = b"n" * rng.choice((5_000, MEGABYTE, 50 * MEGABYTE))
    key = rng.choice((b"name", b"filename", b"filename*"))
    head = b'Content-Disposition: form-data; name="images"; ' + key + b'="' + name
    return _whole(body(part(photo(), head + b'"')))


def _many_parts(rng):
    count = rng.choice((33, 1_000, 10_000))
    field = b'Content-Disposition: form-data; name="other"'
    head = rng.choice((None, field))
    return _whole(body(*[part(b"", head)] * count))


def _many_part_headers(rng):
    head = b"\r\n".join(b"X-%d: y" % i for i in range(rng.choice((9, 1_000, 50_000))))
    return _whole(body(part(photo(), head)))


def _odd_part_head(rng):
    heads = (
        b"",
        b"Content-Disposition: form-data",
        b"Content-Disposition: attachment; filename=x",
        b"Content-Disposition: form-data; name=; filename=",
        b'Content-Disposition: form-data; name="images"',
        b'Content-Disposition: form-data; name="images"; filename="\xff\xfe\x00"',
        b'Content-Disposition: form-data; name="images"; filename="../../../x"',
        b"Content-Disposition: form-data; name=images; filename*=utf-8''%ff%00",
        b"Content-Disposition: form-data; name=images; filename=\xe2\x80\xae\x00.gpj",
        b"no colon at all",
        b": no name",
        b"Content-Disposition\x00: form-data",
    )
    return _whole(body(part(photo(), rng.choice(heads))))


def _odd_charset(rng):
    charsets = (b"utf-7", b"utf-16", b"unicode_escape", b"raw_unicode_escape")
    charsets += (b"punycode", b"idna", b"rot13", b"zip", b"undefined", b"\xff", b"")
    kind = b"multipart/form-data; boundary=x; charset=" + rng.choice(charsets)
    name = rng.choice((b"+2AA-", b"\\ud800", b"xn--0.pt-", b"\xd8\x00", b"a.jpg"))
    head = b'Content-Disposition: form-data; name="images"; filename="' + name + b'"'
    return _whole(body(part(photo(), head)), kind)


def _wrong_boundary(rng):
    kinds = (
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=y",
        b'multipart/form-data; boundary="',
        b"multipart/form-data; boundary=" + b"x" * 10_000,
        b"multipart/form-data; boundary=\xff\x00",
        b"multipart/mixed; boundary=x",
        b"application/x-www-form-urlencoded",
        b"text/plain",
        b"",
        b";",
    )
    return _whole(body(part(photo())), rng.choice(kinds))


def _wrong_length(rng):
    content = body(part(photo()))
    right = len(content)
    lengths = (b"0", b"-1", b"+5", b"ten", b"1e3", b"", b" ", b"0x10", b"9" * 30)
    lengths += (b"%d" % (right - 9), b"%d" % (right // 2), b"%d, %d" % (right, right))
    return _whole(content, length=rng.choice(lengths))


def _chunked(rng):
    content = body(part(photo()))
    sizes = (
        b"%x",
        b"-%x",
        b"%xg",
        b"0x%x",
        b"ffffffffffffffff%x",
        b"%x;" + b"y" * 9999,
    )
    size = rng.choice(sizes) % len(content)
    end = rng.choice((b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"\r\n"))
    chunks = size + b"\r\n" + content + b"\r\n" + end
    return _whole(chunks, more=b"Transfer-Encoding: chunked", length=b"")


def _endless_chunks(rng):
    chunk = b"10000\r\n" + b"\0" * 2**16 + b"\r\n"
    count = rng.choice((10, 1_100))
    start = request(b"", more=b"Transfer-Encoding: chunked", length=b"")
    first = part(b"")[:-2]
    return Sent([start, b"%x\r\n" % len(first) + first + b"\r\n", *[chunk] * count])


def _gzip_bomb(rng):
    bomb = _bomb()
    if rng.random() < 0.5:
        return _whole(body(part(bomb)))
    kinds = (b"gzip", b"deflate", b"br", b"gzip, gzip", b"\xff")
    return _whole(bomb, more=b"Content-Encoding: " + rng.choice(kinds))


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(b"\0" * 100 * MEGABYTE, compresslevel=1)


def _png_bomb(rng):
    kind = rng.choice(("pixels", "many pixels", "wide", "tall", "text", "header"))
    return _whole(body(part(png_bomb(kind))))


@functools.cache
def png_bomb(kind: str) -> bytes:
    """Return a small PNG of a kind that is large in memory."""
    file = io.BytesIO()
    if kind == "text":
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Comment", "0" * 80 * MEGABYTE, zip=True)
        Image.new("L", (8, 8)).save(file, "PNG", pnginfo=notes)
    elif kind == "header":  # Which promises what does not come.
        size = struct.pack(">II5B", 2**31 - 1, 2**31 - 1, 16, 6, 0, 0, 0)
        check = struct.pack(">I", zlib.crc32(b"IHDR" + size))
        return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + check
    else:
        size = {
            "pixels": (7_100, 7_100),
            "many pixels": (14_000, 14_000),
            # No more pixels than are taken, and much memory where they are resized.
            "wide": (50_000_000, 1),
            "tall": (1, 50_000_000),
        }[kind]
        Image.new("1", size).save(file, "PNG")
    return file.getvalue()


def _many_scans(rng):
    whole = photo()
    start = whole.index(b"\xff\xda")
    count = rng.choice((2, 200, 20_000))
    return _whole(body(part(whole[:start] + whole[start:-2] * count + b"\xff\xd9")))


def _damaged_photo(rng):
    kinds = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
    data = bytearray(photo(rng.choice(kinds)))
    for _ in range(rng.choice((1, 5, 50))):
        place = rng.randrange(rng.choice((40, len(data))))
        data[place] = rng.randrange(256)
    if rng.random() < 0.4:
        del data[rng.randrange(len(data)) :]
    query = rng.choice((b"", b"?heat_map=true"))
    return _whole(body(part(bytes(data))), target=b"/predict" + query)


def _noise(rng):
    return _whole(rng.randbytes(rng.choice((0, 1, 100, 100_000))))


def _noise_for_http(rng):
    return Sent([rng.randbytes(rng.choice((1, 100, 100_000)))])


def _changed_request(rng):
    data = bytearray(request(body(part(photo("PNG")))))
    for _ in range(rng.choice((1, 3, 10))):
        data[rng.randrange(min(len(data), 300))] = rng.randrange(256)
    return Sent([bytes(data)])


def _nearly_boundaries(rng):
    near = rng.choice((b"\r\n--", b"\r\n-", b"\r", b"\r\n--x-", b"--x"))
    return _whole(body(part(near * (rng.choice((10, 1_000_000)) // len(near) + 1))))


def _odd_head(rng):
    good = body(part(photo()))
    more = (
        b"X: " + b"y" * 100_000,
        b"\r\n".join(b"X-%d: y" % i for i in range(5_000)),
        b"X\x00: y",
        b" folded",
        b"Expect: 100-continue",
        b"Expect: 200-ok",
        b"Connection: Upgrade\r\nUpgrade: websocket",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c",
        b"Host: evil.example",
        b"Authorization: Bearer \xff\x00",
        b"Authorization: " + b"Basic " * 1_000,
        b"Transfer-Encoding: gzip, chunked",
        b"Content-Type: text/plain",
    )
    return _whole(good, more=rng.choice(more))


def _odd_line(rng):
    lines = (
        b"GET / HTTP/0.9",
        b"GET /predict HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"POST http://evil.example/predict HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"DELETE /predict HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET /../../../../etc/passwd HTTP/1.1",
        b"GET //predict/ HTTP/1.1",
        b"GET /%00%ff%2e%2e/ HTTP/1.1",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
        b"GET /model\x00 HTTP/1.1",
        b"HEAD /metrics HTTP/1.1",
        b"\r\n\r\nGET / HTTP/1.1",
    )
    return Sent([rng.choice(lines) + b"\r\nHost: localhost\r\n\r\n"])


def _odd_query(rng):
    queries = (b"heat_map=perhaps", b"heat_map=true&heat_map=no", b"%ff=%00", b"=&=&;")
    queries += (b"heat_map=" + b"1" * 50_000, b"a=b&" * 10_000, b"heat_map[]=true")
    target = b"/predict?" + rng.choice(queries)
    return _whole(body(part(photo())), target=target)


def _pipelined(rng):
    good = request(body(part(photo())))
    return Sent([good * rng.choice((2, 10))])


def _gone(rng):
    whole = request(body(*[part(photo())] * rng.choice((1, 20))))
    return Sent([whole[: rng.randrange(len(whole) + 1)]], waits=False)


def _nested(rng):
    inner = body(part(photo(), boundary=b"y"), boundary=b"y")
    mixed = b"Content-Type: multipart/mixed; boundary=y"
    head = b'Content-Disposition: form-data; name="images"; filename="a"\r\n' + mixed
    return _whole(body(*[part(inner, head)] * rng.choice((1, 30))))


KINDS = {
    made.__name__.strip("_").replace("_", " "): made
    for made in (
        *(_long_name, _many_parts, _many_part_headers, _odd_part_head, _odd_charset),
        *(_wrong_boundary, _wrong_length, _chunked, _endless_chunks, _gzip_bomb),
        *(_png_bomb, _many_scans, _damaged_photo, _noise, _noise_for_http),
        *(_changed_request, _nearly_boundaries, _odd_head, _odd_line, _odd_query),
        *(_pipelined, _gone, _nested),
    )
}
SLOW = ("long name", "endless chunks", "png bomb", "nearly boundaries", "many scans")


def malformed(count: int, seed: int = 0) -> Iterator[tuple[str, Sent]]:
    """Yield so many kinds and requests, in an order that chance has made."""
    rng = random.Random(seed)
    weights = [1 / RARE if kind in SLOW else 1 for kind in KINDS]
    # Each kind once, whatever chance says.
    kinds = [*KINDS][:count]
    kinds += rng.choices([*KINDS], weights, k=count - len(kinds))
    rng.shuffle(kinds)
    for kind in kinds:
        yield kind, KINDS[kind](rng)
