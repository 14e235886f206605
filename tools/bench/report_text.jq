# SPDX-License-Identifier: MIT
#
# The report as text: jq -r -f report_text.jq report.json

def pad($n): tostring | if length < $n then " " * ($n - length) + . else . end;
def padr($n): tostring | if length < $n then . + " " * ($n - length) else . end;
def fixed($d): if . == null then "-" else
	(. * pow(10; $d) | round) as $v
	| (if $v < 0 then "-" else "" end) as $sign | ($v | fabs | tostring) as $t
	| if $d == 0 then $sign + $t else
		(("0" * ([$d + 1 - ($t | length), 0] | max)) + $t) as $u
		| $sign + $u[:-$d] + "." + $u[-$d:] end end;
def million: if . == null then "-" else . / 1e6 | fixed(if . < 1 then 3 else 2 end) end;
def title: {coturn: "coturn", user: "pcd, xdp = off", native: "pcd, XDP native",
	generic: "pcd, XDP generic"}[.relay] + (if .generator == "together" then ", together" else "" end);
def least_most($d): "\(.min | fixed($d)) - \(.max | fixed($d))";

.conditions as $c
| "people-cloud data plane, benchmark of \($c.date)",
"kernel \($c.kernel), \($c.cpus) x \($c.cpu)",
"\($c.pcd), coturn \($c.coturn), \($c.clang)",
"CPUs: generator \($c.generator_cpu), relays in user space \($c.relay_cpu); busy with other things"
	+ " before and after: \($c.other_before) %, \($c.other_after) %",
"\($c.repetitions) repetitions, interleaved; medians, and least - most, of those undisturbed"
	+ " by other processes",
(if any(.relays[], .baselines[]; .disturbed)
	then "DISTURBED: other processes used the CPUs; figures marked * are not to be relied on"
	else empty end),
"",
"XDP program, BPF_PROG_TEST_RUN      ns/packet    floors   goal",
(.prog_cost[] | "  \(.name | padr(32)) \(.ns | fixed(1) | pad(10)) \(.floors | fixed(2) | pad(9))   "
	+ (if .budget > 0 then "<= \(.budget)" else "-" end)),
"",
"The same by number of sessions, each with a channel, IPv4, there and back in turn",
"  every packet of another session, drawn at random; one: always the same one",
"   sessions    ns/packet    floors    factor    one: ns       MiB    load ms   write ms",
(.scale[] | "  \(.sessions | pad(9)) \(.ns | fixed(1) | pad(12)) \(.floors | fixed(2) | pad(9))"
	+ " \(.factor | fixed(2) | pad(9)) \(.one_ns | fixed(1) | pad(10))"
	+ " \(.memory_bytes / 1048576 | fixed(0) | pad(9)) \(.load_ms | pad(10))"
	+ " \(.fill_ms | pad(10))"),
"",
"Native handshakes, CPU time of the relay; one X25519 operation: \(.handshake.curve_ns / 1000 | fixed(1)) us",
"                                     us    per CPU-second      X25519",
(.handshake.cases[] | "  \(.name | padr(22)) \(.ns / 1000 | fixed(1) | pad(14))"
	+ " \(.per_cpu_second | pad(17)) \(.curves | fixed(2) | pad(11))"),
"",
"Limiters alone, ns/packet more than without one (run as above, without a packet's way)",
"                                  one CPU   two, one tenant   two, one each",
(.limit_cost.cases[1:][] | "  \(.name | padr(30)) \(.one | fixed(1) | pad(8))"
	+ " \(.shared | fixed(1) | pad(17)) \(.apart | fixed(1) | pad(15))"),
"",
"Relayed packets per CPU-second, client to peer, ChannelData to UDP over veth",
"  N delivered packets / (CPU-seconds the whole machine was busy - CPU-seconds of the same",
"  generator and sink without a relay between them). coturn and xdp = off: \($c.rate) packets/s",
"  from a packet socket in bursts of 32, one by one, or together as a driver hands them over;",
"  XDP: live frames as fast as one CPU goes.",
"",
"  relay                     payload   M packets/CPU-s     (least - most)   ns/packet   x coturn             lost",
(.relays | sort_by([({coturn: 0, user: 1, generic: 2, native: 3}[.relay]), .payload, .generator])[]
	| "  \(title | padr(24)) \("\(.payload) B" | pad(8))"
	+ " \(.packets_per_cpu_second.median | million | pad(17))"
	+ " \("\(.packets_per_cpu_second.min | million) - \(.packets_per_cpu_second.max | million)"
		| pad(18))"
	+ " \(.ns_per_packet.median | fixed(0) | pad(11))"
	+ " \(if .payload == 160 then .times_coturn | fixed(1) else "" end | pad(10))"
	+ " \("\(.lost) of \(.sent)" | pad(16))"
	+ " \(if .disturbed then " *" else "  \(.used) of \(.runs) runs" end)"),
"",
"Process time of the relays in user space (utime + stime)",
"  relay                      us/packet    (least - most)   packets per process-CPU-second",
(.relays[] | select(.process_us_per_packet)
	| "  \(title | padr(24)) \(.process_us_per_packet.median | fixed(2) | pad(11))"
	+ " \(.process_us_per_packet | least_most(2) | pad(17))"
	+ "   \(.packets_per_process_cpu_second.median | million) M"),
(.relays[] | select(.relay == "native" and .payload == 160)
	| "  XDP native beside coturn's process time alone: x \(.times_coturn_process | fixed(1))"),
"",
"Most that one CPU delivered, generator and sink included",
(.relays[] | select(.packets_per_second_one_cpu)
	| "  \(title | padr(24)) \("\(.payload) B" | pad(8))"
	+ " \(.packets_per_second_one_cpu.max | million | pad(9)) M packets/s"),
"",
"Generator and sink alone",
(.baselines[] | "  \(.generator | padr(18)) \("\(.payload) B" | pad(8))"
	+ " \(.ns_per_packet.median | fixed(0) | pad(9)) ns/packet"
	+ " (\(.ns_per_packet | least_most(0)))"),
"",
"pcpeer: datagrams of 1400 bytes, from iperf3 to iperf3, CPU time of each peer per packet",
(.peers[] | "  \(.way | padr(10)) \(.mbit_per_second | fixed(0) | pad(6)) Mbit/s, \(.lost) of \(.sent) lost,"
	+ " \(.sender_us_per_packet | fixed(1)) us sending, \(.receiver_us_per_packet | fixed(1)) us receiving"),
"",
"Goals",
(.goals[] | "  \(if .met == null then "?     " elif .met then "met   " else "MISSED" end) \(.name | padr(46))"
	+ " \(.value | fixed(2) | pad(8))   goal \(.goal)"),
(.relays[] | select(.generator == "live" and .lost != 0)
	| "  note: \(title) at \(.payload) B lost \(.lost) of \(.sent) packets")
