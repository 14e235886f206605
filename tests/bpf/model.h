/* SPDX-License-Identifier: MIT */
/*
 * Reference model of the XDP relay: slow, on bytes, with every checksum computed in full. It takes
 * what the maps of a rig hold and says what must become of a frame.
 */
#ifndef PC_TESTS_BPF_MODEL_H
#define PC_TESTS_BPF_MODEL_H

#include "scene.h"

/* An address and port as they lie in a packet. */
struct model_end {
	bool six;
	uint8_t addr[16];
	uint8_t port[2];
};

/* What is sent to whom, found in the maps. */
struct model_hop {
	struct model_end from, to;
	uint8_t channel[2];
	bool has_channel;
	uint16_t flags;
	uint32_t slot, nexthop, tenant;
	uint64_t expires_ns;
	bool indication; /* a Data indication, from @peer */
	struct model_end peer;
};

/* A packet on its way through the model. */
struct model_packet {
	struct model_end from, to;
	const uint8_t *ip, *udp, *payload;
	size_t udp_len, len; /* len: of the payload */
	bool six, up;
	struct model_hop first, last;
};

struct model {
	int verdict;
	int reason;
	struct frame out; /* what was passed or sent */
	bool sent, anew;  /* anew: an IPv4 header of our own */
	/* One's complement sums that must be kept: 0xffff where the packet was right. */
	uint16_t ip_sum, udp_sum;
	const struct pc_nexthop *nh;
	struct model_packet packet;
	uint8_t tos;	  /* as it is sent */
	int refused_slot; /* whose limits dropped it */
	int up_slot, down_slot;
	uint64_t payload, up_wire, down_wire;
};

static inline int model_stop(struct model *m, int verdict, int reason)
{
	m->verdict = verdict;
	m->reason = reason;
	return -1;
}

static inline struct model_end model_end(bool six, const void *addr, const void *port)
{
	struct model_end end = { .six = six };

	memcpy(end.addr, addr, six ? 16 : 4);
	memcpy(end.port, port, 2);
	return end;
}

/* --- the maps --- */

/* In the order of struct pc_flow4_key or struct pc_flow6_key. */
static inline size_t model_key(uint8_t key[40], const struct model_end *from,
			       const struct model_end *to, const uint8_t channel[2])
{
	size_t n = from->six ? 16 : 4;

	memset(key, 0, 40);
	memcpy(key, from->addr, n);
	memcpy(key + n, to->addr, n);
	memcpy(key + 2 * n, from->port, 2);
	memcpy(key + 2 * n + 2, to->port, 2);
	if (channel)
		memcpy(key + 2 * n + 4, channel, 2);
	return 2 * n + 8;
}

static inline bool model_find_flow(const struct rig *rig, const struct model_end *from,
				   const struct model_end *to, const uint8_t *channel,
				   struct model_hop *hop)
{
	uint8_t key[40];
	size_t n = model_key(key, from, to, channel);

	for (unsigned int i = rig->n_flows; i-- > 0;) {
		const struct rig_flow *f = &rig->flows[i];
		bool out6 = f->value.flags & PC_FLOW_OUT6;

		if (f->six != from->six || memcmp(&f->key, key, n))
			continue;
		*hop = (struct model_hop){
			.from = model_end(out6, f->value.saddr, &f->value.sport),
			.to = model_end(out6, f->value.daddr, &f->value.dport),
			.has_channel = f->value.channel,
			.flags = f->value.flags,
			.slot = f->value.slot,
			.nexthop = f->value.nexthop,
			.tenant = f->value.tenant,
			.expires_ns = f->value.expires_ns,
		};
		memcpy(hop->channel, &f->value.channel, 2);
		return true;
	}
	return false;
}

static inline void model_map(uint8_t to[16], const struct model_end *end)
{
	memset(to, 0, 16);
	to[10] = to[11] = 0xff;
	memcpy(end->six ? to : to + 12, end->addr, end->six ? 16 : 4);
}

/* Whether a permission of pc4_perm6 is in truth one of IPv4 only. */
static inline bool model_perm_key(const struct rig_perm *p, const struct model_end *from,
				  const struct model_end *to, const struct model_end *peer)
{
	struct pc_perm6_key six = { 0 };
	struct pc_perm4_key four = { 0 };

	if (p->six) {
		model_map((uint8_t *)six.saddr, from);
		model_map((uint8_t *)six.daddr, to);
		if (peer)
			model_map((uint8_t *)six.peer, peer);
		memcpy(&six.sport, peer ? from->port : (uint8_t[2]){ 0 }, 2);
		memcpy(&six.dport, to->port, 2);
		return !memcmp(&p->key.v6, &six, sizeof(six));
	}
	if (from->six || (peer && peer->six))
		return false;
	memcpy(&four.saddr, from->addr, 4);
	memcpy(&four.daddr, to->addr, 4);
	if (peer)
		memcpy(&four.peer, peer->addr, 4);
	memcpy(&four.sport, peer ? from->port : (uint8_t[2]){ 0 }, 2);
	memcpy(&four.dport, to->port, 2);
	return !memcmp(&p->key.v4, &four, sizeof(four));
}

/* @peer: out of a Send indication; NULL on the way down. */
static inline bool model_find_perm(const struct rig *rig, const struct model_end *from,
				   const struct model_end *to, const struct model_end *peer,
				   struct model_hop *hop)
{
	for (unsigned int i = rig->n_perms; i-- > 0;) {
		const struct rig_perm *p = &rig->perms[i];
		bool out6 = p->value.flags & PC_FLOW_OUT6;
		int at = p->six && !out6 ? 3 : 0;

		if (!model_perm_key(p, from, to, peer))
			continue;
		*hop = (struct model_hop){
			.from = model_end(out6, p->value.saddr + at, &p->value.sport),
			.to = model_end(out6, p->value.daddr + at,
					peer ? (const void *)peer->port : &p->value.dport),
			.flags = p->value.flags,
			.slot = p->value.slot,
			.nexthop = p->value.nexthop,
			.tenant = p->value.tenant,
			.expires_ns = p->value.expires_ns,
			.indication = !peer,
			.peer = *from,
		};
		return true;
	}
	return false;
}

static inline bool model_find_port(const struct rig *rig, const struct model_end *to)
{
	struct pc_port_key key = { 0 };

	model_map((uint8_t *)key.addr, to);
	memcpy(&key.port, to->port, 2);
	for (unsigned int i = 0; i < rig->n_ports; i++)
		if (!memcmp(&rig->ports[i], &key, sizeof(key)))
			return true;
	return false;
}

/* --- what arrives --- */

/* The IP header, or NULL. */
static inline const uint8_t *model_link(const struct frame *in, uint16_t *ret_type)
{
	size_t at = 12;

	for (int tags = 0; tags < 2; tags++, at += 4) {
		uint16_t type = in->len >= at + 2 ? get16(in->bytes + at) : 0;

		if (type != 0x8100 && type != 0x88a8)
			break;
	}
	if (in->len < at + 2 + 28)
		return NULL;
	*ret_type = get16(in->bytes + at);
	return in->bytes + at + 2;
}

static inline bool model_is_service(const struct rig *rig, uint16_t port)
{
	for (int i = 0; i < PC_MAX_SERVICE_PORTS; i++)
		if (port && rig->rodata.service_ports[i] == port)
			return true;
	return false;
}

/* The UDP header, or NULL. */
static inline const uint8_t *model_udp(const struct frame *in, const uint8_t *ip, uint16_t type)
{
	const uint8_t *end = in->bytes + in->len;
	size_t head = (ip[0] & 15) * 4u;

	if (type == 0x86dd)
		return ip[0] >> 4 == 6 && ip + 48 <= end && ip[6] == 17 ? ip + 40 : NULL;
	if (type != 0x0800 || ip[0] >> 4 != 4 || head < 20 || ip[9] != 17 ||
	    (get16(ip + 6) & 0x1fff) || ip + head + 8 > end)
		return NULL;
	return ip + head;
}

/* A Send indication of the form that the kernel handles: its peer and payload. */
static inline bool model_send(struct model_packet *p, struct model_end *ret_peer)
{
	const uint8_t *msg = p->payload, *peer = NULL, *data = NULL;
	uint8_t mask[16];
	size_t at = 20;

	if (p->len < 20 || get16(msg) != 0x0016 || get16(msg + 2) != p->len - 20 ||
	    get32(msg + 4) != 0x2112a442)
		return false;
	memcpy(mask, msg + 4, 16);
	while (at < p->len) {
		size_t len = at + 4 <= p->len ? get16(msg + at + 2) : 0;
		uint16_t type = at + 4 <= p->len ? get16(msg + at) : 0;

		if (at + 4 + (len + 3) / 4 * 4 > p->len)
			return false;
		if (type == 0x0012 && !peer)
			peer = msg + at;
		else if (type == 0x0013 && !data)
			data = msg + at;
		else if (type != 0x8028 || len != 4 || at + 8 != p->len || data < peer)
			return false;
		at += 4 + (len + 3) / 4 * 4;
	}
	if (at != p->len || !peer || !data)
		return false;
	if (!(peer[5] == 1 && get16(peer + 2) == 8) && !(peer[5] == 2 && get16(peer + 2) == 20))
		return false;
	*ret_peer = model_end(peer[5] == 2, peer + 8, peer + 6);
	for (int i = 0; i < 16; i++)
		ret_peer->addr[i] ^= i < 4 || ret_peer->six ? mask[i] : 0;
	ret_peer->port[0] ^= 0x21;
	ret_peer->port[1] ^= 0x12;
	p->payload = data + 4;
	p->len = get16(data + 2);
	return true;
}

/* The rule of user space, with its table. */
static inline bool model_port_allowed(uint16_t port)
{
	static const uint16_t denied[] = {
#define PC_POLICY_DENY(prefix, source)
#define PC_POLICY_DENY_PORT(number, service) number,
#include "relay/policy_rules.def"
#undef PC_POLICY_DENY
#undef PC_POLICY_DENY_PORT
	};

	for (size_t i = 0; i < RIG_COUNT(denied); i++)
		if (denied[i] == port)
			return false;
	return port >= 1024 || port == 443;
}

/* Everything that is judged before a flow is looked for. */
static inline int model_classify(const struct rig *rig, const struct frame *in,
				 struct model_packet *p, struct model *m)
{
	uint16_t port, type = 0;

	p->ip = model_link(in, &type);
	p->udp = p->ip ? model_udp(in, p->ip, type) : NULL;
	port = p->udp ? get16(p->udp + 2) : 0;
	p->up = model_is_service(rig, port);
	if (!p->udp || (!p->up && (port < rig->rodata.relay_low || port > rig->rodata.relay_high)))
		return model_stop(m, XDP_PASS, RIG_NO_REASON);
	p->six = type == 0x86dd;
	if (!p->six && (p->ip[0] != 0x45 || (get16(p->ip + 6) & 0x3fff)))
		return model_stop(m, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	p->udp_len = get16(p->udp + 4);
	if (p->udp_len < 8 || p->udp + p->udp_len > in->bytes + in->len ||
	    get16(p->ip + (p->six ? 4 : 2)) != p->udp_len + (p->six ? 0 : 20))
		return model_stop(m, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	p->payload = p->udp + 8;
	p->len = p->udp_len - 8;
	p->from = model_end(p->six, p->ip + (p->six ? 8 : 12), p->udp);
	p->to = model_end(p->six, p->ip + (p->six ? 24 : 16), p->udp + 2);
	return 0;
}

/* --- what becomes of it --- */

static inline int model_usable(const struct model_hop *hop, bool up, uint64_t now, struct model *m)
{
	if (!(hop->flags & PC_FLOW_UP) == up || (!up && !hop->indication && !hop->has_channel))
		return model_stop(m, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	if (now >= hop->expires_ns)
		return model_stop(m, XDP_PASS, PC_REASON_PASS_EXPIRED);
	return 0;
}

/* To a tenant: by a channel, else as an indication. */
static inline bool model_find_down(const struct rig *rig, const struct model_end *from,
				   const struct model_end *to, struct model_hop *hop)
{
	return model_find_flow(rig, from, to, NULL, hop) ||
	       model_find_perm(rig, from, to, NULL, hop);
}

static inline int model_peer(const struct rig *rig, struct model_packet *p, uint64_t now,
			     struct model *m)
{
	bool found = model_find_down(rig, &p->from, &p->to, &p->last);

	/* What has a hairpin channel may still have a permission, of the same kind. */
	if (!found || (p->last.flags & PC_FLOW_HAIRPIN))
		return model_find_port(rig, &p->to)
			       ? model_stop(m, XDP_DROP, PC_REASON_DROP_NO_PERMISSION)
			       : model_stop(m, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	if (model_usable(&p->last, false, now, m))
		return -1;
	return p->ip[p->six ? 7 : 8] <= 1 ? model_stop(m, XDP_DROP, PC_REASON_DROP_TTL) : 0;
}

static inline int model_channel_data(const struct rig *rig, struct model_packet *p, struct model *m)
{
	size_t said;

	if (p->len < 4)
		return model_stop(m, XDP_DROP, PC_REASON_DROP_LENGTH);
	if (!model_find_flow(rig, &p->from, &p->to, p->payload, &p->first))
		return model_stop(m, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	said = get16(p->payload + 2);
	if (4 + said > p->len || p->len > 4 + (said + 3) / 4 * 4)
		return model_stop(m, XDP_DROP, PC_REASON_DROP_LENGTH);
	p->payload += 4;
	p->len = said;
	return 0;
}

static inline int model_tenant(const struct rig *rig, struct model_packet *p, uint64_t now,
			       struct model *m)
{
	struct model_end peer;

	if (p->len && p->payload[0] >= 0x40 && p->payload[0] <= 0x7f) {
		if (model_channel_data(rig, p, m))
			return -1;
	} else if (!model_send(p, &peer) || !model_port_allowed(get16(peer.port)) ||
		   !model_find_perm(rig, &p->from, &p->to, &peer, &p->first)) {
		return model_stop(m, XDP_PASS, PC_REASON_PASS_CONTROL);
	}
	if (model_usable(&p->first, true, now, m))
		return -1;
	if (p->ip[p->six ? 7 : 8] <= 1)
		return model_stop(m, XDP_DROP, PC_REASON_DROP_TTL);
	p->last = p->first;
	if (!(p->first.flags & PC_FLOW_HAIRPIN))
		return 0;
	if (!model_find_down(rig, &p->first.from, &p->first.to, &p->last))
		return model_stop(m, XDP_PASS, PC_REASON_PASS_NO_FLOW);
	return model_usable(&p->last, false, now, m);
}

/* What stands in front of the payload; @txid as the program chose it. */
static inline size_t model_head(uint8_t *at, const struct model_packet *p, const uint8_t *txid)
{
	const struct model_hop *to = &p->last;
	size_t n = to->peer.six ? 16 : 4;
	uint8_t mask[16];

	if (to->has_channel) {
		memcpy(at, to->channel, 2);
		put16(at + 2, (uint16_t)p->len);
		return 4;
	}
	if (!to->indication)
		return 0;
	put32(mask, 0x2112a442);
	memcpy(mask + 4, txid, 12);
	put16(at, 0x0017);
	put16(at + 2, (uint16_t)(8 + n + 4 + (p->len + 3) / 4 * 4));
	memcpy(at + 4, mask, 16);
	put16(at + 20, 0x0012);
	put16(at + 22, (uint16_t)(4 + n));
	put16(at + 24, to->peer.six ? 2 : 1);
	put16(at + 26, get16(to->peer.port) ^ 0x2112);
	for (size_t i = 0; i < n; i++)
		at[28 + i] = to->peer.addr[i] ^ mask[i];
	put16(at + 28 + n, 0x0013);
	put16(at + 30 + n, (uint16_t)p->len);
	return 32 + n;
}

static inline size_t model_udp_len(const struct model_packet *p)
{
	size_t n = p->last.peer.six ? 16 : 4;

	if (p->last.indication)
		return 8 + 32 + n + (p->len + 3) / 4 * 4;
	return 8 + (p->last.has_channel ? 4 : 0) + p->len;
}

static inline size_t model_ip(uint8_t *ip, const struct model *m, size_t udp_len, uint16_t id)
{
	const struct model_packet *p = &m->packet;
	const struct model_hop *to = &p->last;
	uint8_t ttl = (uint8_t)(p->ip[p->six ? 7 : 8] - 1);

	if (to->from.six) {
		put32(ip, 6u << 28 | (uint32_t)m->tos << 20);
		put16(ip + 4, (uint16_t)udp_len);
		ip[6] = 17;
		ip[7] = ttl;
		memcpy(ip + 8, to->from.addr, 16);
		memcpy(ip + 24, to->to.addr, 16);
		return 40;
	}
	memset(ip, 0, 20);
	if (!p->six)
		memcpy(ip + 4, p->ip + 4, 4);
	if (m->anew)
		put32(ip + 4, (uint32_t)id << 16);
	ip[0] = 0x45;
	ip[1] = m->tos;
	put16(ip + 2, (uint16_t)(20 + udp_len));
	ip[8] = ttl;
	ip[9] = 17;
	memcpy(ip + 12, to->from.addr, 4);
	memcpy(ip + 16, to->to.addr, 4);
	frame_check_ip(ip);
	return 20;
}

/* What is sent, with right checksums. @txid, @id: what the program may choose. */
static inline void model_build(struct model *m, const uint8_t *txid, uint16_t id)
{
	const struct model_packet *p = &m->packet;
	size_t udp_len = model_udp_len(p), ip_len, head;
	uint8_t *ip = m->out.bytes + m->nh->l2_len, *udp;

	memcpy(m->out.bytes, m->nh->l2, m->nh->l2_len);
	ip_len = model_ip(ip, m, udp_len, id);
	udp = ip + ip_len;
	memset(udp, 0, udp_len);
	memcpy(udp, p->last.from.port, 2);
	memcpy(udp + 2, p->last.to.port, 2);
	put16(udp + 4, (uint16_t)udp_len);
	head = model_head(udp + 8, p, txid);
	memcpy(udp + 8 + head, p->payload, p->len);
	if (get16(p->udp + 6))
		frame_check_udp(ip, udp, udp_len);
	m->out.len = m->nh->l2_len + ip_len + udp_len;
}

static inline void model_count(struct model *m)
{
	const struct model_packet *p = &m->packet;

	m->payload = p->len;
	if (p->up) {
		m->up_slot = (int)p->first.slot;
		m->up_wire = (p->first.from.six ? 48 : 28) + p->len;
	}
	if (!p->up || (p->first.flags & PC_FLOW_HAIRPIN)) {
		m->down_slot = (int)p->last.slot;
		m->down_wire = (p->last.from.six ? 40 : 20) + model_udp_len(p);
	}
}

/* One side: its rate, its credit, its DSCP. */
static inline int model_charge(const struct rig *rig, const struct model_hop *hop,
			       uint32_t direction, struct model *m)
{
	uint32_t index = pc_rate_index(hop->tenant, direction);
	const struct pc_rate *rate = &rig->rates[index];

	m->refused_slot = (int)hop->slot;
	if (hop->tenant && rig->full[index])
		return model_stop(m, XDP_DROP, PC_REASON_DROP_RATE);
	if (rig->broke[hop->slot] && m->packet.len)
		return model_stop(m, XDP_DROP, PC_REASON_DROP_CREDIT);
	if (hop->tenant && (rate->flags & PC_RATE_SET_DSCP))
		m->tos = (uint8_t)(rate->dscp << 2 | (m->tos & 3));
	m->refused_slot = -1;
	return 0;
}

static inline int model_admit(const struct rig *rig, struct model *m)
{
	const struct model_packet *p = &m->packet;

	m->tos = p->six ? (uint8_t)(get16(p->ip) >> 4) : p->ip[1];
	if (p->up && model_charge(rig, &p->first, PC_RATE_UP, m))
		return -1;
	if (!p->up || (p->first.flags & PC_FLOW_HAIRPIN))
		return model_charge(rig, &p->last, PC_RATE_DOWN, m);
	return 0;
}

/* The last that can be in the way. */
static inline int model_leave(const struct rig *rig, struct model *m)
{
	const struct model_packet *p = &m->packet;
	const struct pc_nexthop_slot *slot = &rig->nexthops[p->last.nexthop];
	bool out6 = p->last.from.six;

	m->nh = &slot->copy[slot->active];
	m->anew = !out6 && (p->six || (p->up && p->first.from.six));
	if (!m->nh->ifindex)
		return model_stop(m, XDP_PASS, PC_REASON_PASS_NEXTHOP);
	if ((out6 ? 40 : 20) + model_udp_len(p) > m->nh->mtu)
		return model_stop(m, XDP_PASS, PC_REASON_PASS_MTU);
	if ((p->six || out6) && !get16(p->udp + 6))
		return model_stop(m, XDP_PASS, PC_REASON_PASS_CHECKSUM);
	m->ip_sum = p->six ? 0xffff : frame_sum(p->ip, 20, 0);
	if ((out6 || m->anew) && m->ip_sum != 0xffff)
		return model_stop(m, XDP_PASS, PC_REASON_PASS_UNUSUAL);
	m->udp_sum = get16(p->udp + 6) ? frame_udp_sum(p->ip, p->udp, p->udp_len) : 0;
	return 0;
}

/* @in must outlive @m. */
static inline void model_run(const struct rig *rig, const struct frame *in, uint64_t now,
			     struct model *m)
{
	static const uint8_t txid[12];
	struct model_packet *p = &m->packet;

	memset(m, 0, sizeof(*m));
	m->out = *in;
	m->up_slot = m->down_slot = m->refused_slot = -1;
	if (model_classify(rig, in, p, m))
		return;
	if ((p->up ? model_tenant(rig, p, now, m) : model_peer(rig, p, now, m)) ||
	    model_admit(rig, m) || model_leave(rig, m))
		return;
	m->sent = true;
	m->verdict = m->nh->ifindex == RIG_LO ? XDP_TX : XDP_REDIRECT;
	m->reason = m->nh->ifindex == RIG_LO ? PC_REASON_TX : PC_REASON_REDIRECT;
	model_build(m, txid, 0);
	model_count(m);
}

/*
 * Right checksums are compared as bytes; wrong ones must be wrong by as much as they were. Random
 * numbers are whatever they are.
 */
static inline bool model_same(struct model *m, const struct frame *got)
{
	struct frame copy = *got;
	uint8_t *ip, *udp;
	bool out6 = m->packet.last.from.six;

	if (got->len != m->out.len)
		return false;
	if (!m->sent)
		return !memcmp(got->bytes, m->out.bytes, got->len);
	ip = copy.bytes + m->nh->l2_len;
	udp = ip + (out6 ? 40 : 20);
	model_build(m, udp + 16, get16(ip + 4));
	if (!out6 && m->ip_sum != 0xffff) {
		if (frame_sum(ip, 20, 0) != m->ip_sum)
			return false;
		memcpy(ip + 10, m->out.bytes + m->nh->l2_len + 10, 2);
	}
	if (m->udp_sum && m->udp_sum != 0xffff) {
		if (frame_udp_sum(ip, udp, get16(udp + 4)) != m->udp_sum)
			return false;
		memcpy(udp + 6, m->out.bytes + (udp - copy.bytes) + 6, 2);
	}
	return !memcmp(copy.bytes, m->out.bytes, copy.len);
}

#endif
