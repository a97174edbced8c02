"""A certificate authority for a test, and a certificate for 127.0.0.1 that it signed, as files."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


class Certificates(NamedTuple):
    """Paths of PEM files. `both` holds certificate and key, as mongod wants them."""

    authority: Path
    certificate: Path
    key: Path
    both: Path


def make_certificates(directory: Path) -> Certificates:
    """Write an authority, and a server's certificate, into `directory`."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _named("authority of a test"), _named("server of a test")
    authority = _sign(
        _certificate(issuer, issuer, authority_key).add_extension(x509.BasicConstraints(True, None), critical=True),
        authority_key,
    )
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = _sign(_certificate(subject, issuer, key).add_extension(loopback, critical=False), authority_key)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = Certificates(*(directory / name for name in ("ca.pem", "server.pem", "server.key", "server-both.pem")))
    contents = (_pem(authority), _pem(certificate), key_pem, _pem(certificate) + key_pem)
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    return files


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )


def _sign(builder: x509.CertificateBuilder, authority_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(authority_key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
