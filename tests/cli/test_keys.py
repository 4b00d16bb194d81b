"""genkey, pubkey, genpsk: wg's formats."""

import io
import shutil
import subprocess
import sys

import pytest

from sacip_tun.cli.keys import new_private_key, public_key_of
from sacip_tun.protocol.keys import clamped, from_base64

# RFC 7748 section 6.1, Alice's keys.
PRIVATE = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
PUBLIC = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="


def feed(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_genkey_prints_a_clamped_key_and_never_the_same(run):
    keys = [run("genkey")[1].removesuffix("\n") for _ in range(2)]
    assert keys[0] != keys[1]
    for key in keys:
        assert clamped(from_base64(key)) == from_base64(key)


def test_genpsk_prints_32_random_bytes(run):
    keys = {run("genpsk")[1] for _ in range(2)}
    assert {len(from_base64(key.strip())) for key in keys} == {32}
    assert len(keys) == 2


@pytest.mark.parametrize("text", [PRIVATE, f"{PRIVATE}\n", f"  {PRIVATE}\r\n\n"])
def test_pubkey_prints_the_public_key(run, monkeypatch, text):
    feed(monkeypatch, text.encode())
    assert run("pubkey") == (0, f"{PUBLIC}\n", "")


@pytest.mark.parametrize(
    "content", [b"", b"x", PRIVATE[:-1].encode(), b"\xff" * 44, PRIVATE.encode() * 2]
)
def test_pubkey_refuses_what_is_no_key_and_does_not_repeat_it(run, monkeypatch, content):
    feed(monkeypatch, content)
    code, out, err = run("pubkey")
    assert (code, out) == (5, "")
    assert "this is not a private key: " in err
    assert "fix: make one with 'sacip-tun genkey'" in err
    assert PRIVATE not in err


def test_a_secret_in_a_file_that_everybody_reads_is_warned_of(run, monkeypatch, tmp_path):
    path = tmp_path / "key"
    path.touch()
    for mode, warned in ((0o644, True), (0o600, False)):
        path.chmod(mode)
        with path.open("w") as file, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", file)
            code, _, err = run("genkey")
        assert code == 0
        assert ("every user may read" in err) is warned
        assert len(path.read_text()) == 45


@pytest.mark.skipif(shutil.which("wg") is None, reason="wg is the oracle")
def test_wg_agrees():
    private = new_private_key()
    said = subprocess.run(
        ["wg", "pubkey"], input=private, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == public_key_of(private)
