"""Ed25519 keys and signatures.

Key files are the PEM forms every tool knows (RFC 8410): SubjectPublicKeyInfo for public keys, PKCS #8 for private ones.
``openssl genpkey -algorithm ed25519`` and ``openssl pkey -pubout`` write them too. A key's id is the start of the
SHA-256 of its 32 raw bytes. The signature library is imported when a signature is made or checked: whoever pins a
bundle by its digest needs none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from physioedge_runtime.errors import (
    BundleError,
    DevelopmentKey,
    FormatError,
    KeyRevoked,
    SignatureInvalid,
    UntrustedKey,
)

TRUSTED_KEYS = Path(__file__).parent.parent / "assets" / "trusted_keys"
MAX_KEY_FILE_BYTES = 4096
REVOKED = ".revoked"
"""Put after the name of a key file in a folder of keys, it takes the trust away and keeps the key known."""
DEVELOPMENT = "development:"
"""Begins the path of a key, or of a folder of keys, that is wanted although it is for development."""
_MARK = b"Development key: for trying things out, never for a product.\n"
"""First line of key files that are for development; before a PEM block any tool allows for text (RFC 7468)."""
PIN_PREFIX = "sha256:"
"""Begins a trust that names one bundle by its digest instead of a key."""
# DER of an Ed25519 key is a fixed prefix and 32 bytes. Source: RFC 8410, sections 4, 7 and 10.
_PUBLIC_PREFIX = bytes.fromhex("302a300506032b6570032100")
_PRIVATE_PREFIX = bytes.fromhex("302e020100300506032b657004220420")
_SIGNATURE_FILE = re.compile(
    rb'\{"algorithm":"ed25519","key_id":"([0-9a-f]{16})","signature":"([A-Za-z0-9+/]{86}==)"\}'
)


def key_id(public: bytes) -> str:
    """First 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(public).hexdigest()[:16]


def sign(message: bytes, private: bytes) -> bytes:
    """Content of ``manifest.sig`` for a message and a private key of 32 raw bytes."""
    from nacl.signing import SigningKey

    key = SigningKey(private)
    signature = base64.b64encode(key.sign(message).signature).decode()
    text = f'{{"algorithm":"ed25519","key_id":"{key_id(bytes(key.verify_key))}","signature":"{signature}"}}'
    return text.encode()


def verify(
    message: bytes, signature_file: bytes, trusted: Mapping[str, bytes], revoked: frozenset[str] = frozenset()
) -> str:
    """Id of the trusted key that signed the message.

    Parameters
    ----------
    message : bytes
        The exact bytes that were signed.
    signature_file : bytes
        Content of ``manifest.sig``; only its one canonical spelling is accepted.
    trusted : mapping of str to bytes
        Raw public keys by id.
    revoked : frozenset of str
        Ids of keys that are trusted no more.

    Raises
    ------
    FormatError
        The signature file is not in its one form.
    KeyRevoked
        It names a key that is in `revoked`.
    UntrustedKey
        Signed by a key that is not in `trusted`.
    SignatureInvalid
        The signature does not fit.
    """
    match = _SIGNATURE_FILE.fullmatch(signature_file)
    signature = base64.b64decode(match[2]) if match else b""
    if match is None or base64.b64encode(signature) != match[2]:
        raise FormatError(
            "a manifest.sig in another form", "the one of docs/bundle.md (ed25519)", "Get the file again."
        )
    signer = match[1].decode()
    if signer in revoked:
        raise KeyRevoked(
            f"a file signed by key {signer}, which was revoked",
            f"one of the trusted keys ({', '.join(sorted(trusted)) or 'none'})",
            "Ask its maker for a file under their new key.",
        )
    if signer not in trusted:
        raise UntrustedKey(
            f"a file signed by key {signer}",
            f"one of the trusted keys ({', '.join(sorted(trusted)) or 'none'})",
            "If you trust its maker, name their public key: trust='public.pem' (command line: --trust public.pem; "
            "for an adapter --adapter-trust public.pem).",
        )
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(trusted[signer]).verify(message, signature)
    except BadSignatureError as error:
        raise SignatureInvalid(
            "a manifest that was changed after signing", f"the one key {signer} signed", "Get the file again."
        ) from error
    return signer


def check_pin(message: bytes, pin: str) -> str:
    """The pin itself, once the message is the one it names.

    Parameters
    ----------
    message : bytes
        The exact bytes of the manifest.
    pin : str
        `PIN_PREFIX` and the 64 hex digits of their SHA-256.

    Raises
    ------
    SignatureInvalid
        They are other bytes.
    """
    found = PIN_PREFIX + hashlib.sha256(message).hexdigest()
    if found != pin:
        raise SignatureInvalid(f"a bundle with digest {found}", f"the pinned {pin}", "Get the bundle that was pinned.")
    return pin


def load_trust(trust: Path | str | bytes | None) -> dict[str, bytes]:
    """Raw public keys by id.

    Parameters
    ----------
    trust : path, 32 raw bytes or None
        A public key file, a folder of ``*.pem``, a raw key, or None for the keys shipped with the runtime. What
        `load_revoked` finds is left out. A path after `DEVELOPMENT` may hold keys for development.

    Raises
    ------
    DevelopmentKey
        One of them is for development, and was not asked for.
    """
    if isinstance(trust, bytes):
        return {key_id(trust): trust}
    path, asked = (TRUSTED_KEYS, False) if trust is None else _asked(trust)
    files = sorted(path.glob("*.pem")) if trust is None or path.is_dir() else [path]
    keys = {key_id(key): key for key in (_public(file, asked) for file in files)}
    revoked = load_revoked(trust)
    return {name: key for name, key in keys.items() if name not in revoked}


def load_revoked(trust: Path | str | bytes | None) -> frozenset[str]:
    """Ids of the keys in ``*.pem.revoked`` of a folder of keys, given as to `load_trust`; none for anything else."""
    if isinstance(trust, bytes):
        return frozenset()
    path = TRUSTED_KEYS if trust is None else _asked(trust)[0]
    return frozenset(key_id(read_public_key(file)) for file in path.glob("*.pem" + REVOKED))


def revoke(path: Path | str) -> str:
    """Take the trust in the key of a file ``*.pem`` in a folder of keys away, by its new name; gives the key's id.

    Raises
    ------
    BundleError
        It is no public key file named so, or cannot be renamed.
    """
    file = Path(path)
    name = key_id(read_public_key(file))
    if file.suffix != ".pem":
        raise BundleError(f"the key file {file}", "one named *.pem, in a folder of trusted keys", "Name that file.")
    try:
        file.replace(file.with_name(file.name + REVOKED))
    except OSError as error:
        raise BundleError(
            f"the key file {file}, which cannot be renamed ({error.strerror or error})", "a folder to write to",
            f"Rename it to {file.name + REVOKED} by hand.",
        ) from error  # fmt: skip
    return name


def read_public_key(path: Path | str) -> bytes:
    """The 32 raw bytes of a PEM public key file, whatever the key is for."""
    return _public(Path(path), True)


def is_for_development(path: Path | str) -> bool:
    """Whether a key file says that its key is for development."""
    return _read(Path(path)).startswith(_MARK)


def _public(path: Path, asked: bool) -> bytes:
    if path.exists() and not path.is_file():  # a pipe in a folder of keys would be waited for
        raise BundleError(f"the key file {path}, which is no regular file", "a PEM file", "Take it away.")
    return _from_pem(_read(path), "PUBLIC KEY", _PUBLIC_PREFIX, str(path), asked)


def _asked(source: Path | str) -> tuple[Path, bool]:
    """A path, and whether keys for development are wanted."""
    text = str(source)
    return Path(text.removeprefix(DEVELOPMENT)), text.startswith(DEVELOPMENT)


def read_private_key(source: Path | str | bytes) -> bytes:
    """The 32 raw bytes of a private key: a PEM file's path, PEM text as bytes, or the raw bytes themselves.

    Raises
    ------
    DevelopmentKey
        It is for development, and its path does not begin with `DEVELOPMENT`.
    """
    if isinstance(source, bytes) and len(source) == 32:
        return source
    if isinstance(source, bytes):
        return _from_pem(source, "PRIVATE KEY", _PRIVATE_PREFIX, "the key", False)
    path, asked = _asked(source)
    return _from_pem(_read(path), "PRIVATE KEY", _PRIVATE_PREFIX, str(path), asked)


def public_key(private: bytes) -> bytes:
    """Raw public key of a raw private key."""
    from nacl.signing import SigningKey

    return bytes(SigningKey(private).verify_key)


def make_keys(folder: Path | str, *, development: bool = False) -> str:
    """A new pair ``private.pem`` (readable by its owner only) and ``public.pem``; gives the key's id.

    Parameters
    ----------
    folder : path
    development : bool
        Both files say so, and are refused wherever they are not asked for.

    Raises
    ------
    BundleError
        One of the files exists already: keys are never overwritten.
    """
    from nacl.signing import SigningKey

    target = Path(folder)
    private = bytes(SigningKey.generate())
    public, mark = public_key(private), _MARK if development else b""
    contents = {
        "private.pem": (mark + _to_pem(_PRIVATE_PREFIX + private, "PRIVATE KEY"), 0o600),
        "public.pem": (mark + _to_pem(_PUBLIC_PREFIX + public, "PUBLIC KEY"), 0o644),
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in contents:
            if (target / name).exists():
                raise FileExistsError(name)
        for name, (text, mode) in contents.items():
            with os.fdopen(os.open(target / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
                file.write(text)
    except OSError as error:
        raise BundleError(
            f"{target} where keys cannot be written ({type(error).__name__}: {error})",
            "a folder without private.pem and public.pem",
            "Name another folder; existing keys are never overwritten.",
        ) from error
    return key_id(public)


def _to_pem(der: bytes, label: str) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n".encode()


def _from_pem(text: bytes, label: str, prefix: bytes, name: str, asked: bool) -> bytes:
    if text.startswith(_MARK) and not asked:
        raise DevelopmentKey(
            f"{name}, which is for development", "a key for products",
            f"Leave it out; where it is wanted, say so: {DEVELOPMENT}{name}.",
        )  # fmt: skip
    text = text.removeprefix(_MARK)
    pattern = rb"\s*-----BEGIN %b-----\s([A-Za-z0-9+/=\s]+)-----END %b-----\s*" % (label.encode(), label.encode())
    match = re.fullmatch(pattern, text)
    try:
        der = base64.b64decode(b"".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        der = b""
    if len(der) != len(prefix) + 32 or not der.startswith(prefix):
        raise FormatError(
            f"{name}, which is no Ed25519 {label.lower()}",
            f"a PEM file that starts with -----BEGIN {label}-----",
            "Make a pair with `physioedge keys make DIR`.",
        )
    return der[len(prefix) :]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise BundleError(
            f"the key file {path} ({error.strerror or error})", "a PEM file that can be read", "Check the path."
        ) from error
