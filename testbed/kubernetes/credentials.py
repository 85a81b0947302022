"""Keys, tokens and kubeconfigs of a control plane that lives for a test run.

Certificates are not made here: kube-apiserver signs itself one for its address, and clients trust that file. So TLS is
verified as in a real cluster, without a certificate authority of ours.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from pathlib import Path

KEY_BITS = 2048


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def make_signing_keys(private: Path, public: Path) -> None:
    """Make the pair of keys that tokens of service accounts are signed and checked with.

    Args:
        private: Where the private key goes, readable by its owner only.
        public: Where the public key goes.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    write_private(private, secret.decode())
    shown = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    public.write_bytes(shown)


def write_kubeconfig(path: Path, *, url: str, ca_file: Path, token: str, namespace: str = "default") -> Path:
    """Write a kubeconfig with one context, readable by its owner only.

    Args:
        path: Where it goes.
        url: Of the API server.
        ca_file: Certificate to trust, by its path.
        token: Bearer token.
        namespace: Of the context.

    Returns:
        The path.
    """
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bed",
        "clusters": [{"name": "bed", "cluster": {"server": url, "certificate-authority": str(ca_file)}}],
        "users": [{"name": "bed", "user": {"token": token}}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "bed", "namespace": namespace}}],
    }
    write_private(path, yaml.safe_dump(config, sort_keys=False))
    return path
