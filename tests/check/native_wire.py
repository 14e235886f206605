#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A second implementation of docs/protocol/native.md, written from that page, against the machine.

Run by native_wire.sh with the paths of tests/helpers/native_machine and native_end; prints TAP.
"""
import hashlib
import hmac
import os
import struct
import subprocess
import sys

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'helpers'))
import grant  # noqa: E402 (it lies beside the programs that it is for)

XX1, XX2, XX3, IK1, IK2, IK3, COOKIE, TRANSPORT, PIPE = range(4, 13)
HELLO, OBSERVED_MSG, HEARTBEAT, ALIVE, ERROR, KEEP = 1, 17, 12, 13, 18, 19
F_PADDING, F_STATEMENT, F_OBSERVED, F_TOKEN, F_GRANT = 0, 1, 2, 5, 15
MASK64 = (1 << 64) - 1


class Refused(Exception):
    """The other side broke the protocol."""


# --- primitives that the library does not have ---

def siphash24(key, data):
    def rounds(v, n):
        def rotl(x, b):
            return (x << b | x >> (64 - b)) & MASK64
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK64
            v[1] = rotl(v[1], 13) ^ v[0]
            v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK64
            v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK64
            v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK64
            v[1] = rotl(v[1], 17) ^ v[2]
            v[2] = rotl(v[2], 32)
    k0, k1 = struct.unpack('<QQ', key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
         k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xff])
    for (word,) in struct.iter_unpack('<Q', padded):
        v[3] ^= word
        rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xff
    rounds(v, 4)
    return struct.pack('<Q', v[0] ^ v[1] ^ v[2] ^ v[3])


def hchacha20(key, nonce):
    def quarter(s, a, b, c, d):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xffffffff
            s[z] ^= s[x]
            s[z] = (s[z] << n | s[z] >> (32 - n)) & 0xffffffff
    s = list(struct.unpack('<16I', b'expand 32-byte k' + key + nonce))
    for _ in range(10):
        for i in range(4):
            quarter(s, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack('<8I', *s[:4], *s[12:])


def xchacha(key, nonce):
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])), bytes(4) + nonce[16:]


def sha256(*parts):
    return hashlib.sha256(b''.join(parts)).digest()


def hmac256(key, *parts):
    return hmac.new(key, b''.join(parts), hashlib.sha256).digest()


def mac16(key, data):
    return hashlib.blake2b(data, key=key, digest_size=16).digest()


def noise_nonce(n):
    return bytes(4) + struct.pack('<Q', n)


def seal(key, n, plain, ad=b''):
    return ChaCha20Poly1305(key).encrypt(noise_nonce(n), plain, ad)


def unseal(key, n, sealed, ad=b''):
    try:
        return ChaCha20Poly1305(key).decrypt(noise_nonce(n), sealed, ad)
    except InvalidTag:
        raise Refused('authentication') from None


def public_bytes(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


# --- Noise ---

class Noise:
    """HandshakeState: messages are lists of tokens."""

    def __init__(self, name, prologue, initiator, s, rs=None, psk=None):
        self.h = name + bytes(32 - len(name)) if len(name) <= 32 else sha256(name)
        self.ck, self.k, self.n = self.h, None, 0
        self.initiator, self.s, self.rs, self.psk = initiator, s, rs, psk
        self.e, self.re = X25519PrivateKey.generate(), None
        self.mix_hash(prologue)
        if psk is not None:  # IK: the responder's key is known
            self.mix_hash(rs if initiator else public_bytes(s))

    def mix_hash(self, data):
        self.h = sha256(self.h, data)

    def hkdf(self, data, count):
        temp, out, last = hmac256(self.ck, data), [], b''
        for i in range(count):
            last = hmac256(temp, last, bytes([i + 1]))
            out.append(last)
        return out

    def mix_key(self, data):
        self.ck, self.k = self.hkdf(data, 2)
        self.n = 0

    def mix_psk(self):
        self.ck, middle, self.k = self.hkdf(self.psk, 3)
        self.mix_hash(middle)
        self.n = 0

    def encrypt(self, plain):
        out = plain
        if self.k:
            out = seal(self.k, self.n, plain, self.h)
            self.n += 1
        self.mix_hash(out)
        return out

    def decrypt(self, sealed):
        out = sealed
        if self.k:
            out = unseal(self.k, self.n, sealed, self.h)
            self.n += 1
        self.mix_hash(sealed)
        return out

    def common(self, token):
        if token == 'psk':
            self.mix_psk()
            return
        mine, theirs = (token[0], token[1]) if self.initiator else (token[1], token[0])
        secret = self.e if mine == 'e' else self.s
        public = self.re if theirs == 'e' else self.rs
        self.mix_key(secret.exchange(X25519PublicKey.from_public_bytes(public)))

    def mix_e(self, key):
        self.mix_hash(key)
        if self.psk is not None:
            self.mix_key(key)

    def write(self, tokens, payload):
        out = b''
        for token in tokens.split():
            if token == 'e':
                out += public_bytes(self.e)
                self.mix_e(public_bytes(self.e))
            elif token == 's':
                out += self.encrypt(public_bytes(self.s))
            else:
                self.common(token)
        return out + self.encrypt(payload)

    def read(self, tokens, message):
        for token in tokens.split():
            if token == 'e':
                self.re, message = message[:32], message[32:]
                self.mix_e(self.re)
            elif token == 's':
                size = 48 if self.k else 32
                self.rs, message = self.decrypt(message[:size]), message[size:]
            else:
                self.common(token)
        return self.decrypt(message)

    def split(self):
        first, second = self.hkdf(b'', 2)
        return (first, second) if self.initiator else (second, first)

    def export_secret(self):
        return hmac256(self.ck, b'pcloud/1 export')


XX = (b'Noise_XX_25519_ChaChaPoly_SHA256', ('e', 'e ee s es', 's se'))
IK = (b'Noise_IKpsk2_25519_ChaChaPoly_SHA256', ('e es s ss', 'e ee se psk'))


# --- fields, messages ---

def field(kind, value):
    return struct.pack('>HH', kind, len(value)) + value


def fields(data):
    out = {}
    while data:
        kind, size = struct.unpack('>HH', data[:4])
        if len(data) < 4 + size:
            raise Refused('field')
        out.setdefault(kind, data[4:4 + size])
        data = data[4 + size:]
    return out


def messages(data):
    out = []
    while data:
        kind, size = struct.unpack('>HH', data[:4])
        out.append((kind, fields(data[4:4 + size])))
        data = data[4 + size:]
    return out


def padded(payload, size):
    """A payload that comes to @size with a field of zeros."""
    return payload + field(F_PADDING, bytes(size - len(payload) - 4))


ADDRESS = bytes([4, 0]) + struct.pack('>H', 5000) + bytes([192, 0, 2, 2])


class Peer:
    """One side of one session."""

    def __init__(self):
        self.identity_key = Ed25519PrivateKey.generate()
        self.identity = public_bytes(self.identity_key)
        self.s = X25519PrivateKey.generate()
        self.static = public_bytes(self.s)
        self.index = struct.unpack('>I', os.urandom(4))[0] | 1
        self.cookie = None

    def statement(self, not_before=1000, not_after=4000000000):
        times = struct.pack('>QQ', not_before, not_after)
        signature = self.identity_key.sign(
            b'pcloud/1 static key' + self.identity + self.static + times)
        return field(F_STATEMENT, self.identity + times + signature)

    @staticmethod
    def check_statement(value, static):
        if len(value) != 112:
            raise Refused('statement')
        identity, times, signature = value[:32], value[32:48], value[48:]
        try:
            Ed25519PublicKey.from_public_bytes(identity).verify(
                signature, b'pcloud/1 static key' + identity + static + times)
        except InvalidSignature:
            raise Refused('statement') from None
        return identity

    # macs

    def with_macs(self, frame, responder):
        self.mac1 = mac16(sha256(b'pcloud/1 mac1', responder), frame)
        frame += self.mac1
        return frame + (mac16(self.cookie, frame) if self.cookie else bytes(16))

    def take_cookie(self, frame, responder):
        kind, version, zero, receiver = struct.unpack('>BBHI', frame[:8])
        if (kind, version, zero, receiver, len(frame)) != (COOKIE, 1, 0, self.index, 64):
            raise Refused('cookie')
        cipher, nonce = xchacha(sha256(b'pcloud/1 cookie', responder), frame[8:32])
        self.cookie = cipher.decrypt(nonce, frame[32:], self.mac1)

    def make_cookie(self, frame, cookie):
        cipher, nonce = xchacha(sha256(b'pcloud/1 cookie', self.identity), bytes(range(24)))
        return struct.pack('>BBHI', COOKIE, 1, 0, struct.unpack('>I', frame[4:8])[0]) + \
            bytes(range(24)) + cipher.encrypt(nonce, cookie, frame[-32:-16])

    # initiator

    def first(self, responder, static=None, psk=bytes(32)):
        self.responder, self.ik = responder, static is not None
        prologue = b'pcloud/1' + responder
        name, self.tokens = IK if self.ik else XX
        self.hs = Noise(name, prologue, True, self.s, static, psk if self.ik else None)
        overhead = 8 + 32 + 32 + (64 if self.ik else 0)
        payload = padded(self.statement() if self.ik else b'', 512 - overhead)
        self.head = struct.pack('>BBHI', IK1 if self.ik else XX1, 1, 0, self.index)
        self.body = self.head + self.hs.write(self.tokens[0], payload)
        frame = self.with_macs(self.body, responder)
        assert len(frame) == 512
        return frame

    def third(self, frame):
        kind, version, zero, self.remote, receiver, size = struct.unpack('>BBHIIH', frame[:14])
        if (kind, version, zero, receiver) != (IK2 if self.ik else XX2, 1, 0, self.index):
            raise Refused('second message')
        key = sha256(b'pcloud/1 mac1', public_bytes(self.hs.e))
        if frame[-16:] != mac16(key, frame[:-16]):
            raise Refused('mac1')
        ticket = frame[14:14 + size]
        got = fields(self.hs.read(self.tokens[1], frame[14 + size:-16]))
        if self.observed and got[F_OBSERVED] != self.observed:
            raise Refused('observed')
        if not self.ik and self.check_statement(got[F_STATEMENT], self.hs.rs) != self.responder:
            raise Refused('identity')
        part = b'' if self.ik else self.hs.write(self.tokens[2], self.statement())
        self.finish(1)
        if self.ik:
            part = seal(self.send_key, 0, b'')
        self.body = struct.pack('>BBHIIH', IK3 if self.ik else XX3, 1, 0, self.index, self.remote,
                                size) + ticket + part
        return self.with_macs(self.body, self.responder)

    def finish(self, counter):
        self.send_key, self.receive_key = self.hs.split()
        self.secret = self.hs.export_secret()
        self.counter, self.seen = counter, set()

    # responder

    def check_mac1(self, frame):
        if frame[-32:-16] != mac16(sha256(b'pcloud/1 mac1', self.identity), frame[:-32]):
            raise Refused('mac1')

    def second(self, frame, psk=bytes(32)):
        kind, version, zero, self.remote = struct.unpack('>BBHI', frame[:8])
        if kind not in (XX1, IK1) or (version, zero) != (1, 0) or len(frame) < 512:
            raise Refused('first message')
        self.check_mac1(frame)
        self.ik = kind == IK1
        name, self.tokens = IK if self.ik else XX
        self.hs = Noise(name, b'pcloud/1' + self.identity, False, self.s, None,
                        psk if self.ik else None)
        got = fields(self.hs.read(self.tokens[0], frame[8:-32]))
        if self.ik:
            self.who = self.check_statement(got[F_STATEMENT], self.hs.rs)
        self.ticket = os.urandom(100)
        payload = field(F_OBSERVED, ADDRESS)
        if not self.ik:
            payload = self.statement() + payload
        out = struct.pack('>BBHIIH', kind + 1, 1, 0, self.index, self.remote, len(self.ticket))
        out += self.ticket + self.hs.write(self.tokens[1], payload)
        if self.ik:
            self.finish(0)
        return out + mac16(sha256(b'pcloud/1 mac1', self.hs.re), out)

    def take_third(self, frame):
        self.check_mac1(frame)
        head = struct.unpack('>BBHIIH', frame[:14])
        if head != (IK3 if self.ik else XX3, 1, 0, self.remote, self.index, len(self.ticket)):
            raise Refused('third message')
        part = frame[14 + len(self.ticket):-32]
        if frame[14:14 + len(self.ticket)] != self.ticket:
            raise Refused('ticket')
        if self.ik:
            if unseal(self.receive_key, 0, part) != b'':
                raise Refused('proof')
        else:
            got = fields(self.hs.read(self.tokens[2], part))
            self.who = self.check_statement(got[F_STATEMENT], self.hs.rs)
            self.finish(0)

    # session

    def transport(self, kind=None, *parts):
        body = b''.join(parts)
        plain = b'' if kind is None else struct.pack('>HH', kind, len(body)) + body
        frame = struct.pack('>B3xIQ', TRANSPORT, self.remote, self.counter)
        frame += seal(self.send_key, self.counter, plain)
        self.counter += 1
        return frame

    def open(self, frame):
        head, index, counter = struct.unpack('>IIQ', frame[:16])
        if (head, index) != (TRANSPORT << 24, self.index) or counter in self.seen:
            raise Refused('transport')
        plain = unseal(self.receive_key, counter, frame[16:])
        self.seen.add(counter)
        return messages(plain)

    def export(self, label, context):
        return hmac256(self.secret, b'pcloud/1 ' + label, context)

    def pipe_frame(self, index, counter, payload, flags=1):
        frame = struct.pack('>BBHIQ', PIPE, flags, 0, index, counter)
        key = self.export(b'hop', struct.pack('>I', index))[:16]
        return frame + siphash24(key, frame + struct.pack('>I', len(payload))) + payload


# --- the machine ---

class Machine:
    def __init__(self, program, *before):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        for line in before:
            self.run(line)
        out = self.run('seed ' + os.urandom(32).hex())
        self.identity, self.static = (bytes.fromhex(x) for x in ' '.join(out).split()
                                      if x not in ('self', 'static'))

    def run(self, line):
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()
        out = []
        while True:
            got = self.process.stdout.readline().strip()
            if got == 'done':
                return out
            if not got:
                raise Refused('the machine ended at: ' + line.split()[0])
            out.append(got)

    def frame(self, data):
        return self.run('frame ' + data.hex())

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def sent(lines):
    return [bytes.fromhex(x.split()[1]) for x in lines if x.startswith('send ')]


def one(lines):
    got = sent(lines)
    assert len(got) == 1, lines
    return got[0]


# --- conversations ---

def begin(m, ik, psk=bytes(32)):
    """A session that the peer begins."""
    peer = Peer()
    second = one(m.frame(peer.first(m.identity, m.static if ik else None, psk)))
    assert len(second) <= 512
    lines = m.frame(peer.third(second))
    assert 'up ' + peer.identity.hex() in lines, lines
    got = peer.open(one(lines))
    assert got == [(OBSERVED_MSG, {F_OBSERVED: ADDRESS})], got
    return peer


def answer(m, ik, psk=bytes(32)):
    """A session that the machine begins."""
    peer = Peer()
    first = one(m.run('connect %s %s' % (peer.identity.hex(), peer.static.hex() if ik else '-')))
    third = one(m.frame(peer.second(first, psk)))
    peer.take_third(third)
    assert peer.who == m.identity
    lines = m.frame(peer.transport())
    assert lines == ['up ' + peer.identity.hex()], lines
    return peer


def talk(m, peer):
    token = os.urandom(8)
    got = peer.open(one(m.frame(peer.transport(HEARTBEAT, field(F_TOKEN, token)))))
    assert got == [(ALIVE, {F_OBSERVED: ADDRESS, F_TOKEN: token})], got
    token = os.urandom(8)
    got = peer.open(one(m.run('heartbeat ' + token.hex())))
    assert got == [(HEARTBEAT, {F_TOKEN: token})], got
    lines = m.frame(peer.transport(ALIVE, field(F_TOKEN, token), field(F_OBSERVED, ADDRESS)))
    assert lines == ['message %d %s' % (ALIVE, token.hex())], lines


def both(m, peer):
    context = os.urandom(7)
    assert m.run('export test ' + context.hex()) == \
        ['export ' + peer.export(b'test', context).hex()]
    payload = os.urandom(33)
    assert m.run('pipe 3000000000 77 ' + payload.hex()) == \
        ['pipe ' + peer.pipe_frame(3000000000, 77, payload).hex()]
    frame = peer.pipe_frame(5, 1 << 63, payload)
    assert m.run('check ' + frame.hex()) == ['check ok']
    for i in range(len(frame) - len(payload)):
        bad = bytearray(frame)
        bad[i] ^= 1
        assert m.run('check ' + bad.hex()) == ['check bad'], i
    assert m.run('check ' + frame[:-1].hex()) == ['check bad']


def test_begin(program):
    for ik in (False, True):
        m = Machine(program)
        peer = begin(m, ik)
        talk(m, peer)
        both(m, peer)
        m.close()


def test_answer(program):
    for ik in (False, True):
        m = Machine(program)
        peer = answer(m, ik)
        talk(m, peer)
        both(m, peer)
        m.close()


def test_psk(program):
    psk = os.urandom(32)
    m = Machine(program, 'psk ' + psk.hex())
    talk(m, begin(m, True, psk))
    talk(m, answer(m, True, psk))
    # It learns a static key by two messages of XX, and no more.
    peer = Peer()
    first = one(m.run('connect %s -' % peer.identity.hex()))
    assert first[0] == XX1
    again = one(m.frame(peer.second(first)))
    assert again[0] == IK1, again[0]
    peer.take_third(one(m.frame(peer.second(again, psk))))
    assert m.frame(peer.transport()) == ['up ' + peer.identity.hex()]
    talk(m, peer)
    peer = Peer()
    second = one(m.frame(peer.first(m.identity, m.static, os.urandom(32))))
    try:
        peer.third(second)
    except Refused:
        m.close()
        return
    raise AssertionError('another key was good enough')


def test_cookie_asked(program):
    for ik in (False, True):
        m = Machine(program, 'load')
        peer = Peer()
        cookie = one(m.frame(peer.first(m.identity, m.static if ik else None)))
        assert len(cookie) == 64
        peer.take_cookie(cookie, m.identity)
        second = one(m.frame(peer.with_macs(peer.body, m.identity)))
        lines = m.frame(peer.third(second))
        assert 'up ' + peer.identity.hex() in lines, lines
        m.close()


def test_cookie_given(program):
    m = Machine(program)
    peer, cookie = Peer(), os.urandom(16)
    first = one(m.run('connect %s -' % peer.identity.hex()))
    assert first[-16:] == bytes(16)
    again = one(m.frame(peer.make_cookie(first, cookie)))
    assert again[:-16] == first[:-16]
    assert again[-16:] == mac16(cookie, again[:-16])
    third = one(m.frame(peer.second(again)))
    assert third[-16:] == mac16(cookie, third[:-16])
    peer.take_third(third)
    m.close()


def test_wrong(program):
    m = Machine(program)
    # A statement about another key.
    peer = Peer()
    second = one(m.frame(peer.first(m.identity)))
    peer.static = os.urandom(32)
    lines = m.frame(peer.third(second))
    assert not sent(lines) and lines[0].startswith('drop'), lines
    # One that is not valid any more.
    peer = Peer()
    second = one(m.frame(peer.first(m.identity)))
    good = peer.statement
    peer.statement = lambda: good(1000, 2000)
    assert not sent(m.frame(peer.third(second)))
    # A responder that is somebody else.
    peer = Peer()
    other = Peer()
    first = one(m.run('connect %s -' % peer.identity.hex()))
    peer.identity_key, real = other.identity_key, peer.identity
    assert not sent(m.frame(peer.second(first)))
    peer.identity = real
    # The third message once more: a short answer, no second session.
    peer = Peer()
    third = peer.third(one(m.frame(peer.first(m.identity))))
    assert sum(x.startswith('up ') for x in m.frame(third)) == 1
    lines = m.frame(third)
    assert [x.split()[0] for x in lines] == ['send'], lines
    m.close()


def test_renewal(program):
    m = Machine(program)
    peer = answer(m, False)
    # With IK now: it knows the static key.
    first = one(m.run('time 121'))
    assert first[0] == IK1
    fresh = Peer()
    fresh.identity_key, fresh.identity = peer.identity_key, peer.identity
    fresh.s, fresh.static = peer.s, peer.static
    third = one(m.frame(fresh.second(first)))
    fresh.take_third(third)
    # The old session goes on until the new one is used.
    talk(m, peer)
    assert m.frame(fresh.transport()) == ['renewed ' + peer.identity.hex()]
    talk(m, fresh)
    m.close()


# --- two ends of a pipe ---

F_VERSION, PING = 3, bytes(range(8))
IN_KEY, OUT_KEY = bytes([11]) * 16, bytes([22]) * 16


class End(Peer):
    """The other end: a session in INNER frames, data by epoch, directly too."""

    def __init__(self, program, asks):
        super().__init__()
        self.m = Machine(program)
        self.count, self.seen_data = 0, set()
        self.got = self.m.run('open %s %d' % (self.identity.hex(), not asks))
        if asks:
            second = self.session(self.inner(self.first(self.m.identity)))
            third = self.session(self.inner(self.third(second)))
            assert self.open(third) == []
            self.epoch = 0 if self.identity < self.m.identity else 1
        else:
            first = self.unwrap(one(self.got))
            self.take_third(self.session(self.inner(self.second(first))))
            assert self.who == self.m.identity
            self.hello = self.open(self.session(self.inner(self.transport())))
            self.epoch = 0 if self.m.identity < self.identity else 1

    def frame(self, pipe, key, payload, flags):
        self.count += 1
        head = struct.pack('>BBHIQ', PIPE, flags, 0, pipe, self.count)
        return head + siphash24(key, head + struct.pack('>I', len(payload))) + payload

    def inner(self, session_frame):
        self.got = self.m.frame(self.frame(11, IN_KEY, session_frame, 4))
        return self.got

    @staticmethod
    def parts(frame, pipe, key):
        kind, flags, zero, index, counter = struct.unpack('>BBHIQ', frame[:16])
        if (kind, zero, index) != (PIPE, 0, pipe) or \
                frame[16:24] != siphash24(key, frame[:16] + struct.pack('>I', len(frame) - 24)):
            raise Refused('pipe frame')
        return flags, counter, frame[24:]

    def unwrap(self, frame):
        flags, counter, payload = self.parts(frame, 22, OUT_KEY)
        if flags != 4 or counter in self.seen_data:
            raise Refused('inner frame')
        self.seen_data.add(counter)
        return payload

    def session(self, lines):
        return self.unwrap(one(lines))

    def keys(self, asks):
        return [self.export(b'pipe', bytes([1 if x == asks else 2])) for x in (True, False)]

    def hop(self, index):
        return self.export(b'hop', struct.pack('>I', index))[:16]

    def agree(self, asks):
        """The epoch of this session: its initiator offers it."""
        token = struct.pack('>Q', self.epoch)
        hello = (HELLO, {F_VERSION: b'\0\1', F_TOKEN: token})
        say = self.transport(HELLO, field(F_VERSION, b'\0\1'), field(F_TOKEN, token))
        if asks:
            assert self.open(self.session(self.inner(say))) == [hello]
        else:
            assert self.hello == [hello], self.hello
            self.inner(say)
        assert 'ready' in self.got, self.got
        self.send_data, self.receive_data = self.keys(asks)

    def data(self, plain, direct=False):
        counter, flags = self.count + 1, bytes([self.epoch])
        payload = seal(self.send_data, counter, plain, flags)
        if direct:
            return self.frame(self.remote, self.hop(self.remote), payload, self.epoch)
        return self.frame(11, IN_KEY, payload, self.epoch)

    def open_data(self, frame, direct=False):
        index, key = (self.index, self.hop(self.index)) if direct else (22, OUT_KEY)
        flags, counter, payload = self.parts(frame, index, key)
        if flags != self.epoch or counter in self.seen_data:
            raise Refused('data')
        self.seen_data.add(counter)
        return unseal(self.receive_data, counter, payload, bytes([flags]))


Peer.observed = ADDRESS
End.observed = None


def directly(lines):
    return [bytes.fromhex(x.split()[1]) for x in lines if x.startswith('send-direct ')]


def through(end):
    for size in (0, 1, 500):
        plain = os.urandom(size)
        frame = end.data(plain)
        assert end.m.frame(frame) == ['plain ' + plain.hex() if plain else 'plain']
        assert end.m.frame(frame)[0].startswith('no '), 'it came twice'
        bad = bytearray(end.data(plain))
        bad[-1] ^= 1
        assert end.m.frame(bytes(bad))[0].startswith('no ')
        plain = os.urandom(size + 1)
        assert end.open_data(one(end.m.run('data ' + plain.hex()))) == plain


def test_end(program):
    for asks in (True, False):
        end = End(program, asks)
        end.agree(asks)
        through(end)
        end.m.close()


def test_direct(program):
    for asks in (True, False):
        end = End(program, asks)
        end.agree(asks)
        # It asks where it was told that we are; the answer makes the way a good one.
        end.m.run('try')
        asked = [end.open(f) for f in directly(end.m.run('time 100'))]
        assert asked and asked[0][0][0] == HEARTBEAT, asked
        token = asked[-1][0][1][F_TOKEN]
        lines = end.m.run('direct ' + end.transport(ALIVE, field(F_TOKEN, token),
                                                    field(F_OBSERVED, ADDRESS)).hex())
        assert 'moved direct' in lines, lines
        # Our question is answered to where it came from.
        lines = end.m.run('direct ' + end.transport(HEARTBEAT, field(F_TOKEN, PING)).hex())
        answers = [x for f in directly(lines) for x in end.open(f)]
        assert (ALIVE, PING) in [(k, v.get(F_TOKEN)) for k, v in answers], answers
        for size in (1, 500):
            plain = os.urandom(size)
            frame = end.data(plain, True)
            for i in range(24):
                bad = bytearray(frame)
                bad[i] ^= 1
                assert i == 0 or end.m.run('direct ' + bad.hex())[0].startswith('no '), i
            assert end.m.run('direct ' + frame.hex()) == ['plain ' + plain.hex()]
            assert end.m.run('direct ' + frame.hex())[0].startswith('no '), 'it came twice'
            (frame,) = directly(end.m.run('data ' + plain.hex()))
            assert end.open_data(frame, True) == plain
        # The pipe still takes data, and after silence gets what may have been lost once more.
        through_pipe = os.urandom(9)
        assert end.m.frame(end.data(through_pipe)) == ['plain ' + through_pipe.hex()]
        plain = os.urandom(20)
        (lost,) = directly(end.m.run('data ' + plain.hex()))
        again = sent(end.m.run('time 900'))
        (frame,) = [f for f in again if f[24:] == lost[24:]]
        assert end.open_data(frame) == plain
        end.m.close()


def test_grant(program):
    """A message carries 336 bytes of one, whatever they say, and not 208."""
    m = Machine(program)
    peer = begin(m, True)
    issuer, relay = Ed25519PrivateKey.generate(), m.identity
    whole = grant.make(issuer, peer.identity_key, relay, 1000, 2000)
    assert len(whole) == 336 and grant.parse(whole)['payer'] == peer.identity
    token = field(F_TOKEN, PING)
    keep = field(9, bytes(3) + b'\1') + field(10, bytes(3) + b'\2')
    lines = m.frame(peer.transport(KEEP, token, keep, field(F_GRANT, whole)))
    assert lines == ['message %d %s' % (KEEP, PING.hex())], lines
    for size in (0, 208, 335, 337):
        got = peer.open(one(m.frame(peer.transport(KEEP, token, keep,
                                                   field(F_GRANT, (whole + b'x')[:size])))))
        assert got == [(ERROR, {20: struct.pack('>H', KEEP), 6: b'\0\4'})], got
    for at in range(len(whole)):
        bad = bytearray(whole)
        bad[at] ^= 0x80
        try:
            grant.parse(bytes(bad))
        except ValueError:
            continue
        raise AssertionError('byte %d may be another one' % at)
    m.close()


def main():
    tests = [test_begin, test_answer, test_psk, test_cookie_asked, test_cookie_given, test_wrong,
             test_renewal, test_grant]
    if len(sys.argv) > 2:
        tests += [test_end, test_direct]
    failed = 0
    # SipHash's own vector (appendix A), and HChaCha20's (draft-irtf-cfrg-xchacha, 2.2.1).
    assert siphash24(bytes(range(16)), bytes(range(15))).hex() == 'e545be4961ca29a1'
    assert hchacha20(bytes(range(32)), bytes.fromhex('000000090000004a0000000031415927')).hex() \
        == '82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc'
    for number, test in enumerate(tests, 1):
        try:
            test(sys.argv[2 if test in (test_end, test_direct) else 1])
            print('ok %d - %s' % (number, test.__name__))
        except (AssertionError, Refused, InvalidTag, KeyError, struct.error) as error:
            failed = 1
            print('not ok %d - %s' % (number, test.__name__))
            print('# %s: %s' % (type(error).__name__, str(error)[:1000]))
    print('1..%d' % len(tests))
    return failed


if __name__ == '__main__':
    sys.exit(main())
