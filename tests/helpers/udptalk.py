#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""udptalk.py ADDRESS PORT RATE SECONDS [SIZE]: numbered datagrams to something that returns them.

Prints one line of JSON: how many were sent, came back, came twice, and the longest time without
any. Waits a second for the last ones.
"""
import json
import select
import socket
import struct
import sys
import time

address, port, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
size = int(sys.argv[5]) if len(sys.argv) > 5 else 200
s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.connect((address, port))
s.setblocking(False)
start = last = time.monotonic()
sent, twice, gap, seen = 0, 0, 0.0, set()
while True:
    now = time.monotonic()
    if now - start >= seconds + 1 or (now - start >= seconds and len(seen) == sent):
        break
    while now - start < seconds and sent <= (now - start) * rate:
        try:
            s.send(struct.pack('>I', sent) + bytes(size - 4))
        except (ConnectionRefusedError, BlockingIOError):
            pass
        sent += 1
    wait = start + sent / rate - now if now - start < seconds else 0.05
    if select.select([s], [], [], max(0, wait))[0]:
        try:
            while True:
                number = struct.unpack('>I', s.recv(2048)[:4])[0]
                now = time.monotonic()
                gap = max(gap, now - last)
                last = now
                twice += number in seen
                seen.add(number)
        except (BlockingIOError, ConnectionRefusedError):
            pass
print(json.dumps({'sent': sent, 'back': len(seen), 'twice': twice, 'gap_ms': round(gap * 1000)}))
