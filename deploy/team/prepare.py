"""`python deploy/team/prepare.py`, in the project's folder: what `docker compose --profile team` needs, made once.

Passwords of PostgreSQL, the S3 store and Grafana, a certificate for *.localhost that signs itself, and the folders of
the containers, all below .ferops, for this user alone. What exists is left as it is.
"""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = [f"{each}.localhost" for each in ("ferops", "mlflow", "prefect", "grafana")]
FOLDERS = ("postgres", "s3", "prometheus", "grafana", "tls")


def main(root: Path) -> list[Path]:
    """Make what is missing below `root`/.ferops, and return those files."""
    containers, private = root / ".ferops" / "containers", root / ".ferops" / "private"
    for folder in (root / ".ferops", private, containers, *(containers / name for name in FOLDERS)):
        folder.mkdir(mode=0o700, exist_ok=True)
    word = {name: secrets.token_hex(24) for name in ("postgres", "prefect", "mlflow", "s3", "grafana")}
    certificate, key = _certificate()
    identity = {
        "name": "ferops",
        "credentials": [{"accessKey": "ferops", "secretKey": word["s3"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    texts = {
        private / "team.env": (
            f"FEROPS_PREFECT_DATABASE=postgresql://prefect:{word['prefect']}@127.0.0.1:5433/prefect\n"
            f"FEROPS_MLFLOW_DATABASE=postgresql://mlflow:{word['mlflow']}@127.0.0.1:5433/mlflow\n"
            "FEROPS_S3=s3://ferops\nAWS_ENDPOINT_URL=http://127.0.0.1:8333\n"
            f"AWS_ACCESS_KEY_ID=ferops\nAWS_SECRET_ACCESS_KEY={word['s3']}\n"
        ),
        containers / "postgres.env": (
            f"POSTGRES_PASSWORD={word['postgres']}\nPREFECT_PASSWORD={word['prefect']}\n"
            f"MLFLOW_PASSWORD={word['mlflow']}\n"
        ),
        containers / "s3.json": json.dumps({"identities": [identity]}, indent=1) + "\n",
        containers / "grafana.env": f"GF_SECURITY_ADMIN_USER=ferops\nGF_SECURITY_ADMIN_PASSWORD={word['grafana']}\n",
        containers / "tls" / "tls.crt": certificate,
        containers / "tls" / "tls.key": key,
    }
    # They hold one another's passwords, so either all of the stores' are new or none
    stores = [file for file in texts if file.parent.name != "tls"]
    kept = {file for file in texts if file.exists()}
    if kept & set(stores) and not set(stores) <= kept:
        missing = ", ".join(str(file) for file in stores if file not in kept)
        raise SystemExit(f"{missing} is missing, and the others hold its passwords. Bring it back, or remove them all")
    if kept & {containers / "tls" / "tls.crt", containers / "tls" / "tls.key"}:
        kept |= {containers / "tls" / "tls.crt", containers / "tls" / "tls.key"}
    for file in texts.keys() - kept:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(texts[file])
    return sorted(texts.keys() - kept)


def _certificate() -> tuple[str, str]:
    """Return a certificate for NAMES and its key, as PEM; browsers warn of it, as nobody they know has signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAMES[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in NAMES]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


if __name__ == "__main__":
    for file in main(Path.cwd()):
        print(f"made {file.relative_to(Path.cwd())}")
