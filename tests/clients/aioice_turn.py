#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""aioice: two TURN endpoints talk to each other. It binds channels without CreatePermission."""
import asyncio
import json
import os
import sys

from aioice import turn

COUNT = 500


class Receiver(asyncio.DatagramProtocol):
    def __init__(self):
        self.queue = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.queue.put_nowait(data)


async def endpoint():
    return await turn.create_turn_endpoint(
        Receiver,
        server_addr=(os.environ["TURN_HOST"], int(os.environ.get("TURN_PORT", 3478))),
        username=os.environ["TURN_USER"],
        password=os.environ["TURN_PASS"],
    )


async def main():
    near, _ = await endpoint()
    far, received = await endpoint()
    near_addr = near.get_extra_info("sockname")
    far_addr = far.get_extra_info("sockname")
    got = set()
    # The far side opens its permission first; its answer to each probe shows that it did.
    far.sendto(b"open", near_addr)
    for _ in range(50):
        near.sendto(b"probe", far_addr)
        try:
            await asyncio.wait_for(received.queue.get(), 0.2)
            break
        except asyncio.TimeoutError:
            continue
    for i in range(COUNT):
        near.sendto(b"%06d" % i, far_addr)
        # Small receive buffers of the client would make loss of a burst, not the relay.
        if i % 20 == 19:
            await asyncio.sleep(0.01)
    try:
        while len(got) < COUNT:
            data = await asyncio.wait_for(received.queue.get(), 3)
            if data != b"probe":
                got.add(data)
    except asyncio.TimeoutError:
        pass
    near.close()
    far.close()
    await asyncio.sleep(0.2)
    print(json.dumps({"ok": len(got) == COUNT, "got": len(got), "of": COUNT}))
    return 0 if len(got) == COUNT else 1


sys.exit(asyncio.run(main()))
