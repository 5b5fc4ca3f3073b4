from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from physioedge_export.pack import write_bundle
from physioedge_runtime.bundle import signing
from physioedge_runtime.bundle.container import Bundle
from physioedge_runtime.bundle.signing import (
    is_for_development,
    key_id,
    load_revoked,
    load_trust,
    make_keys,
    public_key,
    read_private_key,
    read_public_key,
    revoke,
    sign,
    verify,
)
from physioedge_runtime.errors import (
    BundleError,
    DevelopmentKey,
    FormatError,
    KeyRevoked,
    SignatureInvalid,
    UntrustedKey,
)
from tiny_bundle import PRIVATE_KEY, tiny_contract, tiny_files, tiny_parts, write_tiny_bundle

PUBLIC = public_key(PRIVATE_KEY)
TRUSTED = {key_id(PUBLIC): PUBLIC}


def test_against_rfc_8032() -> None:
    """Source: RFC 8032, section 7.1, test 2."""
    private = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    assert public_key(private) == public
    file = sign(b"\x72", private)
    expected = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert base64.b64decode(json.loads(file)["signature"]).hex() == expected
    assert verify(b"\x72", file, {key_id(public): public}) == hashlib.sha256(public).hexdigest()[:16]


def test_other_message_other_key_other_form() -> None:
    file = sign(b"message", PRIVATE_KEY)
    assert verify(b"message", file, TRUSTED) == key_id(PUBLIC)
    with pytest.raises(SignatureInvalid):
        verify(b"messagE", file, TRUSTED)
    with pytest.raises(UntrustedKey, match=key_id(PUBLIC)):
        verify(b"message", file, {})
    with pytest.raises(UntrustedKey):
        verify(b"message", sign(b"message", bytes(32)), TRUSTED)
    claimed = sign(b"message", bytes(32)).replace(key_id(public_key(bytes(32))).encode(), key_id(PUBLIC).encode())
    with pytest.raises(SignatureInvalid):
        verify(b"message", claimed, TRUSTED)


def test_only_one_spelling_of_a_signature() -> None:
    file = sign(b"message", PRIVATE_KEY)
    last = file[-5:-4]
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = alphabet[alphabet.index(last) ^ 1 : (alphabet.index(last) ^ 1) + 1]  # differs in bits base64 ignores
    spellings = [
        file[:-5] + twin + file[-4:],
        file + b"\n",
        b" " + file,
        json.dumps(json.loads(file)).encode(),
        file.replace(b"ed25519", b"none"),
        b"",
        b"[" * 1000,
    ]
    for spelling in spellings:
        with pytest.raises(FormatError):
            verify(b"message", spelling, TRUSTED)


def test_made_keys_sign_and_are_never_overwritten(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "keys")
    private, public = tmp_path / "keys" / "private.pem", tmp_path / "keys" / "public.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert public_key(read_private_key(private)) == read_public_key(public)
    assert read_private_key(private.read_bytes()) == read_private_key(private)
    assert key_id(read_public_key(public)) == made
    before = private.read_bytes()
    with pytest.raises(BundleError, match="never overwritten"):
        make_keys(tmp_path / "keys")
    private.unlink()
    with pytest.raises(BundleError, match="never overwritten"):
        make_keys(tmp_path / "keys")
    assert not private.exists()
    assert before


def test_trust_by_file_folder_bytes_and_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_keys(tmp_path / "a")
    second = make_keys(tmp_path / "b")
    folder = tmp_path / "trusted"
    folder.mkdir()
    for name in "ab":
        shutil.copy(tmp_path / name / "public.pem", folder / f"{name}.pem")
    assert set(load_trust(folder)) == {first, second}
    assert set(load_trust(str(tmp_path / "a" / "public.pem"))) == {first}
    assert load_trust(PUBLIC) == TRUSTED
    monkeypatch.setattr(signing, "TRUSTED_KEYS", folder)
    assert set(load_trust(None)) == {first, second}
    monkeypatch.setattr(signing, "TRUSTED_KEYS", tmp_path / "nothing")
    assert load_trust(None) == {}


def test_a_revoked_key_is_known_and_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {name: make_keys(tmp_path / name) for name in ("old", "new")}
    folder = tmp_path / "trusted"
    folder.mkdir()
    for name in keys:
        shutil.copy(tmp_path / name / "public.pem", folder / f"{name}.pem")
    signed = sign(b"said", read_private_key(tmp_path / "old" / "private.pem"))
    assert verify(b"said", signed, load_trust(folder), load_revoked(folder)) == keys["old"]
    assert revoke(folder / "old.pem") == keys["old"] and not (folder / "old.pem").exists()
    for place in (folder, None):
        monkeypatch.setattr(signing, "TRUSTED_KEYS", folder)
        assert set(load_trust(place)) == {keys["new"]} and load_revoked(place) == {keys["old"]}
    with pytest.raises(KeyRevoked, match=keys["old"]) as caught:
        verify(b"said", signed, load_trust(folder), load_revoked(folder))
    assert isinstance(caught.value, UntrustedKey) and caught.value.code == "revoked-key"
    shutil.copy(tmp_path / "old" / "public.pem", folder / "again.pem")  # no way back in under another name
    assert set(load_trust(folder)) == {keys["new"]}
    assert load_revoked(PUBLIC) == load_revoked(folder / "new.pem") == frozenset()


def test_development_keys_are_refused_unless_asked_for(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "dev", development=True)
    assert make_keys(tmp_path / "real") != made
    private, public = tmp_path / "dev" / "private.pem", tmp_path / "dev" / "public.pem"
    folder = tmp_path / "trusted"
    folder.mkdir()
    shutil.copy(tmp_path / "real" / "public.pem", folder / "real.pem")
    shutil.copy(public, folder / "left-behind.pem")
    for use in (lambda: load_trust(public), lambda: load_trust(folder), lambda: read_private_key(private),
                lambda: read_private_key(private.read_bytes())):  # fmt: skip
        with pytest.raises(DevelopmentKey, match="development:") as caught:
            use()
        assert isinstance(caught.value, UntrustedKey) and caught.value.code == "development-key"
    key = read_private_key(f"development:{private}")
    assert set(load_trust(f"development:{public}")) == {key_id(public_key(key))} == {made}
    assert len(load_trust(f"development:{folder}")) == 2
    assert read_public_key(public) == public_key(key) and is_for_development(public)
    assert not is_for_development(folder / "real.pem")
    bundle = tmp_path / "b.physio"
    contract = tiny_contract()
    write_bundle(bundle, parts=tiny_parts(contract), files=tiny_files(contract), signing_key=f"development:{private}")
    assert Bundle.open(bundle, trust=f"development:{public}").manifest.name
    with pytest.raises(DevelopmentKey):
        Bundle.open(bundle, trust=public)
    assert revoke(folder / "left-behind.pem") == made and load_revoked(f"development:{folder}") == {made}
    assert len(load_trust(folder)) == 1


def test_other_tools_read_development_keys(tmp_path: Path) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    make_keys(tmp_path, development=True)
    read = serialization.load_pem_public_key((tmp_path / "public.pem").read_bytes())
    assert read.public_bytes_raw() == read_public_key(tmp_path / "public.pem")


def test_what_cannot_be_revoked(tmp_path: Path) -> None:
    make_keys(tmp_path)
    (tmp_path / "public.pem").rename(tmp_path / "public.key")
    for name in ("public.key", "private.pem", "absent.pem"):
        with pytest.raises(BundleError):
            revoke(tmp_path / name)
    (tmp_path / "odd.pem.revoked").write_text("no key")
    with pytest.raises(FormatError):  # rather than trust a key that was to be revoked
        load_trust(tmp_path)


def test_a_stranger_is_told_how_to_trust(tmp_path: Path) -> None:
    path = tmp_path / "b.physio"
    write_tiny_bundle(path)
    make_keys(tmp_path / "other")
    for trust in (None, tmp_path / "other" / "public.pem"):
        with pytest.raises(UntrustedKey, match=f"(?s){key_id(PUBLIC)}.*--trust"):
            Bundle.open(path, trust=trust)


@pytest.mark.parametrize(
    "text", [b"", b"x", b"-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n", bytes(9000)]
)
def test_files_that_are_no_key(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(text)
    for read in (read_public_key, read_private_key):
        with pytest.raises(FormatError, match="physioedge keys make"):
            read(path)


@pytest.mark.parametrize("name", ["pipe.pem", "pipe.pem.revoked"])
def test_a_pipe_in_a_folder_of_keys_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    make_keys(tmp_path / "pair")
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    shutil.copy(tmp_path / "pair" / "public.pem", trusted / "a.pem")
    os.mkfifo(trusted / name)
    for read in (load_trust, load_revoked):
        if read is load_trust or name.endswith(".revoked"):
            with pytest.raises(BundleError, match=r"no regular file.*Take it away"):
                read(trusted)


def test_a_private_key_is_no_public_key(tmp_path: Path) -> None:
    make_keys(tmp_path)
    with pytest.raises(FormatError):
        read_public_key(tmp_path / "private.pem")
    with pytest.raises(BundleError, match=r"absent\.pem"):
        read_public_key(tmp_path / "absent.pem")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_reads_our_keys_and_we_read_its(tmp_path: Path) -> None:
    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    make_keys(tmp_path / "ours")
    openssl("pkey", "-in", tmp_path / "ours/private.pem", "-pubout", "-out", tmp_path / "again.pem")
    assert read_public_key(tmp_path / "again.pem") == read_public_key(tmp_path / "ours/public.pem")
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "theirs.pem")
    openssl("pkey", "-in", tmp_path / "theirs.pem", "-pubout", "-out", tmp_path / "theirs.pub.pem")
    assert public_key(read_private_key(tmp_path / "theirs.pem")) == read_public_key(tmp_path / "theirs.pub.pem")
