#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Many tenants over one control connection: tenants.py SOCKET add N | set N BPS

Prints {"seconds": N}: from the first request to the last answer. Requests are written while answers
are read, as a program would that changes the plans of all its customers.
"""
import json
import socket
import sys
import threading
import time


def request(verb, i, rate):
    args = {"name": f"many{i}"}
    if verb == "add":
        args["password"] = "p"
    else:
        args["up_bps"] = args["down_bps"] = rate
    return json.dumps({"command": f"tenant {verb}", "args": args}).encode() + b"\n"


def main():
    if len(sys.argv) < 4 or sys.argv[2] not in ("add", "set"):
        sys.exit(__doc__)
    path, verb, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rate = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    requests = b"".join(request(verb, i, rate) for i in range(count))
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(120)
        s.connect(path)
        start = time.monotonic()
        writer = threading.Thread(target=s.sendall, args=(requests,))
        writer.start()
        with s.makefile("rb") as answers:
            for i in range(count):
                answer = json.loads(answers.readline())
                if "error" in answer:
                    sys.exit(f"many{i}: {answer['error']}")
        writer.join()
        print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
