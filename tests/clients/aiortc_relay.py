#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""aiortc: a data channel over relay candidates only (others are taken out of the SDP)."""
import asyncio
import json
import os
import sys

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription

BYTES = int(os.environ.get("BYTES", 200000))


def relay_only(description):
    lines = [
        line
        for line in description.sdp.splitlines()
        if not line.startswith("a=candidate") or " typ relay" in line
    ]
    return RTCSessionDescription(sdp="\r\n".join(lines) + "\r\n", type=description.type)


async def main():
    url = "turn:%s:%s?transport=udp" % (os.environ["TURN_HOST"], os.environ.get("TURN_PORT", 3478))
    server = RTCIceServer(url, username=os.environ["TURN_USER"], credential=os.environ["TURN_PASS"])
    config = RTCConfiguration([server])
    a, b = RTCPeerConnection(config), RTCPeerConnection(config)
    got, done = 0, asyncio.Event()

    @b.on("datachannel")
    def _(channel):
        @channel.on("message")
        def _(message):
            nonlocal got
            got += len(message)
            if got >= BYTES:
                done.set()

    channel = a.createDataChannel("load")

    @channel.on("open")
    def _():
        for _ in range(0, BYTES, 1000):
            channel.send(b"z" * 1000)

    await a.setLocalDescription(await a.createOffer())
    await b.setRemoteDescription(relay_only(a.localDescription))
    await b.setLocalDescription(await b.createAnswer())
    await a.setRemoteDescription(relay_only(b.localDescription))
    try:
        await asyncio.wait_for(done.wait(), 30)
    except asyncio.TimeoutError:
        pass
    await a.close()
    await b.close()
    print(json.dumps({"ok": got >= BYTES, "got": got, "of": BYTES}))
    return 0 if got >= BYTES else 1


sys.exit(asyncio.run(main()))
