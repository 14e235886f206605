# SPDX-License-Identifier: MIT
#
# Runs of relay_load (one JSON object each, with relay and rep) to the report.
#   jq -s --argjson conditions ... --argjson prog_cost ... --argjson scale ... --argjson handshake ... -f report.jq
#      RUNS
#
# Net cost of a packet = (busy seconds of the run / sent) - (the same of the baseline of the same
# repetition, payload and generator). Every figure is the median of the repetitions, without those in
# which other processes used the CPUs in either of the two; where none is left, of all, and disturbed
# says so.

def median: sort | if length == 0 then null
	elif length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def spread: map(select(. != null)) | {median: median, min: min, max: max};
def inverse: if . == null or . <= 0 then null else 1 / . end;
# Of the median, not the median of inverses: one cost, two ways to say it.
def per_second: {median: (.median | inverse), min: (.max | inverse), max: (.min | inverse)};
def scaled($by): map_values(if . == null then null else . * $by end);
def generator: if .together then "together" elif .rate > 0 then "paced" else "live" end;
def ratio($a; $b): if $a == null or $b == null or $b <= 0 then null else $a / $b end;
def cost_of($prog; $name): $prog | map(select(.name == $name)) | first | .floors;

def key: "\(.rep) \(.payload) \(generator)";

. as $runs
| (map(select(.relay == "direct") | {key: key, value: .}) | from_entries) as $base
| def net: .busy / .delivered - $base[key].busy / $base[key].sent * .sent / .delivered;
  def undisturbed: map(select(.loud or $base[key].loud | not));

(map(select(.relay == "direct")) | group_by([.payload, generator]) | map({
	payload: .[0].payload, generator: (.[0] | generator),
	disturbed: (undisturbed | length == 0),
	ns_per_packet: ((undisturbed | if length == 0 then null else . end) // .
		| map(.busy / .sent) | spread | scaled(1e9))
})) as $baselines
| (map(select(.relay != "direct" and .delivered > 0)) | group_by([.relay, .payload, generator])
	| map({
		relay: .[0].relay, payload: .[0].payload, generator: (.[0] | generator),
		runs: length, sent: (map(.sent) | add), delivered: (map(.delivered) | add),
		lost: (map(.sent - .delivered) | add), disturbed: (undisturbed | length == 0)
	} + ((undisturbed | if length == 0 then null else . end) // . | {
		used: length,
		ns_per_packet: (map(net) | spread | scaled(1e9)),
		packets_per_cpu_second: (map(net) | spread | per_second),
		process_us_per_packet: (if .[0].rate > 0
			then (map(.process / .delivered) | spread | scaled(1e6)) else null end),
		packets_per_process_cpu_second: (if .[0].rate > 0
			then (map(.process / .delivered) | spread | per_second) else null end),
		packets_per_second_one_cpu: (if .[0].rate > 0
			then null else (map(.delivered / .seconds) | spread) end)
	}))) as $relays
| def of($name; $generator): $relays | map(select(.relay == $name and .payload == 160
	and .generator == $generator)) | first;
  def share($generator): {
	name: "user space, share of coturn's process, \($generator)", goal: "<= 0.5",
	value: ratio(of("user"; $generator).process_us_per_packet.median;
		of("coturn"; $generator).process_us_per_packet.median), limit: 0.5, most: true,
	disturbed: (of("user"; $generator).disturbed or of("coturn"; $generator).disturbed)
  };
  of("coturn"; "paced") as $coturn | of("user"; "paced") as $user
| of("native"; "live") as $native
| {
	conditions: $conditions,
	prog_cost: $prog_cost,
	limit_cost: $limit_cost,
	scale: $scale,
	handshake: $handshake,
	baselines: $baselines,
	relays: ($relays | map(. + {
		times_coturn: ratio(.packets_per_cpu_second.median;
			(if .generator == "together" then of("coturn"; "together") else $coturn end
			| .packets_per_cpu_second.median)),
		times_coturn_process: ratio(.packets_per_cpu_second.median;
			$coturn.packets_per_process_cpu_second.median)
	})),
	goals: [
		{name: "ChannelData to UDP, floors", goal: "<= 5",
			value: cost_of($prog_cost; "ChannelData to UDP"), limit: 5, most: true},
		{name: "UDP to ChannelData, floors", goal: "<= 5",
			value: cost_of($prog_cost; "UDP to ChannelData"), limit: 5, most: true},
		{name: "unrelated UDP, floors", goal: "<= 2",
			value: cost_of($prog_cost; "unrelated UDP"), limit: 2, most: true},
		{name: "65 536 sessions at random, times one", goal: "<= 1.5",
			value: ($scale | map(select(.sessions == 65536)) | first | .factor),
			limit: 1.5, most: true},
		{name: "XDP native, times coturn", goal: ">= 20",
			value: ratio($native.packets_per_cpu_second.median;
				$coturn.packets_per_cpu_second.median), limit: 20, most: false,
			disturbed: ($native.disturbed or $coturn.disturbed)},
		{name: "user space, process us per packet", goal: "<= 3",
			value: $user.process_us_per_packet.median, limit: 3, most: true,
			disturbed: $user.disturbed},
		share("paced"), share("together"),
		{name: "packets lost by XDP native", goal: "0",
			value: ($relays | map(select(.relay == "native") | .lost) | add),
			limit: 0, most: true}
	] | map({name, goal, value, met: (if .disturbed or .value == null then null
		elif .most then .value <= .limit else .value >= .limit end)}),
	runs: $runs
}
