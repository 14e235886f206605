/* SPDX-License-Identifier: MIT */
/*
 * Reference model of the XDP relay: slow, on bytes, with every checksum computed in full. It takes
 * what the maps of a rig hold and says what must become of a frame.
 */
#ifndef PC_TESTS_BPF_MODEL_H
#define PC_TESTS_BPF_MODEL_H

#include "scene.h"

struct model {
	int verdict;
	int reason;
	struct frame out; /* what was passed or sent */
	/* One's complement sums that must be kept: 0xffff where the packet was right. */
	uint16_t ip_sum, udp_sum;
	size_t l2_len; /* of out */
	int up_slot, down_slot;
	uint64_t payload, up_wire, down_wire;
};

/* A packet on its way through the model. */
struct model_packet {
	const uint8_t *ip, *udp, *payload;
	size_t udp_len, len; /* len: of the payload */
	const struct pc_flow *first, *last;
	bool up;
};

static inline int model_stop(struct model *m, int verdict, int reason)
{
	m->verdict = verdict;
	m->reason = reason;
	return -1;
}

static inline const struct pc_flow *model_find(const struct rig *rig,
					       const struct pc_flow4_key *key)
{
	for (unsigned int i = rig->n_flows; i-- > 0;)
		if (!memcmp(&rig->flows[i].key, key, sizeof(*key)))
			return &rig->flows[i].value;
	return NULL;
}

/* The IPv4 header, or NULL. */
static inline const uint8_t *model_link(const struct frame *in)
{
	size_t at = 12;

	for (int tags = 0; tags < 2; tags++, at += 4) {
		uint16_t type = in->len >= at + 2 ? get16(in->bytes + at) : 0;

		if (type != 0x8100 && type != 0x88a8)
			break;
	}
	if (in->len < at + 2 + 28 || get16(in->bytes + at) != 0x0800)
		return NULL;
	return in->bytes + at + 2;
}

static inline bool model_is_service(const struct rig *rig, uint16_t port)
{
	for (int i = 0; i < PC_MAX_SERVICE_PORTS; i++)
		if (port && rig->rodata.service_ports[i] == port)
			return true;
	return false;
}

/* To which port, or -1 if that is none of the program's business. */
static inline int model_port(const struct rig *rig, const struct frame *in, const uint8_t *ip)
{
	size_t head = (ip[0] & 15) * 4u;
	uint16_t port;

	if (ip[0] >> 4 != 4 || head < 20 || ip[9] != 17 || (get16(ip + 6) & 0x1fff))
		return -1;
	if (ip + head + 8 > in->bytes + in->len)
		return -1;
	port = get16(ip + head + 2);
	if (model_is_service(rig, port))
		return port;
	return port >= rig->rodata.relay_low && port <= rig->rodata.relay_high ? port : -1;
}

static inline struct pc_flow4_key model_key(const struct model_packet *p)
{
	struct pc_flow4_key key = { 0 };

	memcpy(&key.saddr, p->ip + 12, 4);
	memcpy(&key.daddr, p->ip + 16, 4);
	memcpy(&key.sport, p->udp, 2);
	memcpy(&key.dport, p->udp + 2, 2);
	if (p->up)
		memcpy(&key.channel, p->payload, 2);
	return key;
}

static inline int model_flow(const struct rig *rig, const struct pc_flow4_key *key, uint64_t now,
			     const struct pc_flow **ret_flow, struct model *m)
{
	*ret_flow = model_find(rig, key);
	if (!*ret_flow)
		return model_stop(m, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	if (now >= (*ret_flow)->expires_ns)
		return model_stop(m, XDP_PASS, PC_REASON_PASS_EXPIRED);
	return 0;
}

static inline int model_hairpin(const struct rig *rig, struct model_packet *p, uint64_t now,
				struct model *m)
{
	struct pc_flow4_key key = {
		.saddr = p->first->saddr[0],
		.daddr = p->first->daddr[0],
		.sport = p->first->sport,
		.dport = p->first->dport,
	};

	return model_flow(rig, &key, now, &p->last, m);
}

/* Finds the flow or flows and the payload. */
static inline int model_lookup(const struct rig *rig, struct model_packet *p, uint64_t now,
			       struct model *m)
{
	struct pc_flow4_key key = model_key(p);
	size_t said;

	p->first = model_find(rig, &key);
	if (!p->first || (!p->up && (p->first->flags & PC_FLOW_HAIRPIN)))
		return model_stop(m, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	if (p->up) {
		said = get16(p->payload + 2);
		if (4 + said > p->len || p->len > 4 + (said + 3) / 4 * 4)
			return model_stop(m, XDP_DROP, PC_REASON_DROP_LENGTH);
		p->payload += 4;
		p->len = said;
	}
	if (model_flow(rig, &key, now, &p->first, m))
		return -1;
	if (p->ip[8] <= 1)
		return model_stop(m, XDP_DROP, PC_REASON_DROP_TTL);
	p->last = p->first;
	if (p->first->flags & PC_FLOW_HAIRPIN)
		return model_hairpin(rig, p, now, m);
	return 0;
}

/* Everything that is judged before a flow is looked for. */
static inline int model_classify(const struct rig *rig, const struct frame *in,
				 struct model_packet *p, struct model *m)
{
	int port;

	p->ip = model_link(in);
	port = p->ip ? model_port(rig, in, p->ip) : -1;
	if (port < 0)
		return model_stop(m, XDP_PASS, RIG_NO_REASON);
	if (p->ip[0] != 0x45 || (get16(p->ip + 6) & 0x3fff))
		return model_stop(m, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	p->udp = p->ip + 20;
	p->udp_len = get16(p->udp + 4);
	if (p->udp_len < 8 || get16(p->ip + 2) != 20 + p->udp_len ||
	    p->udp + p->udp_len > in->bytes + in->len)
		return model_stop(m, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	p->payload = p->udp + 8;
	p->len = p->udp_len - 8;
	p->up = model_is_service(rig, (uint16_t)port);
	if (!p->up)
		return 0;
	if (!p->len || p->payload[0] < 0x40 || p->payload[0] > 0x7f)
		return model_stop(m, XDP_PASS, PC_REASON_PASS_CONTROL);
	return p->len < 4 ? model_stop(m, XDP_DROP, PC_REASON_DROP_LENGTH) : 0;
}

/* What is sent, with right checksums, and the sums the real ones must have. */
static inline void model_build(struct model *m, const struct model_packet *p,
			       const struct pc_nexthop *nh)
{
	const struct pc_flow *to = p->last;
	size_t head = to->channel ? 4 : 0, udp_len = 8 + head + p->len;
	uint8_t *ip = m->out.bytes + nh->l2_len, *udp = ip + 20;
	uint16_t said = htons((uint16_t)p->len);

	m->ip_sum = frame_sum(p->ip, 20, 0);
	m->udp_sum = get16(p->udp + 6) ? frame_udp_sum(p->ip, p->udp, p->udp_len) : 0;
	m->l2_len = nh->l2_len;
	memcpy(m->out.bytes, nh->l2, nh->l2_len);
	memcpy(ip, p->ip, 20);
	ip[8]--;
	put16(ip + 2, (uint16_t)(20 + udp_len));
	memcpy(ip + 12, to->saddr, 4);
	memcpy(ip + 16, to->daddr, 4);
	frame_check_ip(ip);
	memcpy(udp, &to->sport, 2);
	memcpy(udp + 2, &to->dport, 2);
	put16(udp + 4, (uint16_t)udp_len);
	put16(udp + 6, 0);
	memcpy(udp + 8, &to->channel, head ? 2 : 0);
	memcpy(udp + 10, &said, head ? 2 : 0);
	memcpy(udp + 8 + head, p->payload, p->len);
	if (get16(p->udp + 6))
		frame_check_udp(ip, udp, udp_len);
	m->out.len = nh->l2_len + 20u + udp_len;
}

static inline void model_count(struct model *m, const struct model_packet *p)
{
	m->payload = p->len;
	if (p->up) {
		m->up_slot = (int)p->first->slot;
		m->up_wire = 28 + p->len;
	}
	if (p->last->channel) {
		m->down_slot = (int)p->last->slot;
		m->down_wire = 32 + p->len;
	}
}

static inline void model_run(const struct rig *rig, const struct frame *in, uint64_t now,
			     struct model *m)
{
	struct model_packet p = { 0 };
	const struct pc_nexthop_slot *slot;
	const struct pc_nexthop *nh;

	memset(m, 0, sizeof(*m));
	m->out = *in;
	m->up_slot = m->down_slot = -1;
	if (model_classify(rig, in, &p, m) || model_lookup(rig, &p, now, m))
		return;
	slot = &rig->nexthops[p.last->nexthop];
	nh = &slot->copy[slot->active];
	if (!nh->ifindex) {
		model_stop(m, XDP_PASS, PC_REASON_PASS_NEXTHOP);
		return;
	}
	if (28u + (p.last->channel ? 4 : 0) + p.len > nh->mtu) {
		model_stop(m, XDP_PASS, PC_REASON_PASS_MTU);
		return;
	}
	m->verdict = nh->ifindex == RIG_LO ? XDP_TX : XDP_REDIRECT;
	m->reason = nh->ifindex == RIG_LO ? PC_REASON_TX : PC_REASON_REDIRECT;
	model_build(m, &p, nh);
	model_count(m, &p);
}

/* Right checksums are compared as bytes; wrong ones must be wrong by as much as they were. */
static inline bool model_same(const struct model *m, const struct frame *got)
{
	struct frame copy = *got;
	uint8_t *ip = copy.bytes + m->l2_len, *udp = ip + 20;

	if (got->len != m->out.len)
		return false;
	if (m->verdict == XDP_TX || m->verdict == XDP_REDIRECT) {
		if (m->ip_sum != 0xffff) {
			if (frame_sum(ip, 20, 0) != m->ip_sum)
				return false;
			memcpy(ip + 10, m->out.bytes + m->l2_len + 10, 2);
		}
		if (m->udp_sum && m->udp_sum != 0xffff) {
			if (frame_udp_sum(ip, udp, get16(udp + 4)) != m->udp_sum)
				return false;
			memcpy(udp + 6, m->out.bytes + m->l2_len + 26, 2);
		}
	}
	return !memcmp(copy.bytes, m->out.bytes, copy.len);
}

#endif
