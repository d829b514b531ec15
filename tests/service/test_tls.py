"""The service over TLS, HTTP and gRPC, with a certificate that is made here."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import subprocess
import time
from pathlib import Path

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from service.grpc_server import NAME

from ferops.config import Params
from ferops.datasets.synthetic.generate import rows
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.packaging.bento import package
from ferops.packaging.serve import Place, checked_tls, serve_command
from service import ferops_pb2
from sockets import free_port


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ferops")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def test_files_of_tls_are_checked_before_anything_is_built(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = certificate(tmp_path / "other")
    assert checked_tls(None, None) is None
    assert checked_tls(cert, key) == (cert, key)
    for pair, words in (
        ((cert, None), "both"),
        ((tmp_path / "none.pem", key), "No such file"),
        ((cert, other), "PEM files"),
        ((key, cert), "PEM files"),
    ):
        with pytest.raises(FeropsError, match=words):
            checked_tls(*pair)


@pytest.mark.slow
def test_both_interfaces_speak_tls(bentos: Layout, quick_params: Params, tmp_path: Path) -> None:
    package(bentos, quick_params, model_folder=bentos.root / "exports" / "1", version="1")
    cert, key = certificate(tmp_path)
    port, grpc_port = free_port(), free_port()
    command, variables = serve_command(bentos, quick_params, Place(port, tls=(cert, key), grpc_port=grpc_port))
    photo = next(rows(seed=7))["image"]
    assert isinstance(photo, bytes)
    log = tmp_path / "service.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, env=variables, cwd=bentos.root, stdout=out, stderr=out)
    try:
        context = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context, timeout=30) as http:
            deadline_s = time.monotonic() + 180
            while True:
                assert time.monotonic() < deadline_s, log.read_text()[-3000:]
                assert process.poll() is None, log.read_text()[-3000:]
                try:
                    if http.get("/readyz").status_code == httpx.codes.OK:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
            by_http = http.post("/predict", files={"image": photo}).json()
        with grpc.secure_channel(f"127.0.0.1:{grpc_port}", grpc.ssl_channel_credentials(cert.read_bytes())) as channel:
            predict = channel.unary_unary(
                f"/{NAME}/Predict",
                request_serializer=ferops_pb2.PredictRequest.SerializeToString,
                response_deserializer=ferops_pb2.Answer.FromString,
            )
            by_grpc = predict(ferops_pb2.PredictRequest(image=photo), timeout=60)
        assert dict(by_grpc.faces[0].probabilities) == by_http["faces"][0]["probabilities"]
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0
