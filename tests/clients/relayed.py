#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Compares what a capture at the clients says with one at the peer: relayed.py CLIENT.pcap PEER.pcap SERVICE_PORT

Every ChannelData message that is well formed, on a channel that was bound by then, has to arrive at the peer once, and every
datagram of the peer on such a channel at the client once; nothing else may. Prints one line of JSON. IPv4 and Ethernet only.
"""
import collections
import json
import struct
import sys

COOKIE = 0x2112A442
ALLOCATE_OK, BIND, BIND_OK = 0x0103, 0x0009, 0x0109
CHANNEL_NUMBER, PEER_ADDRESS, RELAYED_ADDRESS = 0x000C, 0x0012, 0x0016


def datagrams(path):
    """(source, destination, payload) of each UDP datagram, in order."""
    with open(path, "rb") as file:
        data = file.read()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from(order + "I", data, at + 8)[0]
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
            continue
        udp = 14 + (frame[14] & 15) * 4
        sport, dport, size = struct.unpack_from(">HHH", frame, udp)
        yield (frame[26:30], sport), (frame[30:34], dport), frame[udp + 8 : udp + size]


def attributes(message):
    found = {}
    at = 20
    while at + 4 <= len(message):
        kind, length = struct.unpack_from(">HH", message, at)
        found.setdefault(kind, message[at + 4 : at + 4 + length])
        at += 4 + (length + 3) // 4 * 4
    return found


def xor_address(value):
    if not value or len(value) != 8 or value[1] != 1:
        return None
    port = struct.unpack_from(">H", value, 2)[0] ^ (COOKIE >> 16)
    return struct.pack(">I", struct.unpack_from(">I", value, 4)[0] ^ COOKIE), port


def channel_data(payload):
    """Channel and application data, or None."""
    if len(payload) < 4 or not 0x40 <= payload[0] <= 0x7F:
        return None
    number, length = struct.unpack_from(">HH", payload)
    have = len(payload) - 4
    if length > have or have > (length + 3) // 4 * 4:
        return None
    return number, payload[4 : 4 + length]


class Clients:
    """The clients' side: which channels they have, what they sent and got on them."""

    def __init__(self, service_port):
        self.port = service_port
        self.relayed = {}  # client: its relayed address
        self.asked = {}  # transaction of a ChannelBind: client, channel, peer
        self.bound = {}  # client, channel: peer
        self.ways = set()  # relayed address, peer
        self.sent = collections.Counter()
        self.got = collections.Counter()
        self.broken = 0

    def request(self, client, payload):
        data = channel_data(payload)
        peer = data and self.bound.get((client, data[0]))
        if peer:
            self.sent[self.relayed[client], peer, data[1]] += 1
        elif data or len(payload) < 20 or payload[0] >= 0x40 or payload[4:8] != struct.pack(">I", COOKIE):
            self.broken += 1
        elif struct.unpack_from(">H", payload)[0] == BIND:
            found = attributes(payload)
            number = found.get(CHANNEL_NUMBER, b"")
            if len(number) == 4:
                channel = struct.unpack_from(">H", number)[0]
                self.asked[payload[8:20]] = client, channel, xor_address(found.get(PEER_ADDRESS))

    def answer(self, client, payload):
        data = channel_data(payload)
        if data:
            peer = self.bound.get((client, data[0]))
            self.got[self.relayed.get(client), peer, data[1]] += 1
            return
        kind = struct.unpack_from(">H", payload)[0] if len(payload) >= 20 else 0
        if kind == ALLOCATE_OK:
            self.relayed[client] = xor_address(attributes(payload).get(RELAYED_ADDRESS))
        elif kind == BIND_OK and payload[8:20] in self.asked:
            asker, channel, peer = self.asked[payload[8:20]]
            if asker == client and client in self.relayed:
                self.bound[client, channel] = peer
                self.ways.add((self.relayed[client], peer))

    def read(self, path):
        for source, destination, payload in datagrams(path):
            if destination[1] == self.port:
                self.request(source, payload)
            elif source[1] == self.port:
                self.answer(destination, payload)


def main():
    clients = Clients(int(sys.argv[3]))
    clients.read(sys.argv[1])
    arrived, returned = collections.Counter(), collections.Counter()
    for source, destination, payload in datagrams(sys.argv[2]):
        if (source, destination) in clients.ways:
            arrived[source, destination, payload] += 1
        elif (destination, source) in clients.ways:
            returned[destination, source, payload] += 1
    result = {
        "broken": clients.broken,
        "up": {
            "sent": sum(clients.sent.values()),
            "missing": sum((clients.sent - arrived).values()),
            "extra": sum((arrived - clients.sent).values()),
        },
        "down": {
            "sent": sum(returned.values()),
            "missing": sum((returned - clients.got).values()),
            "extra": sum((clients.got - returned).values()),
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
