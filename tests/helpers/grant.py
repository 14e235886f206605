#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Grants as docs/protocol/native.md has them, a second implementation of it for tests.

grant.py KEYFILE RELAY FROM UNTIL [ISSUERSEED]: a grant of the payer whose key file KEYFILE is, for
the relay with the peer id RELAY, valid from FROM to UNTIL seconds from now on; base64url on standard
output. The issuer's key comes of ISSUERSEED, 64 hexadecimal digits.
"""
import base64
import struct
import sys
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DOMAIN = b'pcloud/grant/1'
TERMS = '>4sBBH32s32s32s32s16sQQQIIQ8sHHI'
NAMES = ('magic', 'version', 'tier', 'flags', 'issuer', 'relay', 'payer', 'receipt', 'allocation',
         'not_before', 'not_after', 'limit_bytes', 'window_floor', 'window_max', 'price', 'currency',
         'weight_up', 'weight_down', 'free_rate')
ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'


def public_bytes(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def statement(issuer, payer, relay, not_before, not_after, **more):
    values = dict(magic=b'PCG1', version=1, tier=0, flags=0, issuer=issuer, relay=relay,
                  payer=payer, receipt=payer, allocation=bytes(16), not_before=not_before,
                  not_after=not_after, limit_bytes=0, window_floor=256, window_max=65536, price=0,
                  currency=b'', weight_up=1000, weight_down=1000, free_rate=0)
    values.update(more)
    return struct.pack(TERMS, *(values[name] for name in NAMES))


def make(issuer_key, payer_key, relay, not_before, not_after, **more):
    terms = statement(public_bytes(issuer_key), public_bytes(payer_key), relay, not_before,
                      not_after, **more)
    return terms + issuer_key.sign(DOMAIN + terms) + payer_key.sign(DOMAIN + terms)


def parse(grant):
    """Its terms; ValueError where it is not a grant, or a signature is wrong."""
    if len(grant) != 336:
        raise ValueError('length')
    terms = dict(zip(NAMES, struct.unpack(TERMS, grant[:208])))
    currency = terms['currency'].rstrip(b'\0')
    if (terms['magic'], terms['version'], terms['flags']) != (b'PCG1', 1, 0) or terms['tier'] > 1:
        raise ValueError('head')
    if terms['not_before'] > terms['not_after'] or terms['window_floor'] > terms['window_max']:
        raise ValueError('order')
    if not all(chr(c) in 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789' for c in currency) or \
            not currency and terms['price']:
        raise ValueError('currency')
    try:
        for key, at in (('issuer', 208), ('payer', 272)):
            Ed25519PublicKey.from_public_bytes(terms[key]).verify(grant[at:at + 64],
                                                                  DOMAIN + grant[:208])
    except InvalidSignature:
        raise ValueError('signature') from None
    return terms


def key_of_peer_id(text):
    number = 0
    for c in text:
        number = number * 58 + ALPHABET.index(c)
    data = number.to_bytes(38, 'big')
    if data[:6] != bytes.fromhex('002408011220'):
        raise ValueError('not a peer id')
    return data[6:]


def main():
    with open(sys.argv[1], encoding='ascii') as f:
        seed = f.read().split()[1]
    issuer = bytes.fromhex(sys.argv[5]) if len(sys.argv) > 5 else bytes([9] * 32)
    now = int(time.time())
    grant = make(Ed25519PrivateKey.from_private_bytes(issuer),
                 Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)),
                 key_of_peer_id(sys.argv[2]), now + int(sys.argv[3]), now + int(sys.argv[4]))
    parse(grant)
    print(base64.urlsafe_b64encode(grant).decode())
    return 0


if __name__ == '__main__':
    sys.exit(main())
