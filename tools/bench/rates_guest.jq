# SPDX-License-Identifier: MIT
#
# What the guest measured, as text: jq -r -f rates_guest.jq rates-guest.json

def pct: . * 1000 | round / 10;

"TCP through one tenant of \(.[0].rate) Mbit/s over netem, \(.[0].rtt) ms, in QEMU without KVM",
(.[] | "  \(.cc): \(.mbit * 100 | round / 100) Mbit/s, \(.share | pct) % of the highest possible payload rate,"
	+ " \(.retransmits) retransmissions in \(.seconds) s, highest 100 ms \(.peak * 100 | round / 100)"
	+ " times the rate" + if .clean then "" else "  the test bed lost packets" end)
