"""Read a bundle with nothing but the standard library, as docs/bundle.md describes it.

    python read_bundle_without_sdk.py arrhythmia.physio [public.pem]

The signature is checked when PyNaCl is installed and a public key is named.
"""

import base64
import hashlib
import json
import struct
import sys
from pathlib import Path


def entries(data: bytes) -> dict[str, bytes]:
    """Walk the local headers: fixed 30 bytes, name, content, and the next one right behind."""
    found, at = {}, 0
    while data[at : at + 4] == b"PK\x03\x04":
        _, flags, method, _, _, _, packed, size, name_bytes, extra = struct.unpack_from("<5H3L2H", data, at + 4)
        start = at + 30 + name_bytes
        if flags or method or extra or packed != size or start + size > len(data):
            sys.exit("refused: not a plain stored entry")
        found[data[at + 30 : start].decode("ascii")] = data[start : start + size]
        at = start + size
    return found


def signed_by(manifest: bytes, signature: dict[str, str], public_pem: str) -> str:
    """Check the signature; the last 32 bytes of the key file are the key."""
    from nacl.signing import VerifyKey

    key = base64.b64decode("".join(public_pem.splitlines()[1:-1]))[-32:]
    VerifyKey(key).verify(manifest, base64.b64decode(signature["signature"]))  # raises if it does not fit
    return hashlib.sha256(key).hexdigest()[:16]


def main(path: str, public: str | None = None) -> None:
    """Print what is in the bundle after checking every digest."""
    files = entries(Path(path).read_bytes())
    raw, signature = files.pop("manifest.json"), json.loads(files.pop("manifest.sig"))
    print("signed by", signed_by(raw, signature, Path(public).read_text()) if public else "(not checked)")
    manifest = json.loads(raw)
    if {n: {"sha256": hashlib.sha256(f).hexdigest(), "bytes": len(f)} for n, f in files.items()} != manifest["files"]:
        sys.exit("refused: files are not those of the manifest")
    contract = manifest["contract"]
    gives = contract.get("labels") or [f"{value['name']} in {value['units']}" for value in contract["values"]]
    print(manifest["name"], manifest["version"], "-", ", ".join(gives))
    for sensor in contract.get("sensors") or [contract["sensor"]]:  # schema 2, or 1
        print("takes", sensor["modality"], "at", sensor["fs_hz"], "Hz in", sensor["units"])
    for graph in manifest["graphs"]:
        print(graph["file"], len(files[graph["file"]]), "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) in (2, 3) else sys.exit(__doc__)
