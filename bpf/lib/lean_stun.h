/* SPDX-License-Identifier: MIT */
/*
 * The lean way (see lib/lean.h) of Send and Data indications: IPv4 on both sides and for the peer,
 * the peer's address before the data, as clients send them; padding, and a FINGERPRINT behind it.
 * The permission is copied into a flow that is never in memory: only what is asked of it exists.
 */
#ifndef PC_LIB_LEAN_STUN_H
#define PC_LIB_LEAN_STUN_H

#include "lib/lean.h"
#include "lib/ports.h"
#include "lib/stun.h"

#define PC_LEAN_STUN	  (PC_LEAN_HEAD + PC_STUN_INDICATION4) /* where the data of one begins */
#define PC_LEAN_STUN_PEER (PC_STUN_HEADER)
#define PC_LEAN_STUN_DATA (PC_STUN_HEADER + PC_STUN_ADDR4)

/* Words as they lie in the packet, summed, and folded once for all. */
static __always_inline __u32 pc_lean_sum(const void *at, int n)
{
	__u64 sum = 0;

	for (int i = 0; i < n; i++)
		sum += *pc_u32_at(at, 4 * i);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
}

/* The flow that @perm makes with the packet at @data; @dport: of the receiver. */
static __always_inline void pc_lean_flow(struct pc_flow *flow, const struct pc_perm *perm,
					 const void *data, __be16 dport)
{
	__u32 gone, come;
	__u64 ports = *pc_u32_at(data, PC_LEAN_PORTS);

	flow->expires_ns = perm->expires_ns;
	flow->saddr[0] = perm->saddr[0];
	flow->daddr[0] = perm->daddr[0];
	flow->sport = perm->sport;
	flow->dport = dport;
	flow->flags = perm->flags;
	flow->slot = perm->slot;
	flow->nexthop = perm->nexthop;
	flow->tenant = perm->tenant;
	gone = pc_csum_words_gone(data + PC_LEAN_ADDRS, 2);
	come = pc_csum_words(perm->saddr, 1) + pc_csum_words(perm->daddr, 1);
	flow->l3_diff = pc_csum_fold(gone + come);
	gone += pc_csum_gone16(ports & 0xffff) + pc_csum_gone16(ports >> 16);
	flow->l4_diff = pc_csum_fold(gone + come + perm->sport + dport);
}

/* Headers but that of an indication. The frame has its new length. @len: of UDP, header and all. */
static __always_inline void pc_lean_write_udp(void *data, struct pc_lean *lean,
					      const struct pc_lean_way *way, __u32 l4_sum,
					      __u32 len)
{
	const struct pc_flow *flow = way->flow;
	__be16 ip_len = bpf_htons(len + sizeof(struct iphdr));
	__be16 udp_len = bpf_htons(len);
	union pc_word ports = { .half[0] = flow->sport };
	__u32 sum;

	ports.half[1] = flow->dport;
	sum = pc_csum_gone16(lean->check) + flow->l3_diff + lean->l3_sum +
	      pc_csum_diff16(lean->len.half[0], ip_len) + pc_csum_gone16(bpf_htons(0x0100));
	lean->len.half[0] = ip_len;
	lean->frag.half[1] -= bpf_htons(0x0100);
	*pc_u16_at(data, PC_LEAN_CHECK) = ~pc_lean_fold(sum);
	if (pc_likely(lean->udp.half[1])) {
		sum = pc_csum_gone16(lean->udp.half[1]) + flow->l4_diff + l4_sum +
		      2 * pc_csum_diff16(lean->udp.half[0], udp_len) + 1;
		lean->udp.half[1] = -pc_lean_fold(sum);
	}
	lean->udp.half[0] = udp_len;
	*pc_u64_at(data, 0) = *pc_u64_at(way->nh->l2, 0);
	*pc_u64_at(data, 8) = pc_pair(*pc_u32_at(way->nh->l2, 8), lean->type);
	*pc_u64_at(data, PC_LEAN_LEN) = pc_pair(lean->len.word, lean->frag.word);
	*pc_u64_at(data, PC_LEAN_ADDRS) = pc_pair(flow->saddr[0], flow->daddr[0]);
	*pc_u64_at(data, PC_LEAN_PORTS) = pc_pair(ports.word, lean->udp.word);
}

/* What is behind the data: padding, then nothing or a FINGERPRINT. */
static __always_inline bool pc_lean_send_tail(const void *data, const void *end, __u32 payload,
					      __u32 tail, __u32 *sum)
{
	const struct pc_pkt pkt = { .data_end = (void *)end };
	struct pc_send send = {};
	__u32 pad = pc_stun_padding(payload);

	if (!tail)
		return true;
	if (!pc_stun_pad_gone(&pkt, data + PC_LEAN_STUN, payload, pad, sum))
		return false;
	if (tail == pad)
		return true;
	if (!pc_stun_read_fingerprint(&pkt, data + PC_LEAN_STUN, payload + pad, tail - pad, &send))
		return false;
	*sum += send.gone;
	return true;
}

/*
 * Reads a Send indication: its sum is taken out of the checksum. False: not for this way.
 * @ret_tail: bytes behind the data.
 */
static __always_inline bool pc_lean_send_read(const void *data, const void *end,
					      struct pc_lean *lean, __u32 *ret_sum, __u32 *ret_tail)
{
	__u32 room = lean->udp_len - sizeof(struct udphdr) - PC_STUN_INDICATION4;
	const void *msg = data + PC_LEAN_HEAD;
	union pc_word head = { .word = *pc_u32_at(msg, PC_LEAN_STUN_DATA) };

	if (pc_unlikely(*pc_u32_at(msg, 0) !=
				pc_stun_word(PC_STUN_SEND, lean->udp_len - sizeof(struct udphdr) -
								   PC_STUN_HEADER) ||
			*pc_u32_at(msg, 4) != bpf_htonl(PC_STUN_COOKIE) ||
			*pc_u32_at(msg, PC_LEAN_STUN_PEER) !=
				pc_stun_word(PC_ATTR_PEER, PC_STUN_ADDR4 - PC_STUN_ATTR) ||
			((__u8 *)msg)[PC_LEAN_STUN_PEER + 5] != PC_FAMILY_4 ||
			head.half[0] != bpf_htons(PC_ATTR_DATA)))
		return false;
	lean->payload = bpf_ntohs(head.half[1]);
	if (pc_unlikely(lean->payload > room || room > PC_UDP_LEN_MAX))
		return false;
	*ret_tail = room - lean->payload;
	*ret_sum = pc_csum_gone16(pc_csum_fold(pc_lean_sum(msg, PC_STUN_INDICATION4 / 4)));
	return pc_lean_send_tail(data, end, lean->payload, *ret_tail, ret_sum);
}

/* Where the peer of an indication is. */
static __always_inline struct pc_perm *pc_lean_send_perm(const void *data, __be16 *ret_port)
{
	const void *peer = data + PC_LEAN_HEAD + PC_LEAN_STUN_PEER;
	union pc_word port = { .word = *pc_u32_at(peer, 4) };
	struct pc_perm4_key key = {
		.saddr = *pc_u32_at(data, PC_LEAN_ADDRS),
		.daddr = *pc_u32_at(data, PC_LEAN_ADDRS + 4),
		.peer = *pc_u32_at(peer, 8) ^ bpf_htonl(PC_STUN_COOKIE),
	};

	*pc_u32_at(&key.sport, 0) = *pc_u32_at(data, PC_LEAN_PORTS);
	*ret_port = port.half[1] ^ bpf_htons(PC_STUN_PORT_MASK);
	return bpf_map_lookup_elem(&pc3_perm4, &key);
}

/*
 * What the two steps of this way hand on; the limits of tenants leave little stack beside them, so
 * it lies in a map. One for each CPU, private to the program.
 */
struct pc_lean_job {
	struct pc_flow flow;
	struct pc_lean lean;
	__u32 l4_sum;	     /* what goes, or comes, beside the payload; unfolded */
	__u32 tail;	     /* bytes behind the payload */
	struct pc_peer peer; /* for a Data indication */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pc_lean_job);
} pc_lean_scratch SEC(".maps");

static __always_inline struct pc_lean_job *pc_lean_job(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pc_lean_scratch, &zero);
}

/* PC_REASON_TX: a Send indication for this way, whose permission is in the job. */
static __noinline int pc_lean_send_find(struct xdp_md *ctx)
{
	const void *end = (void *)(long)ctx->data_end, *data = (void *)(long)ctx->data;
	struct pc_lean_job *job = pc_lean_job();
	struct pc_perm *perm;
	struct pc_lean lean;
	__u32 sum, tail;
	__be16 port;

	if (pc_unlikely(!job || data + PC_LEAN_STUN > end || !pc_lean_read(data, end, &lean) ||
			!pc_lean_send_read(data, end, &lean, &sum, &tail)))
		return PC_REASON_PASS_UNUSUAL;
	perm = pc_lean_send_perm(data, &port);
	if (pc_unlikely(!perm || !pc_port_allowed(bpf_ntohs(port))))
		return PC_REASON_PASS_UNUSUAL;
	pc_lean_flow(&job->flow, perm, data, port);
	job->lean = lean;
	job->l4_sum = sum;
	job->tail = tail;
	return PC_REASON_TX;
}

/* The second step: PC_REASON_TX, PASS_UNUSUAL when nothing was touched, DROP_*. */
static __noinline int pc_lean_send_out(struct xdp_md *ctx)
{
	struct pc_lean_job *job = pc_lean_job();
	struct pc_lean_way way;
	enum pc_reason reason;
	__u32 wire;
	void *data;

	if (!job)
		return PC_REASON_PASS_UNUSUAL;
	way.flow = &job->flow;
	wire = pc_lean_wire(job->lean.payload, true, false);
	if (pc_unlikely(!pc_lean_admit(ctx, wire, &way, true, false)))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_unlikely(bpf_xdp_adjust_head(ctx, PC_STUN_INDICATION4)))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_unlikely(job->tail && bpf_xdp_adjust_tail(ctx, -(int)job->tail)))
		return PC_REASON_DROP_INTERNAL;
	reason = pc_lean_charge4(&job->lean, &way, wire, true);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	data = (void *)(long)ctx->data;
	if (pc_unlikely(data + PC_LEAN_HEAD > (void *)(long)ctx->data_end))
		return PC_REASON_DROP_INTERNAL;
	pc_lean_write_udp(data, &job->lean, &way, job->l4_sum,
			  job->lean.payload + sizeof(struct udphdr));
	return PC_REASON_TX;
}

/* PC_REASON_TX: from a peer without a channel, whose permission is in the job. */
static __noinline int pc_lean_data_find(struct xdp_md *ctx)
{
	const void *end = (void *)(long)ctx->data_end, *data = (void *)(long)ctx->data;
	struct pc_lean_job *job = pc_lean_job();
	struct pc_flow4_key flow = {};
	struct pc_perm4_key key = {};
	struct pc_perm *perm;

	if (pc_unlikely(!job || data + PC_LEAN_MIN > end || !pc_lean_read(data, end, &job->lean) ||
			job->lean.udp_len > PC_UDP_LEN_MAX))
		return PC_REASON_PASS_UNUSUAL;
	key.saddr = flow.saddr = *pc_u32_at(data, PC_LEAN_ADDRS);
	key.daddr = flow.daddr = *pc_u32_at(data, PC_LEAN_ADDRS + 4);
	*pc_u32_at(&flow.sport, 0) = *pc_u32_at(data, PC_LEAN_PORTS);
	key.dport = flow.dport;
	/* A channel that has no place in pc3_hot4, or is not for the lean way. */
	if (pc_unlikely(bpf_map_lookup_elem(&pc3_flow4, &flow)))
		return PC_REASON_PASS_UNUSUAL;
	perm = bpf_map_lookup_elem(&pc3_perm4, &key);
	if (pc_unlikely(!perm))
		return PC_REASON_PASS_UNUSUAL;
	pc_lean_flow(&job->flow, perm, data, perm->dport);
	job->peer.port = flow.sport;
	job->peer.addr[0] = flow.saddr;
	job->lean.payload = job->lean.udp_len - sizeof(struct udphdr);
	job->tail = pc_stun_padding(job->lean.payload);
	return PC_REASON_TX;
}

/* Room for the indication in front and for padding behind. PASS_UNUSUAL: nothing was touched. */
static __always_inline enum pc_reason pc_lean_data_room(struct xdp_md *ctx, __u32 pad)
{
	if (pc_unlikely(pad && bpf_xdp_adjust_tail(ctx, (int)pad)))
		return PC_REASON_PASS_UNUSUAL;
	if (pc_likely(!bpf_xdp_adjust_head(ctx, -PC_STUN_INDICATION4)))
		return PC_REASON_TX;
	return pad && bpf_xdp_adjust_tail(ctx, -(int)pad) ? PC_REASON_DROP_INTERNAL
							  : PC_REASON_PASS_UNUSUAL;
}

/* The second step: PC_REASON_TX, PASS_UNUSUAL when nothing was touched, DROP_*. */
static __noinline int pc_lean_data_out(struct xdp_md *ctx)
{
	struct pc_plan plan = { .head_out = PC_STUN_INDICATION4 };
	struct pc_lean_job *job = pc_lean_job();
	struct pc_lean_way way;
	enum pc_reason reason;
	void *data, *end;
	__u32 len;

	if (!job)
		return PC_REASON_PASS_UNUSUAL;
	way.flow = &job->flow;
	len = sizeof(struct udphdr) + PC_STUN_INDICATION4 + job->lean.payload + job->tail;
	if (pc_unlikely(!pc_lean_admit(ctx, sizeof(struct iphdr) + len, &way, false, false)))
		return PC_REASON_PASS_UNUSUAL;
	reason = pc_lean_data_room(ctx, job->tail);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	reason = pc_lean_charge4(&job->lean, &way, sizeof(struct iphdr) + len, false);
	if (pc_unlikely(reason != PC_REASON_TX))
		return reason;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (pc_unlikely(data + PC_LEAN_STUN > end))
		return PC_REASON_DROP_INTERNAL;
	plan.payload = job->lean.payload;
	plan.pad_out = job->tail;
	if (pc_unlikely(plan.pad_out && !pc_rewrite_pad(data + PC_LEAN_PORTS, end, &plan)))
		return PC_REASON_DROP_INTERNAL;
	job->l4_sum = pc_stun_write_data(data + PC_LEAN_HEAD, &job->peer, job->lean.payload,
					 way.count->down.packets, false);
	pc_lean_write_udp(data, &job->lean, &way, job->l4_sum, len);
	return PC_REASON_TX;
}

#endif
