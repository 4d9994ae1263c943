import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from everlog.domain.errors import SettingsError
from everlog.domain.signature import SIGNATURE_PREFIX, SigningKey, VerificationKey, sign, verify

# RFC 8032, section 7.1, test 1: the key, and its signature of the empty text.
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
EMPTY_SIGNATURE = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
HASH = "esdb:hash:v2:8bfd11df6743b87753f1c2ea658a9fede38b02be7ce23d3b0c534780b5567fac"

OTHER_KIND = generate_private_key(SECP256R1())
ED25519 = Ed25519PrivateKey.from_private_bytes(SECRET)


def pem_of(
    key: Ed25519PrivateKey,
    private_format: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, private_format, encryption or NoEncryption())


def test_signs_as_the_standard_says() -> None:
    key = SigningKey.from_pem(pem_of(ED25519))

    assert sign(key, "") == SIGNATURE_PREFIX + EMPTY_SIGNATURE


def test_signs_the_text_of_the_hash() -> None:
    key = SigningKey.from_pem(pem_of(ED25519))

    signature = sign(key, HASH)

    ED25519.public_key().verify(
        bytes.fromhex(signature.removeprefix(SIGNATURE_PREFIX)), HASH.encode()
    )
    assert len(signature) == len(SIGNATURE_PREFIX) + 128
    assert sign(key, HASH) == signature


def test_verifies_its_own_signatures_and_no_others() -> None:
    key = SigningKey.from_pem(pem_of(ED25519))
    public = key.to_verification_key()
    signature = sign(key, HASH)

    assert verify(public, HASH, signature)
    assert not verify(public, HASH[:-1] + "d", signature)
    assert not verify(public, HASH, signature[:-1] + ("0" if signature[-1] != "0" else "1"))
    assert not verify(public, HASH, signature.upper())
    assert not verify(public, HASH, signature.removeprefix(SIGNATURE_PREFIX))
    assert not verify(public, HASH, signature + "\n")
    assert not verify(public, HASH, "")


# RFC 8410, section 10.3: the second example, with attributes and the public half.
WITH_ATTRIBUTES = b"""-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
"""
WITH_ATTRIBUTES_PUBLIC = bytes.fromhex(
    "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
)
PUBLIC = ED25519.public_key().public_bytes_raw()


def pem_with_public_key(public: bytes, *, framing: str = "812100") -> bytes:
    content = f"020101 300506032b6570 04220420{SECRET.hex()} {framing}{public.hex()}"
    der = bytes.fromhex(content)
    body = base64.encodebytes(bytes((0x30, len(der))) + der)
    return b"-----BEGIN PRIVATE KEY-----\n" + body + b"-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("framing", ["812100", "a123032100"])
def test_reads_a_signing_key_with_its_public_half(framing: str) -> None:
    key = SigningKey.from_pem(pem_with_public_key(PUBLIC, framing=framing))

    assert sign(key, "") == SIGNATURE_PREFIX + EMPTY_SIGNATURE


def test_reads_a_signing_key_with_attributes() -> None:
    key = SigningKey.from_pem(WITH_ATTRIBUTES)

    assert key.to_verification_key().public_key.public_bytes_raw() == WITH_ATTRIBUTES_PUBLIC


def test_refuses_a_signing_key_with_the_public_half_of_another() -> None:
    pem = pem_with_public_key(WITH_ATTRIBUTES_PUBLIC)

    with pytest.raises(SettingsError, match="damaged"):
        SigningKey.from_pem(pem)


def test_another_key_does_not_verify() -> None:
    key = SigningKey.from_pem(pem_of(ED25519))
    other = SigningKey(Ed25519PrivateKey.generate())

    assert not verify(other.to_verification_key(), HASH, sign(key, HASH))


def test_reads_a_verification_key() -> None:
    pem = ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    assert verify(VerificationKey.from_pem(pem), HASH, sign(SigningKey(ED25519), HASH))


@pytest.mark.parametrize(
    "pem, message",
    [
        (b"", "PKCS#8"),
        (b"not a key", "PKCS#8"),
        (pem_of(ED25519, PrivateFormat.OpenSSH), "PKCS#8"),
        (pem_of(ED25519, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")), "unencrypted"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAAA\n-----END PRIVATE KEY-----\n", "damaged"),
        (b"-----BEGIN PRIVATE KEY-----", "damaged"),
        (
            OTHER_KIND.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "Ed25519",
        ),
    ],
)
def test_refuses_a_signing_key_that_it_cannot_use(pem: bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SigningKey.from_pem(pem)


@pytest.mark.parametrize(
    "pem, message",
    [
        (b"", "PEM"),
        (pem_of(ED25519), "PEM"),
        (
            OTHER_KIND.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "Ed25519",
        ),
    ],
)
def test_refuses_a_verification_key_that_it_cannot_use(pem: bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        VerificationKey.from_pem(pem)


def test_a_signing_key_does_not_show_itself() -> None:
    text = repr(SigningKey(ED25519))

    assert SECRET.hex() not in text
    assert repr(SECRET) not in text
