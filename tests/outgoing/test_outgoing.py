"""What goes out goes only where it may, and comes back in time."""

from __future__ import annotations

import gzip
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from mlops_nb import outgoing
from mlops_nb.errors import InvalidInput, MlopsError
from mlops_nb.outgoing import AddressRefused, OutgoingError
from tests.outgoing.sockets import Answer, free_port, receiving, speaking


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv(outgoing.ENV_ALLOWED_HOSTS, raising=False)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0.0.0.0", "[::1]", "[::]"),
        *("10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "169.254.169.254", "[fd00:ec2::254]", "[fe80::1]", "[fec0::1]"),
        *("[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[64:ff9b::a00:1]", "[2002:7f00:1::]", "[::7f00:1]"),
        *("224.0.0.1", "[ff02::1]", "255.255.255.255", "240.0.0.1", "100.100.100.200", "168.63.129.16"),
        *("metadata.google.internal", "METADATA.google.internal.", "metadata"),
    ],
)
def test_an_address_inside_is_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(AddressRefused, match="nothing is sent there"):
        outgoing.session().get(f"http://{host}:{free_port()}/")
    with pytest.raises(AddressRefused):
        outgoing.check_url(f"http://{host}/")


def test_the_error_says_what_to_set_and_setting_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        with pytest.raises(AddressRefused, match=r"this machine.*MLOPS_NB_ALLOWED_HOSTS=127\.0\.0\.1"):
            outgoing.session().get(receiver.url)
        assert receiver.received == []
        monkeypatch.setenv(outgoing.ENV_ALLOWED_HOSTS, "git.example.org, 127.0.0.1")
        assert outgoing.session().get(receiver.url).text == "ok"


@pytest.mark.parametrize("allowed", ["localhost", "localhost:{port}", "127.0.0.0/8", "LocalHost."])
def test_a_host_is_allowed_by_name_port_or_network(allowed: str) -> None:
    with receiving() as receiver:
        client = outgoing.session(allowed_hosts=[allowed.format(port=receiver.port), "::1"])
        assert client.get(f"http://localhost:{receiver.port}/").status_code == 200


def test_another_port_of_an_allowed_host_stays_shut() -> None:
    with receiving() as receiver, pytest.raises(AddressRefused):
        outgoing.session(allowed_hosts=[f"127.0.0.1:{free_port()}", f"localhost:{receiver.port}"]).get(receiver.url)


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "metadata.google.internal", "[::ffff:169.254.169.254]"])
def test_private_networks_allowed_does_not_mean_metadata_services(host: str) -> None:
    with pytest.raises(AddressRefused):
        outgoing.session(allow_private=True).get(f"http://{host}/")


def test_a_name_that_is_allowed_may_not_turn_into_a_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, {"git.corp": ["169.254.169.254"]})
    with pytest.raises(AddressRefused, match="metadata"):
        outgoing.session(allowed_hosts=["git.corp"]).get("http://git.corp/")


def names(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[str]]) -> list[str]:
    """Let these names have these addresses, one after the other, the last for good; returns the questions asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        if host in answers:
            asked.append(host)
            addresses = answers[host]
            host = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_that_changes_its_address_after_the_check_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        names(monkeypatch, {"rebind.example.org": ["93.184.216.34", "127.0.0.1"]})
        url = f"http://rebind.example.org:{receiver.port}/"
        outgoing.check_url(url)
        with pytest.raises(AddressRefused, match="this machine"):
            outgoing.session(retries=0).get(url)
        assert receiver.received == []


def test_a_name_is_looked_up_once_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        asked = names(monkeypatch, {"git.corp": ["127.0.0.1", "127.0.0.2"]})
        client = outgoing.session(allowed_hosts=["git.corp"])
        assert client.get(f"http://git.corp:{receiver.port}/").status_code == 200
        assert asked == ["git.corp"]
        assert receiver.received[0].headers["Host"] == f"git.corp:{receiver.port}"


def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    with (
        receiving() as inside,
        receiving(lambda _: Answer(302, {"Location": f"http://localhost:{inside.port}/latest/meta-data"})) as outside,
    ):
        client = outgoing.session(allowed_hosts=[f"127.0.0.1:{outside.port}"])
        with pytest.raises(AddressRefused):
            client.get(outside.url)
        outside.answer = lambda _: Answer(307, {"Location": "http://169.254.169.254/latest/meta-data"})
        with pytest.raises(AddressRefused, match="metadata"):
            client.post(outside.url, data=b"x")
        assert inside.received == []


def test_a_redirect_to_another_host_takes_no_credentials_along() -> None:
    with receiving() as second, receiving(lambda _: Answer(302, {"Location": f"http://localhost:{second.port}/x"})) as first:
        client = outgoing.session(allowed_hosts=["127.0.0.1", "localhost"])
        secrets = {"Authorization": "Bearer s3cret", "PRIVATE-TOKEN": "s3cret", "Cookie": "a=s3cret", "X-Anything": "s3cret"}
        assert client.get(first.url, headers={**secrets, "Accept": "application/json"}).status_code == 200
        assert "s3cret" in str(first.received[0].headers)
        assert "s3cret" not in str(second.received[0].headers)
        assert second.received[0].headers["Accept"] == "application/json"


def test_a_redirect_on_the_same_host_keeps_them_and_endless_ones_end() -> None:
    def answer(request: Any) -> Answer:
        return Answer(302, {"Location": "/end"}) if request.path == "/" else Answer()

    with receiving(answer) as receiver:
        client = outgoing.session(allow_private=True)
        client.get(receiver.url, headers={"PRIVATE-TOKEN": "t"})
        assert receiver.received[1].headers["PRIVATE-TOKEN"] == "t"
        receiver.answer = lambda _: Answer(302, {"Location": "/again"})
        with pytest.raises(OutgoingError, match="redirects more than 5 times"):
            client.get(receiver.url)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/", "gopher://127.0.0.1/", "//["])
def test_a_redirect_to_anything_but_http_is_refused(target: str) -> None:
    with receiving(lambda _: Answer(302, {"Location": target})) as receiver, pytest.raises(MlopsError):
        outgoing.session(allow_private=True).get(receiver.url)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.org/", "example.org", "http://", "http://[", "", "javascript:alert(1)"]
)
def test_what_is_not_a_url_of_a_web_server_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        outgoing.session().get(url)
    with pytest.raises(InvalidInput):
        outgoing.check_url(url)


def test_a_password_in_a_url_is_refused_without_being_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        outgoing.check_url("https://user:s3cret@example.org/hook?token=s3cret")
    assert "s3cret" not in str(caught.value)


def test_no_host_gets_the_passwords_of_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password s3cret")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with receiving(lambda r: Answer(302, {"Location": "/end"}) if r.path == "/" else Answer()) as receiver:
        outgoing.session(allow_private=True).get(receiver.url)
        assert len(receiver.received) == 2
        assert all("Authorization" not in request.headers for request in receiver.received)


def test_a_silent_server_costs_the_time_out_and_no_more() -> None:
    with speaking(lambda _: time.sleep(5)) as url:
        began = time.monotonic()
        with pytest.raises(OutgoingError, match="did not answer in time") as caught:
            outgoing.session(allow_private=True, retries=0, timeout=(1, 0.3)).get(f"{url}/?token=s3cret")
        assert time.monotonic() - began < 2
        assert caught.value.timed_out
        assert "s3cret" not in str(caught.value)


def test_a_server_that_sends_its_head_byte_by_byte_is_cut_off() -> None:
    def dribble(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(200):
            connection.sendall(b"X")
            time.sleep(0.05)

    with speaking(dribble) as url:
        began = time.monotonic()
        with pytest.raises(OutgoingError) as caught:
            outgoing.session(allow_private=True, retries=0, timeout=(1, 0.5)).get(url)
        assert caught.value.timed_out
        assert time.monotonic() - began < 3


def test_an_answer_that_is_too_long_or_too_slow_is_not_read() -> None:
    bomb = gzip.compress(b"0" * (8 << 20))
    with receiving(lambda _: Answer(200, {"Content-Encoding": "gzip"}, bomb)) as receiver:
        client = outgoing.session(allow_private=True, max_bytes=1 << 20)
        with pytest.raises(OutgoingError, match="more than 1,048,576 bytes"):
            client.get(receiver.url)
        with pytest.raises(OutgoingError, match="more than 10 bytes"):
            outgoing.read_limited(client.get(receiver.url, stream=True), 10)

    def dribble(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(200):
            connection.sendall(b"X")
            time.sleep(0.05)

    with speaking(dribble) as url:
        response = outgoing.session(allow_private=True).get(url, stream=True)
        began = time.monotonic()
        with pytest.raises(OutgoingError, match=r"more than 0\.3 s"):
            outgoing.read_limited(response, seconds=0.3)
        assert time.monotonic() - began < 3


def test_reading_is_tried_again_and_writing_is_not() -> None:
    with receiving() as receiver:
        receiver.answer = lambda _: Answer(503) if len(receiver.received) % 3 else Answer()
        client = outgoing.session(allow_private=True)
        assert client.get(receiver.url).status_code == 200
        assert len(receiver.received) == 3
        assert client.post(receiver.url).status_code == 503
        assert len(receiver.received) == 4


def test_retry_after_is_heeded_up_to_a_minute() -> None:
    with receiving() as receiver:
        receiver.answer = lambda _: Answer(429, {"Retry-After": "1"}) if len(receiver.received) == 1 else Answer()
        client = outgoing.session(allow_private=True)
        began = time.monotonic()
        assert client.get(receiver.url).status_code == 200
        assert 1 <= time.monotonic() - began < 10
        receiver.answer = lambda _: Answer(429, {"Retry-After": "3600"})
        assert client.get(receiver.url).status_code == 429
        assert len(receiver.received) == 3


def test_a_proxy_of_the_environment_is_used_and_private_targets_are_still_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        client = outgoing.session()
        assert client.get("http://only-the-proxy-knows.invalid/x").status_code == 200
        assert proxy.received[0].path == "http://only-the-proxy-knows.invalid/x"
        for target in ("http://127.0.0.1:1/", "http://169.254.169.254/", "http://metadata.google.internal/"):
            with pytest.raises(AddressRefused):
                client.get(target)
        assert len(proxy.received) == 1


def test_what_is_not_to_go_through_the_proxy_is_guarded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as inside:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with pytest.raises(AddressRefused):
            outgoing.session().get(inside.url)
        assert outgoing.session(allow_private=True).get(inside.url).status_code == 200
        assert proxy.received == []


def test_a_host_that_is_down_or_unknown_is_an_error_that_can_be_read() -> None:
    client = outgoing.session(allow_private=True, retries=0)
    for url in (f"http://127.0.0.1:{free_port()}/?token=s3cret", "http://does-not-exist.invalid/?token=s3cret"):
        with pytest.raises(OutgoingError, match="cannot be reached") as caught:
            client.get(url)
        assert "s3cret" not in str(caught.value)


def test_connections_are_kept_and_cookies_are_not() -> None:
    with receiving(lambda _: Answer(200, {"Set-Cookie": "a=1"})) as receiver:
        client = outgoing.session(allow_private=True)
        for _ in range(2):
            client.get(receiver.url)
        assert receiver.connections == 1
        assert "Cookie" not in receiver.received[1].headers


def test_a_wrong_entry_in_the_list_of_allowed_hosts_is_named() -> None:
    with pytest.raises(InvalidInput, match="'http://x/y' is not a host"):
        outgoing.session(allowed_hosts=["http://x/y"])


def test_a_redirect_away_from_encryption_is_refused_and_a_wrong_certificate_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    with receiving() as plain, receiving(lambda _: Answer(302, {"Location": plain.url}), certificate=certificate) as secure:
        client = outgoing.session(allow_private=True, retries=0)
        with pytest.raises(OutgoingError, match=r"certificate does not pass.*REQUESTS_CA_BUNDLE"):
            client.get(secure.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        with pytest.raises(AddressRefused, match="not encrypted"):
            client.get(secure.url)
        assert plain.received == []


def self_signed(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1 with its key into one file."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "certificate.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file
