"""Over 200 bad requests against one real server: none ends in a 5xx, hangs, forges the log or disturbs the next one."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from service.refusals import CODES

from ferops.config import Params
from ferops.datasets.kinds import FORMATS
from ferops.layout import Layout
from ferops.packaging.bento import package
from ferops.packaging.serve import Place, serve_command
from served import served
from traffic import BOUNDARY, Reply, ask, form, get, image, post

ESCAPES = "%0aFORGED%1b[31m"


def damaged() -> Iterator[tuple[str, bytes]]:
    """Files that are cut or altered in each format."""
    for kind in FORMATS:
        whole = image(kind, size=(120, 90))
        for percent in (1, 5, 25, 50, 75, 95):
            yield f"{kind} cut at {percent} %", whole[: len(whole) * percent // 100]
        for seed in range(6):
            altered = bytearray(whole)
            chance = random.Random(f"{kind}{seed}")
            for _ in range(20):
                altered[chance.randrange(2, len(altered))] = chance.randrange(256)
            yield f"{kind} altered {seed}", bytes(altered)
        yield f"{kind} twice", whole + whole
        yield f"{kind} head of another", image("PNG" if kind != "PNG" else "GIF")[:16] + whole[16:]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    made = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        made += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return made


def header(width: int, height: int, *, bits: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


def hostile() -> Iterator[tuple[str, bytes]]:
    """Files that claim much, hide something or are something else."""
    zeros = zlib.compress(b"\0" * 50_000_000, 9)
    end = (b"IEND", b"")
    yield "PNG of 50000x50000", png(header(50_000, 50_000), (b"IDAT", zeros), end)
    yield "PNG of 2^31 px", png(header(2**31 - 1, 2**31 - 1), end)
    yield "PNG without pixels", png(header(0, 100), end)
    yield (
        "PNG with a text bomb",
        png(header(10, 10), (b"zTXt", b"k\0\0" + zeros), (b"IDAT", zlib.compress(b"\0" * 310)), end),
    )
    yield (
        "PNG with a profile bomb",
        png(header(10, 10), (b"iCCP", b"k\0\0" + zeros), (b"IDAT", zlib.compress(b"\0" * 310)), end),
    )
    yield "PNG with too few pixels", png(header(4000, 4000), (b"IDAT", zlib.compress(b"\0" * 100)), end)
    yield "PNG with too many pixels", png(header(10, 10), (b"IDAT", zeros), end)
    yield "PNG of an unknown depth", png(header(10, 10, bits=3), (b"IDAT", zlib.compress(b"\0" * 99)), end)
    yield "PNG of a palette without one", png(header(10, 10, colour=3), (b"IDAT", zlib.compress(b"\0" * 110)), end)
    yield "GIF of 65535x65535", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02L\x01\0;"
    yield (
        "BMP of a negative size",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, -9, -9, 1, 24, 0, 0, 0, 0, 0, 0),
    )
    yield (
        "BMP of a wrong offset",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 2**31, 40, 9, 9, 1, 24, 0, 0, 0, 0, 0, 0),
    )
    for name, entries in {
        "endless": b"\xff\xff" + b"\0" * 100,
        "of itself": struct.pack("<HHHIII", 1, 330, 4, 1, 8, 8),
    }.items():
        yield f"TIFF directory {name}", b"II*\0\x08\0\0\0" + entries
    yield "WebP of a wrong length", b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\0" * 40
    yield "JPEG of a wrong length", b"\xff\xd8\xff\xe0\xff\xff" + b"\0" * 100
    yield "JPEG of markers", b"\xff\xd8" + b"\xff\xe1\0\x02" * 5000
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.jpg", image())
    yield "zip", archive.getvalue()
    for name, start in {
        "PDF": b"%PDF-1.7\n",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "SVG": b"<svg xmlns='x'/>",
        "HTML": b"<script>",
        "PSD": b"8BPS\0\x01",
        "HEIC": b"\0\0\0\x18ftypheic",
        "ICO": b"\0\0\x01\0\x01\0",
        "FITS": b"SIMPLE  =",
        "null": b"\0",
        "text": b"hello",
    }.items():
        yield name, start + b"\0" * 200


def odd() -> Iterator[tuple[str, bytes]]:
    """Sound images of rare kinds: these must be answered."""
    for kind, mode in [
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("PNG", "LA"),
        ("PNG", "I;16"),
        ("TIFF", "F"),
        ("TIFF", "I"),
        ("TIFF", "CMYK"),
        ("WEBP", "RGBA"),
        ("GIF", "P"),
        ("BMP", "1"),
    ]:
        yield f"{kind} {mode}", image(kind, mode=mode)
    yield "progressive", image(progressive=True)
    yield "one pixel", image("PNG", size=(1, 1))
    yield "a line", image("PNG", size=(4000, 1))
    yield "a column", image("PNG", size=(1, 4000))
    frames = [Image.new("RGB", (60, 60), (shade, 0, 0)) for shade in range(0, 250, 50)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        yield f"{kind} of several frames", buffer.getvalue()
    for orientation in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"EXIF orientation {orientation}", image(exif=exif)
    yield "EXIF of rubbish", image(exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    yield "text behind the end", image() + b"<script>" * 100


def forms() -> Iterator[tuple[str, bytes]]:
    whole = form(image())
    yield "no boundary", post(whole, content_type="multipart/form-data")
    yield "another boundary", post(whole, content_type="multipart/form-data; boundary=other")
    yield "an empty boundary", post(whole, content_type="multipart/form-data; boundary=")
    yield "a long boundary", post(whole, content_type="multipart/form-data; boundary=" + "x" * 5000)
    yield "an unknown charset", post(whole, content_type=f"multipart/form-data; charset=nope; boundary={BOUNDARY}x")
    yield "nothing", post(b"")
    yield "no end", post(whole[:-10])
    yield "only the end", post(f"--{BOUNDARY}--\r\n".encode())
    yield "only line ends", post(b"\r\n" * 1000)
    yield "no disposition", post(f"--{BOUNDARY}\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode())
    yield "no name", post(form(image(), name="x=1"))
    yield "another name", post(form(image(), name='name="photo"'))
    yield "no file name", post(whole.replace(b'; filename="a.jpg"', b""))
    yield "text for a file", post(whole.replace(b'; filename="a.jpg"', b"").replace(image(), b"http://127.0.0.1:1/"))
    yield "two images", post(whole[: -len(BOUNDARY) - 6] + whole)
    yield (
        "many files",
        post(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n'.encode() * 500),
    )
    yield "many fields", post(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'.encode() * 500)
    yield "a large field", post(form(b"x" * 3_000_000).replace(b'; filename="a.jpg"', b""))
    yield "a long head of a part", post(form(image(), name='name="' + "x" * 50_000 + '"'))
    yield "a form within", post(form(form(image())))
    yield "too large", post(form(b"\0" * 10_500_000))
    yield "too large by its own word", post(whole, content_length=str(10**12))
    yield "shorter than it says", post(whole, content_length=str(len(whole) + 10))
    yield "JSON", post(b'{"image": "http://127.0.0.1:1/"}', content_type="application/json")
    yield "pickle", post(b"cos\nsystem\n(S'id'\ntR.", content_type="application/vnd.bentoml+pickle")
    for kind in (
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "image/jpeg",
        "multipart/mixed; boundary=x",
        "*/*",
        ";;;",
        "multipart/form-data\tx",
        "caf\xe9",
        "x" * 30_000,
    ):
        yield f"content type {kind[:30]!r}", post(whole, content_type=kind)


def protocol() -> Iterator[tuple[str, bytes]]:
    whole = post(form(image()))
    head, _, body = whole.partition(b"\r\n\r\n")
    for name, line in {
        "two lengths": b"Content-Length: 5",
        "a negative length": b"Content-Length: -1",
        "a length in words": b"Content-Length: ten",
        "two ways to end": b"Transfer-Encoding: chunked",
        "an unknown coding": b"Transfer-Encoding: x",
        "a null": b"X: a\0b",
        "no colon": b"nonsense",
        "a folded line": b"X: a\r\n b",
        "a blank name": b" : x",
    }.items():
        yield f"head with {name}", head + b"\r\n" + line + b"\r\n\r\n" + body
    yield "chunks of rubbish", post(b"zz\r\nxx\r\n", content_length="", transfer_encoding="chunked")
    yield "a chunk of 2^64", post(b"ffffffffffffffffff\r\nxx", content_length="", transfer_encoding="chunked")
    yield "a chunk that ends early", post(b"5\r\nab", content_length="", transfer_encoding="chunked")
    yield "a long head", get("/", headers="X: " + "x" * 100_000 + "\r\n")
    yield "many headers", get("/", headers="".join(f"X{number}: x\r\n" for number in range(3000)))
    yield "a host of rubbish", get("/").replace(b"Host: x", b"Host: \x01\xff")
    yield "no host", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    yield "HTTP/0.9", b"GET /\r\n\r\n"
    yield "HTTP/3", b"GET / HTTP/3.0\r\n\r\n"
    yield "HTTP/2 unasked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100
    yield "nothing but line ends", b"\r\n" * 50 + b"\r\n"
    yield (
        "WebSocket",
        get("/predict", headers="Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"),
    )
    yield "Expect of rubbish", get("/", headers="Expect: 200-maybe\r\n")
    yield "a forwarded address of rubbish", get("/", headers=f"X-Forwarded-For: {ESCAPES}\r\n")
    for method in ("HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "X" * 1000):
        for path in ("/", "/predict"):
            yield f"{method[:9]} {path}", get(path, method=method)
    for path in (
        "/nowhere",
        "//",
        "//predict",
        "/predict/",
        "/predict%00",
        "/predict%0a",
        f"/{ESCAPES}",
        "/%ff%fe",
        "/%E2%80%AEgpj",
        "/../../etc/passwd",
        "/page/../service.py",
        "/page/..%2fservice.py",
        "/page/%2e%2e/release.json",
        "/static_content/../../x",
        "/static_content/%2e%2e/x",
        "/" + "a" * 20_000,
        "/" + "a/" * 5000,
        "*",
        "http://example.org/",
        "/?" + "a=b&" * 3000,
        "/predict;x",
        "/schema.json/x",
        "/metrics/x",
        "/docs.json?x=%0aFORGED",
    ):
        yield f"path {path[:30]}", get(path)
    for number in range(20):
        yield f"path number {number}", get(f"/random-{number}")


def uploads(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    for name, encoded in files:
        yield name, post(form(encoded, filename=f'filename="..\\..\\{ESCAPES}.jpg"'))


@pytest.mark.slow
def test_bad_requests(bentos: Layout, quick_params: Params, tmp_path: Path) -> None:
    package(bentos, quick_params, model_folder=bentos.root / "exports" / "1", version="1")
    command, variables = serve_command(bentos, quick_params, Place(0))
    log = tmp_path / "service.log"
    bad = [*uploads(damaged()), *uploads(hostile()), *forms(), *protocol()]
    assert len(bad) >= 200
    with served(command, variables, folder=bentos.root, log=log) as http:
        port = http.base_url.port
        assert port is not None

        def send(numbered: tuple[int, tuple[str, bytes]]) -> tuple[str, Reply]:
            number, (name, request) = numbered
            return name, ask(port, request, source=f"127.0.1.{number % 8 + 1}", within_s=20)

        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(send, enumerate(bad)))
            sound = list(pool.map(send, enumerate(uploads(odd()))))
        print(f"\n{len(bad)} bad requests:", dict(sorted(Counter(reply.status for _, reply in replies).items())))
        assert [(name, reply) for name, reply in replies if reply.status >= 500] == []
        assert [(name, reply) for name, reply in replies if reply.code and CODES.get(reply.code) != reply.status] == []
        assert [(name, reply) for name, reply in sound if reply.status != 200] == []
        assert ask(port, post(form(image()))).status == ask(port, get("/readyz")).status == 200
        metrics = http.get("/metrics").text
    assert "random-" not in metrics  # each path would stay in memory for ever
    text = log.read_text()
    assert "Traceback" not in text
    assert all(line.isprintable() and "FORGED" not in line[:7] for line in text.splitlines())
