"""What `caffe serve` refuses: pictures that are none, links that lead inside, other sites."""

from __future__ import annotations

import io
import json
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from caffe.web.links import is_public, locate
from caffe.web.refusals import Refusal
from caffe.web.settings import Settings
from tests.helpers.serving import Answer, Site, elsewhere, picture, serving, small_offer, wait_until


@pytest.fixture(scope="module")
def elsewhere_and_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server on loopback that links may lead to, and one of ours that lets them."""
    folder = tmp_path_factory.mktemp("net")
    with (
        elsewhere(picture()) as (inner, _),
        elsewhere(picture(), onward=f"http://{inner}") as (place, asked),
        serving(
            [small_offer(folder)],
            permitted=(place,),
            most_bytes=100_000,
            most_pixels=1_000_000,
            link_seconds=1.0,
            upload_seconds=1.0,
        ) as site,
    ):
        yield site, place, asked


@pytest.fixture
def site(elsewhere_and_site: Any) -> Site:
    return elsewhere_and_site[0]


@pytest.fixture
def place(elsewhere_and_site: Any) -> str:
    return f"http://{elsewhere_and_site[1]}"


def refused(answer: Answer) -> tuple[int, str]:
    assert set(answer.json) == {"error"}
    assert "Traceback" not in answer.body.decode()
    return answer.status, answer.code


# Pictures.


def test_content_and_not_its_name_tells_the_format(site: Site) -> None:
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        answer = site.ask("/classify", picture(form=form), {"Content-Type": "image/x-lie"})
        assert (answer.status, answer.json["picture"]["format"]) == (200, form)


def saved(form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"just text",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        saved("PDF"),
        saved("ICO"),
        saved("EPS"),
        saved("TGA"),
    ],
    ids=["text", "svg", "postscript", "pdf", "ico", "eps", "tga"],
)
def test_other_formats_are_refused(site: Site, content: bytes) -> None:
    assert refused(site.ask("/classify", content)) == (415, "no_picture")


def test_an_empty_and_a_damaged_picture(site: Site) -> None:
    assert refused(site.ask("/classify", b"", method="POST")) == (400, "empty")
    whole = picture(200, 200, "JPEG")
    assert refused(site.ask("/classify", whole[: len(whole) // 2])) == (400, "damaged")
    assert refused(site.ask("/classify", picture(90, 90)[:120])) == (400, "damaged")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that unpacks to so many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(1001, 1000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(site: Site, size: tuple[int, int]) -> None:
    start = time.monotonic()
    assert refused(site.ask("/classify", bomb(*size))) == (413, "too_many_pixels")
    assert time.monotonic() - start < 5


def test_a_picture_of_just_as_many_pixels_is_not_refused(site: Site) -> None:
    assert site.ask("/classify", picture(1000, 1000, "JPEG", quality=20)).status == 200


def test_too_many_bytes_announced(site: Site) -> None:
    assert refused(site.ask("/classify", bytes(1_000_000))) == (413, "too_large")


def test_too_many_bytes_in_a_form(site: Site) -> None:
    head = '--edge\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    body = head.encode() + bytes(120_000) + b"\r\n--edge--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    assert refused(site.ask("/classify", body, headers)) == (413, "too_large")


def test_too_many_bytes_that_were_not_announced(site: Site) -> None:
    answer = site.ask("/classify", iter([bytes(10_000)] * 100))
    assert refused(answer) == (413, "too_large")


def test_an_upload_without_end_is_cut_off(site: Site) -> None:
    piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", site.port), 30) as stream:
        stream.sendall(b"POST /classify HTTP/1.1\r\nHost: localhost\r\n")
        stream.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            while sent < 1 << 30:
                stream.sendall(piece)
                sent += len(piece)
    assert sent < 200 << 20
    assert site.ask("/healthz").json["taken"] == 0


def test_an_upload_that_stands_still_is_given_up(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 30) as stream:
        stream.sendall(
            b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\nab"
        )
        assert stream.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_forms_that_are_none(site: Site) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    for body in (b"", b"nothing", b"--edge\r\n\r\n", b"--edge--\r\n"):
        assert site.ask("/classify", body, headers, method="POST").status == 400
    without = {"Content-Type": "multipart/form-data"}
    assert refused(site.ask("/classify", b"x", without)) == (400, "bad_form")


# Links.


def test_a_link_is_followed_and_its_host_is_named(elsewhere_and_site: Any) -> None:
    site, place, asked = elsewhere_and_site
    answer = site.link(f"http://{place}/cat one.png?size=1#part")
    assert answer.status == 200
    assert asked[-1] == ("/cat%20one.png?size=1", place)
    fetched = site.link(f"http://{place}/cat.png", "/fetch")
    assert (fetched.headers["content-type"], fetched.body) == ("image/png", picture())


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1/",
        "http://localhost:9999/cat.png",
        "http://127.1:8080/",
        "http://2130706433:8080/",
        "http://0x7f000001:8080/",
        "http://0.0.0.0:8080/",
        "http://[::1]:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
        "http://[64:ff9b::a00:1]:8080/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[ff02::1]/",
        "http://93.184.216.34:25/",
        "file:///etc/passwd",
        "ftp://93.184.216.34/cat.png",
        "gopher://93.184.216.34/",
        "data:image/png;base64,AAAA",
        "//93.184.216.34/",
        "http:///cat.png",
        "http://user:secret@93.184.216.34/",
        "http://e\x00\x01mple.com/",
        "http://exa<mple.com/",
        "http://93.184.216.34/\ud800",
        "http://[bad/",
        "http://93.184.216.34:99999/",
        "",
    ],
)
def test_links_that_lead_nowhere_public_are_refused(site: Site, link: str) -> None:
    assert refused(site.link(link)) == (400, "link_refused")


def test_which_addresses_are_public() -> None:
    public = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"]
    assert all(map(is_public, public))
    others = ["fe80::1%eth0", "2002:7f00:1::", "2001:0:1::1", "2001:db8::1", "::", "fec0::1"]
    others += ["198.18.0.1", "192.0.2.1", "::127.0.0.1", "64:ff9b:1::1", "", "example.org"]
    assert not any(map(is_public, others))


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # No name server is at hand that would give such answers.
    def answers(name: str, port: int, **_: Any) -> list[Any]:
        assert name == "both.example"
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, port)) for address in ("1.1.1.1", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    with pytest.raises(Refusal) as failure:
        locate("https://both.example/", Settings())
    assert failure.value.code == "link_refused"


def test_a_name_is_resolved_once_and_then_pinned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with elsewhere(picture()) as (place, asked):
        real, port, names = socket.getaddrinfo, int(place.split(":")[1]), []

        def answers(name: Any, *rest: Any, **options: Any) -> Any:
            if name != "rebound.example":
                return real(name, *rest, **options)
            names.append(name)
            # Checked it is where it may go; asked again it would be elsewhere.
            address = "127.0.0.1" if len(names) == 1 else "127.0.0.2"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", answers)
        with serving([small_offer(tmp_path)], permitted=(place,)) as site:
            assert site.link(f"http://rebound.example:{port}/cat").status == 200
        assert names == ["rebound.example"]
        assert asked == [("/cat", f"rebound.example:{port}")]


def test_a_name_that_nobody_resolves_in_time_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def answers(name: str, *args: Any, **options: Any) -> Any:
        if name == "slow.example":
            time.sleep(4)
        return resolve(name, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    start = time.monotonic()
    assert refused(site.link("http://slow.example/cat")) == (504, "link_slow")
    assert time.monotonic() - start < 3.5


def test_a_redirect_to_a_private_address_is_refused(site: Site, place: str) -> None:
    assert refused(site.link(f"{place}/to/cat.png")) == (400, "link_refused")


def test_a_redirect_to_where_links_may_lead_is_followed(tmp_path: Path) -> None:
    with (
        elsewhere(picture()) as (inner, _),
        elsewhere(onward=f"http://{inner}") as (outer, _),
        serving([small_offer(tmp_path)], permitted=(inner, outer)) as site,
    ):
        assert site.link(f"http://{outer}/to/cat.png").status == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/around/", (502, "link_failed")),
        ("/to-nothing", (502, "link_failed")),
        ("/empty", (502, "link_failed")),
        ("/none", (502, "link_failed")),
        ("/packed", (502, "link_failed")),
        ("/short", (502, "link_failed")),
        ("/large", (413, "too_large")),
        ("/endless", (413, "too_large")),
        ("/drip", (504, "link_slow")),
        ("/drip-head", (504, "link_slow")),
        ("/silent", (504, "link_slow")),
    ],
)
def test_what_a_link_s_server_does_wrong(
    site: Site, place: str, path: str, expected: tuple[int, str]
) -> None:
    start = time.monotonic()
    assert refused(site.link(place + path)) == expected
    assert time.monotonic() - start < 8


def test_slow_links_keep_out_nobody_else(tmp_path: Path) -> None:
    mine, other = ({"X-Forwarded-For": f"203.0.113.{number}"} for number in (7, 8))
    kind = {"Content-Type": "application/json"}
    with (
        elsewhere(picture()) as (place, asked),
        serving(
            [small_offer(tmp_path)], permitted=(place,), queue=1, links_each=1, link_seconds=20.0
        ) as site,
        ThreadPoolExecutor(1) as pool,
    ):
        body = json.dumps({"link": f"http://{place}/silent"})
        slow = pool.submit(site.ask, "/classify", body, {**kind, **mine})
        wait_until(lambda: asked)
        assert site.ask("/classify", picture(), mine).status == 200
        body = json.dumps({"link": f"http://{place}/cat.png"})
        assert refused(site.ask("/classify", body, {**kind, **mine})) == (503, "busy")
        assert site.ask("/classify", body, {**kind, **other}).status == 200
        assert slow.result().status == 502


def test_a_link_to_nobody_and_to_no_picture(site: Site, tmp_path: Path) -> None:
    assert refused(site.link("http://no-such-name.invalid/")) == (502, "link_failed")
    with (
        elsewhere(b"<html>") as (place, _),
        serving([small_offer(tmp_path)], permitted=(place,)) as other,
    ):
        for path in ("/classify", "/fetch"):
            answer = other.link(f"http://{place}/cat.html", path)
            assert refused(answer) == (415, "no_picture")


def test_a_certificate_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    import ssl
    import threading

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def shake() -> None:
            stream, _ = listening.accept()
            with stream, pytest.raises(OSError):  # noqa: PT011
                context.wrap_socket(stream, server_side=True).recv(1)

        thread = threading.Thread(target=shake, daemon=True)
        thread.start()
        with serving([small_offer(tmp_path)], permitted=(f"127.0.0.1:{port}",)) as site:
            answer = site.link(f"https://localhost:{port}/cat.png")
        thread.join(10)
    assert refused(answer) == (502, "link_failed")
    assert "certificate" in answer.json["error"]["message"]


# Other sites, and what browsers are told.


def test_only_own_names_are_answered(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], host_names=("recaffe.example",)) as site:
        for name in ("localhost", "127.0.0.1:1", "[::1]:80", "192.168.0.9", "Recaffe.example:9"):
            assert site.ask("/healthz", headers={"Host": name}).status == 200, name
        for name in ("evil.example", "localhost.evil.example", "", "[", "a@localhost.x"):
            answer = site.ask("/healthz", headers={"Host": name})
            assert refused(answer) == (403, "wrong_name"), name
        page = site.ask("/", headers={"Host": "evil.example"})
        assert page.status == 403


def test_pages_of_other_sites_cannot_post(site: Site) -> None:
    own = f"http://127.0.0.1:{site.port}"
    for headers in ({}, {"Origin": own}, {"Origin": own, "Sec-Fetch-Site": "same-origin"}):
        assert site.ask("/classify", picture(), headers).status == 200
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": f"http://127.0.0.1:{site.port + 1}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert refused(site.ask("/classify", picture(), headers)) == (403, "other_site")


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/healthz", "/page/main.js", "/nowhere", "/classify"]
)
def test_browsers_are_told_to_be_strict(site: Site, path: str) -> None:
    headers = site.ask(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_the_page_has_no_inline_code_for_its_policy(site: Site) -> None:
    for path in ("/", "/docs"):
        text = site.ask(path).body.decode().lower()
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert text.count("<script") == text.count('<script type="module" src=')


@pytest.mark.parametrize("path", ["/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd"])
def test_only_the_page_s_files_are_served(site: Site, path: str) -> None:
    assert site.ask(path).status == 404


def test_nothing_of_a_picture_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file")

    with serving([small_offer(tmp_path)]) as site:
        site.ask("/classify", picture())
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(tempfile, "_mkstemp_inner", forbidden)
        monkeypatch.setattr(tempfile, "TemporaryFile", forbidden)
        monkeypatch.chdir(tmp_path)
        content = picture(1500, 1500, "BMP")
        head = '--edge\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        body = head.encode() + content + b"\r\n--edge--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=edge"}
        answer = site.ask("/classify", body, headers)
        assert answer.status == 200
        assert json.loads(answer.body)["picture"]["width"] == 1500
    assert sorted(tmp_path.rglob("*")) == before
