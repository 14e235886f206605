/* SPDX-License-Identifier: MIT */
/*
 * XDP relay: data of TURN clients to their peers and back, and answers to STUN Binding, without
 * leaving the driver. The walk of a packet:
 *
 *  1. Parse Ethernet, up to two VLAN tags, IPv4 or IPv6, UDP. Anything else, and any port that is
 *     not ours, passes at once; up to here only constants are read, no map.
 *  2. Guard: on an interface whose attach was never confirmed, everything passes. IP options,
 *     fragments and lengths that disagree are left to user space.
 *  3. Classify: on a service port ChannelData by its first byte and Send indications by their type,
 *     the rest is control. On a relayed port everything is data from a peer.
 *  4. Find the flow, else the permission. One that leads to another relayed address of this node
 *     (a hairpin) leads to a second one, the other session's.
 *  5. Admit: lengths, expiry, TTL, counters, next hop, MTU, checksum. All that can fail fails here.
 *  6. Make room, trim; then ask the limits of the tenant and the credit of the session
 * (lib/toll.h), which may refuse or mark. Rewrite: link header, IP, UDP, ChannelData header or Data
 *     indication. From here on the packet is sent or dropped, never passed.
 *  7. Count it, and send it out of the same interface or redirect it.
 *
 * Frames of pipes between native peers are found by the number they carry, then proved by their
 * tag and not seen before, then charged and sent like the rest: by lib/pipe_lean.h when nothing but
 * addresses and headers of one family changes, else by lib/pipe_job.h.
 *
 * The plain case, ChannelData of one flow in one family, goes a short way of its own (pc_fast_*),
 * and the commonest forms of data shorter ones that come before all of this (pc_lean_*,
 * lib/lean.h, lib/lean6.h, lib/lean_stun.h, lib/lean_hairpin.h); everything else goes through the
 * functions in lib/job.h.
 *
 * What belongs to no flow and comes to a service port is limited by its source, then answered if it
 * is a Binding request, else, up to a limit on all of it, left to the daemon. While the daemon is
 * away it is dropped instead: clients retransmit, rather than being told that the port is
 * unreachable. On an allocated relayed port, what nothing covers is dropped too, while the daemon
 * is there to hold the port.
 */
#include <xdp/xdp_helpers.h>

#include "lib/binding.h"
#include "lib/job.h"
#include "lib/lean.h"
#include "lib/lean6.h"
#include "lib/lean_hairpin.h"
#include "lib/lean_stun.h"
#include "lib/pipe_lean.h"
#include "lib/stranger.h"

char _license[] SEC("license") = "Dual MIT/GPL";

/* Set before loading. Host byte order; a service port of 0 is none. */
const volatile __u16 pc_service_ports[PC_MAX_SERVICE_PORTS];
const volatile __u16 pc_relay_low;
const volatile __u16 pc_relay_high;
/* Addresses of the services, IPv4 mapped; all zero ends the list. None: any address is ours. */
const volatile __be32 pc_service_addrs[PC_MAX_SERVICE_ADDRS][4];

#ifdef PC_TEST_DROP_ALL
#define PC_DROP_ALL 1
#else
#define PC_DROP_ALL 0
#endif

#define PC_CHANNEL_FIRST_BYTE 0x40
#define PC_CHANNEL_LAST_BYTE  0x7f

/* The time is asked for only where it matters: most packets see no guard. */
static __always_inline bool pc_guard_tripped(const struct xdp_md *ctx)
{
	struct pc_ctl *ctl = pc_ctl_get();

	return ctl && ctl->guard_ifindex && ctl->guard_ifindex == ctx->ingress_ifindex &&
	       pc_clock_now() > ctl->guard_deadline_ns;
}

enum pc_port { PC_PORT_FOREIGN, PC_PORT_SERVICE, PC_PORT_RELAYED };

static __always_inline enum pc_port pc_classify_port(__be16 dport)
{
	__u16 port = bpf_ntohs(dport);

#pragma unroll
	for (int i = 0; i < PC_MAX_SERVICE_PORTS; i++) {
		__u16 service = pc_service_ports[i];

		if (service && service == port)
			return PC_PORT_SERVICE;
	}
	if ((pc_relay_high && port >= pc_relay_low && port <= pc_relay_high))
		return PC_PORT_RELAYED;
	return PC_PORT_FOREIGN;
}

/* --- how a packet leaves --- */

/* Counts the reason and gives the verdict. Never inlined: it is not for those that are sent. */
static __noinline int pc_leave(__u32 reason)
{
	pc_count_reason(reason);
	if (pc_unlikely(reason == PC_REASON_TX || reason == PC_REASON_BINDING))
		return XDP_TX;
	if (pc_unlikely(reason == PC_REASON_REDIRECT))
		return XDP_REDIRECT;
	return pc_reason_passes(reason) ? XDP_PASS : XDP_DROP;
}

/* The same for data of a known flow to a service port: what passes is dropped in the daemon's
 * absence. */
static __noinline int pc_leave_service(__u32 reason)
{
	if (pc_reason_passes(reason) && pc_daemon_away())
		reason = PC_REASON_DROP_AWAY;
	return pc_leave(reason);
}

/* On the short way. @service: which port it came to, a constant. */
static __always_inline int pc_leave_fast(enum pc_reason reason, bool service)
{
	if (__builtin_expect(reason == PC_REASON_TX, 1)) {
		pc_count_reason(PC_REASON_TX);
		return XDP_TX;
	}
	return service ? pc_leave_service(reason) : pc_leave(reason);
}

/* Whether the packet is for this host, and not for one that it routes to. */
static __always_inline bool pc_service_mine(const void *addrs, bool six)
{
	__be32 addr[4];

	if (pc_unlikely(!pc_service_addrs[0][0] && !pc_service_addrs[0][2]))
		return true;
	pc_find_map(addr, addrs + (six ? 16 : 4), six);
#pragma unroll
	for (int i = 0; i < PC_MAX_SERVICE_ADDRS; i++) {
		if (pc_unlikely(addr[0] == pc_service_addrs[i][0] &&
				addr[1] == pc_service_addrs[i][1] &&
				addr[2] == pc_service_addrs[i][2] &&
				addr[3] == pc_service_addrs[i][3]))
			return true;
	}
	return false;
}

/* Whom the limits of strangers refuse may still be a client that is known. */
static __always_inline enum pc_reason pc_stranger_judge(struct xdp_md *ctx,
							const struct pc_ctl *ctl, __u32 l2_len,
							enum pc_reason judged, bool six)
{
	if (pc_unlikely(judged != PC_REASON_TX) &&
	    pc_stranger_client(ctx, ctl, l2_len, pc_clock_now(), six))
		return PC_REASON_TX;
	return judged;
}

/* A Binding request, whose source was admitted. What cannot be answered here goes to the daemon. */
static __always_inline enum pc_reason pc_stranger_binding(struct xdp_md *ctx,
							  const struct pc_ctl *ctl, __u32 l2_len,
							  __u64 addr, bool six)
{
	enum pc_reason reason = pc_binding_answer(ctx, l2_len, six), judged;

	if (pc_likely(!pc_reason_passes(reason)))
		return reason;
	judged = pc_stranger_judge(ctx, ctl, l2_len,
				   pc_stranger_admit_late(ctl, addr, pc_clock_now()), six);
	return judged == PC_REASON_TX ? reason : judged;
}

static __always_inline enum pc_reason pc_stranger_as(struct xdp_md *ctx, __u32 l2_len,
						     enum pc_reason reason, bool six)
{
	struct pc_ctl *ctl = pc_ctl_get();
	enum pc_reason judged;
	const void *addrs;
	__u32 off = l2_len;
	__u64 addr, now;

	asm volatile("%0 &= 31" : "+r"(off));
	addrs = (void *)(long)ctx->data + off + (six ? 8 : 12);
	if (pc_unlikely(!ctl || addrs + (six ? 32 : 8) > (void *)(long)ctx->data_end))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_unlikely(!pc_service_mine(addrs, six)))
		return reason == PC_REASON_BINDING ? PC_REASON_PASS_CONTROL : reason;
	addr = six ? *pc_u64_at(addrs, 0) : *pc_u32_at(addrs, 0);
	now = pc_clock_now();
	if (reason == PC_REASON_BINDING)
		judged = pc_stranger_source(ctl, addr, now, six) ? PC_REASON_TX
								 : PC_REASON_DROP_SOURCE_RATE;
	else
		judged = pc_stranger_admit(ctl, addr, now, six);
	judged = pc_stranger_judge(ctx, ctl, l2_len, judged, six);
	if (pc_unlikely(judged != PC_REASON_TX))
		return judged;
	if (reason == PC_REASON_BINDING)
		reason = pc_stranger_binding(ctx, ctl, l2_len, addr, six);
	return pc_reason_passes(reason) && pc_daemon_away() ? PC_REASON_DROP_AWAY : reason;
}

/*
 * Not data of a known flow, to a service port: strangers send it too. Limited before anything that
 * costs; then answered, or left to the daemon, or dropped while that is away.
 */
__noinline int pc_stranger(struct xdp_md *ctx, __u32 l2_len, __u32 reason, __u32 six)
{
	return six ? pc_stranger_as(ctx, l2_len, reason, true)
		   : pc_stranger_as(ctx, l2_len, reason, false);
}

/* ChannelData of a tenant. At least four bytes. */
static __always_inline int pc_fast_channel(struct xdp_md *ctx, const struct pc_pkt *pkt, bool six)
{
	const void *header = pkt->udp + 1;
	struct pc_plan plan = {};
	struct pc_flow *flow;
	enum pc_reason reason;
	union pc_key key;

	pc_key_packet(&key, pkt, *pc_u16_at(header, 0), six);
	flow = pc_find_flow(&key, six);
	if (pc_unlikely(!flow))
		return pc_leave(pc_stranger(ctx, pkt->l2_len, PC_REASON_PASS_NO_FLOW, six));
	if (pc_unlikely(!pc_flow_plain(flow, true, six)))
		return pc_leave_service(pc_relay_channel(ctx, pc_job_flow(pkt, &plan, flow, six)));
	reason = pc_read_channel_data(pkt, header, &plan);
	if (pc_unlikely(reason != PC_REASON_TX))
		return pc_leave(reason);
	reason = pc_plan_up(&plan, flow, pkt, six, six);
	if (pc_unlikely(reason != PC_REASON_TX))
		return pc_leave_service(reason);
	reason = pc_send_side(ctx, pkt, &plan, flow, PC_RATE_UP, six);
	return pc_leave_fast(reason, true);
}

/* On a relayed port: from a peer. */
static __always_inline int pc_fast_peer(struct xdp_md *ctx, const struct pc_pkt *pkt, bool six)
{
	struct pc_plan plan = {
		.payload = pkt->udp_len - sizeof(struct udphdr),
		.head_out = PC_CHANNEL_HEADER,
	};
	struct pc_flow *flow;
	enum pc_reason reason;
	union pc_key key;

	pc_key_packet(&key, pkt, 0, six);
	flow = pc_find_flow(&key, six);
	if (pc_unlikely(!flow || (flow->flags & PC_FLOW_HAIRPIN)))
		return pc_leave(pc_relay_data(ctx, pkt->l2_len, pkt->udp_len, six));
	if (pc_unlikely(!pc_flow_plain(flow, false, six)))
		return pc_leave(pc_relay_mixed(ctx, pc_job_flow(pkt, &plan, flow, six)));
	reason = pc_plan_down(flow, pkt, six);
	if (pc_unlikely(reason != PC_REASON_TX))
		return pc_leave(reason);
	reason = pc_send_side(ctx, pkt, &plan, flow, PC_RATE_DOWN, six);
	return pc_leave_fast(reason, false);
}

/* What is no ChannelData. @type: its first two bytes. */
static __noinline int pc_relay_other(struct xdp_md *ctx, __u32 l2_len, __u32 udp_len, __u32 type,
				     __u32 six)
{
	int reason = PC_REASON_PASS_CONTROL;

	if (type == PC_STUN_SEND)
		reason = pc_relay_send(ctx, l2_len, udp_len, six);
	else if (type == PC_STUN_BINDING)
		reason = PC_REASON_BINDING;
	if (pc_unlikely(reason == PC_REASON_PASS_CONTROL || reason == PC_REASON_BINDING))
		return pc_leave(pc_stranger(ctx, l2_len, reason, six));
	return pc_leave_service(reason);
}

/* Less than a ChannelData header; there is no frame of a pipe that short either. */
static __always_inline int pc_relay_short(struct xdp_md *ctx, const struct pc_pkt *pkt, bool six)
{
	const __u8 *first = (void *)(pkt->udp + 1);

	if (pc_unlikely(pkt->udp_len > sizeof(struct udphdr) &&
			(void *)(first + 1) <= pkt->data_end &&
			(*first == PC_PIPE_TYPE ||
			 (*first >= PC_CHANNEL_FIRST_BYTE && *first <= PC_CHANNEL_LAST_BYTE))))
		return pc_leave(PC_REASON_DROP_LENGTH);
	return pc_leave(pc_stranger(ctx, pkt->l2_len, PC_REASON_PASS_CONTROL, six));
}

/* A frame between native peers. */
static __always_inline int pc_fast_pipe(struct xdp_md *ctx, const struct pc_pkt *pkt, bool six)
{
	int reason = pc_pipe_frame(ctx, pkt->l2_len, pkt->udp_len, six);

	if (pc_unlikely(reason == PC_REASON_PASS_NO_FLOW))
		return pc_leave(pc_stranger(ctx, pkt->l2_len, reason, six));
	return pc_leave_service(reason);
}

/* To a service port. */
static __always_inline int pc_fast_service(struct xdp_md *ctx, const struct pc_pkt *pkt, bool six)
{
	const void *payload = pkt->udp + 1;
	__u8 first;

	if (pc_unlikely(pkt->udp_len < sizeof(struct udphdr) + PC_CHANNEL_HEADER ||
			payload + PC_CHANNEL_HEADER > pkt->data_end))
		return pc_relay_short(ctx, pkt, six);
	first = *(__u8 *)payload;
	if (pc_likely(first >= PC_CHANNEL_FIRST_BYTE && first <= PC_CHANNEL_LAST_BYTE))
		return pc_fast_channel(ctx, pkt, six);
	if (first == PC_PIPE_TYPE)
		return pc_fast_pipe(ctx, pkt, six);
	return pc_relay_other(ctx, pkt->l2_len, pkt->udp_len, bpf_ntohs(*pc_u16_at(payload, 0)),
			      six);
}

/* UDP of one family. */
static __always_inline int pc_relay(struct xdp_md *ctx, struct pc_pkt *pkt, bool six)
{
	enum pc_port port;

	if (pc_unlikely(!(six ? pc_parse_udp6(pkt) : pc_parse_udp4(pkt))))
		return XDP_PASS;
	port = pc_classify_port(pkt->dport);
	if (pc_unlikely(port == PC_PORT_FOREIGN))
		return XDP_PASS;
	if (pc_unlikely(pc_guard_tripped(ctx)))
		return pc_leave(PC_REASON_PASS_GUARD);
	if (pc_unlikely(!pkt->plain || !pc_parse_consistent(pkt, six)))
		return pc_leave(port == PC_PORT_SERVICE
					? pc_stranger(ctx, pkt->l2_len, PC_REASON_PASS_UNUSUAL, six)
					: PC_REASON_PASS_UNUSUAL);
	return port == PC_PORT_SERVICE ? pc_fast_service(ctx, pkt, six)
				       : pc_fast_peer(ctx, pkt, six);
}

/* What a lean way made of a packet; -1: it is not for that way. */
static __always_inline int pc_leave_lean(enum pc_reason reason)
{
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason == PC_REASON_PASS_UNUSUAL ? -1 : pc_leave(reason);
	pc_count_reason(PC_REASON_TX);
	return XDP_TX;
}

/* What was read and is no ChannelData to a peer: one to a client, or a frame of a pipe? */
static __always_inline int pc_relay_lean_more(struct xdp_md *ctx, bool six)
{
	const __u8 *first = (void *)(long)ctx->data + (six ? PC_LEAN6_HEAD : PC_LEAN_HEAD);
	int reason;

	/* Looked for again: the frame may have been moved there and back since. */
	if ((void *)(first + 1) > (void *)(long)ctx->data_end)
		return -1;
	if (*first >= PC_CHANNEL_FIRST_BYTE && *first <= PC_CHANNEL_LAST_BYTE)
		return pc_leave_lean(pc_lean_hairpin(ctx, six));
	if (*first != PC_PIPE_TYPE)
		return -1;
	reason = six ? pc_pipe_lean6(ctx) : pc_pipe_lean4(ctx);
	if (reason == PC_PIPE_LEAN_JOB) {
		reason = pc_pipe_lean_pay();
		if (pc_likely(reason == PC_REASON_TX))
			reason = pc_pipe_lean_out(ctx);
	}
	return pc_leave_lean(reason);
}

/* The same of lib/lean6.h. */
static __always_inline int pc_relay_lean6(struct xdp_md *ctx)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct pc_lean6 lean;
	enum pc_reason reason;
	enum pc_port port;

	if (pc_unlikely(data + PC_LEAN6_MIN > end))
		return -1;
	if (pc_unlikely((*pc_u32_at(data, PC_LEAN6_TYPE) & bpf_htonl(0xfffff000)) !=
			bpf_htonl(ETH_P_IPV6 << 16 | PC_IP6_VERSION << 12)))
		return -1;
	if (pc_unlikely(*(__u8 *)(data + PC_LEAN6_LEN + 2) != IPPROTO_UDP))
		return XDP_PASS;
	port = pc_classify_port(*pc_u16_at(data, PC_LEAN6_PORTS + 2));
	if (pc_unlikely(port == PC_PORT_FOREIGN))
		return XDP_PASS;
	if (pc_unlikely(pc_guard_tripped(ctx) || !pc_lean6_read(data, end, &lean)))
		return -1;
	if (port == PC_PORT_SERVICE) {
		if (pc_unlikely(*pc_u16_at(data, PC_LEAN6_HEAD) == bpf_htons(PC_STUN_SEND)))
			return pc_leave_lean(pc_lean_send6(ctx));
		reason = pc_lean6(ctx, data, &lean, true);
		if (pc_unlikely(reason == PC_REASON_PASS_UNUSUAL))
			return pc_relay_lean_more(ctx, true);
		return pc_leave_lean(reason);
	}
	reason = pc_lean6(ctx, data, &lean, false);
	return pc_leave_lean(reason == PC_REASON_PASS_NO_FLOW ? pc_lean_data6(ctx) : reason);
}

/*
 * What lib/lean.h is for, and what is nobody's. -1: neither.
 * IHL and version, no fragment, UDP: two words tell.
 */
static __always_inline int pc_relay_lean(struct xdp_md *ctx)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	enum pc_reason reason;
	struct pc_lean lean;
	enum pc_port port;
	__u32 frag;

	if (pc_unlikely(data + PC_LEAN_MIN > end))
		return -1;
	if (pc_unlikely((*pc_u32_at(data, PC_LEAN_TYPE) & bpf_htonl(0xffffff00)) !=
			bpf_htonl(ETH_P_IP << 16 | PC_IP_PLAIN << 8)))
		return pc_relay_lean6(ctx);
	frag = *pc_u32_at(data, PC_LEAN_FRAG);
	if (pc_unlikely((frag & bpf_htonl(PC_IP_FRAGMENT << 16 | 0xff)) != bpf_htonl(IPPROTO_UDP)))
		return (frag & bpf_htonl(0xff)) == bpf_htonl(IPPROTO_UDP) ? -1 : XDP_PASS;
	port = pc_classify_port(*pc_u16_at(data, PC_LEAN_PORTS + 2));
	if (pc_unlikely(port == PC_PORT_FOREIGN))
		return XDP_PASS;
	if (pc_unlikely(pc_guard_tripped(ctx) || !pc_lean_read(data, end, &lean)))
		return -1;
	if (port == PC_PORT_SERVICE) {
		if (pc_unlikely(*pc_u16_at(data, PC_LEAN_HEAD) == bpf_htons(PC_STUN_SEND)))
			return pc_leave_lean(pc_lean_send4(ctx));
		reason = pc_lean_up(ctx, data, &lean);
		if (pc_unlikely(reason == PC_REASON_PASS_UNUSUAL))
			return pc_relay_lean_more(ctx, false);
		return pc_leave_lean(reason);
	}
	reason = pc_lean_down(ctx, data, &lean);
	return pc_leave_lean(reason == PC_REASON_PASS_NO_FLOW ? pc_lean_data4(ctx) : reason);
}

/* A program gone wrong, for tests of the guarded attach: whatever reaches it is lost. */
static __always_inline int pc_drop_all(const struct xdp_md *ctx)
{
	return pc_guard_tripped(ctx) ? XDP_PASS : XDP_DROP;
}

/* Behind libxdp's dispatcher: after filters, which have 10 to 50, and before what we pass goes on.
 */
struct {
	__uint(priority, 60);
	__uint(XDP_PASS, 1);
} XDP_RUN_CONFIG(pc4_relay);

SEC("xdp")
int pc4_relay(struct xdp_md *ctx)
{
	struct pc_pkt pkt = {};
	__be16 proto;
	int verdict;

	if (pc_unlikely(PC_DROP_ALL))
		return pc_drop_all(ctx);
	verdict = pc_relay_lean(ctx);
	if (pc_likely(verdict >= 0))
		return verdict;
	proto = pc_parse_link(ctx, &pkt);
	if (pc_likely(proto == bpf_htons(ETH_P_IP)))
		return pc_relay(ctx, &pkt, false);
	if (pc_unlikely(proto == bpf_htons(ETH_P_IPV6)))
		return pc_relay(ctx, &pkt, true);
	return XDP_PASS;
}
