/* SPDX-License-Identifier: MIT */
/* ARP (RFC 826) and neighbour discovery (RFC 4861) frames. */
#include <net/if_arp.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "base/wire.h"
#include "daemon/probe.h"

#define ICMP6_NEIGHBOUR_SOLICITATION  135
#define ICMP6_NEIGHBOUR_ADVERTISEMENT 136
#define IP6_LEN			      40
#define NS_LEN			      32 /* with the source link-layer address option */
#define NA_MIN_LEN		      24

static void write_ethernet(struct pc_writer *w, const uint8_t *dst, const uint8_t *src,
			   uint16_t type)
{
	pc_write_bytes(w, dst, ETH_ALEN);
	pc_write_bytes(w, src, ETH_ALEN);
	pc_write_u16(w, type);
}

static size_t arp_request(const struct pc_probe_question *q, struct pc_writer *w)
{
	static const uint8_t everyone[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	write_ethernet(w, everyone, q->mac, ETH_P_ARP);
	pc_write_u16(w, ARPHRD_ETHER);
	pc_write_u16(w, ETH_P_IP);
	pc_write_u8(w, ETH_ALEN);
	pc_write_u8(w, 4);
	pc_write_u16(w, ARPOP_REQUEST);
	pc_write_bytes(w, q->mac, ETH_ALEN);
	pc_write_bytes(w, q->source.b, 4);
	pc_write_zero(w, ETH_ALEN);
	pc_write_bytes(w, q->target.b, 4);
	return w->len;
}

static uint16_t checksum(uint32_t sum, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(data[i] << 8 | data[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t neighbour_solicitation(const struct pc_probe_question *q, struct pc_writer *w)
{
	const uint8_t *t = q->target.b;
	const uint8_t mac[ETH_ALEN] = { 0x33, 0x33, 0xff, t[13], t[14], t[15] };
	const uint8_t group[16] = { 0xff, 0x02, 0, 0, 0,    0,	   0,	  0,
				    0,	  0,	0, 1, 0xff, t[13], t[14], t[15] };
	size_t ip = ETH_HLEN, icmp = ETH_HLEN + IP6_LEN;

	write_ethernet(w, mac, q->mac, ETH_P_IPV6);
	pc_write_u32(w, 6u << 28);
	pc_write_u16(w, NS_LEN);
	pc_write_u8(w, IPPROTO_ICMPV6);
	pc_write_u8(w, 255);
	pc_write_bytes(w, q->source.b, 16);
	pc_write_bytes(w, group, 16);
	pc_write_u8(w, ICMP6_NEIGHBOUR_SOLICITATION);
	pc_write_zero(w, 7);
	pc_write_bytes(w, t, 16);
	pc_write_u8(w, 1); /* option: source link-layer address, one unit of 8 bytes */
	pc_write_u8(w, 1);
	pc_write_bytes(w, q->mac, ETH_ALEN);
	/* Pseudo header: addresses (8 bytes into the IP header), length, next header. */
	pc_write_patch_u16(w, icmp + 2,
			   checksum(NS_LEN + IPPROTO_ICMPV6, w->data + ip + 8, 32 + NS_LEN));
	return w->len;
}

size_t pc_probe_frame(const struct pc_probe_question *q, uint8_t buf[static PC_PROBE_FRAME_MAX])
{
	struct pc_writer w;

	pc_writer_init(&w, buf, PC_PROBE_FRAME_MAX);
	return q->target.family == 4 ? arp_request(q, &w) : neighbour_solicitation(q, &w);
}

static bool is_arp_reply(const struct pc_probe_question *q, struct pc_reader *r)
{
	static const uint8_t head[] = { 0, ARPHRD_ETHER, 8, 0, ETH_ALEN, 4, 0, ARPOP_REPLY };
	const uint8_t *got = pc_read_bytes(r, sizeof(head));
	const uint8_t *sender, *target;

	pc_read_skip(r, ETH_ALEN);
	sender = pc_read_bytes(r, 4);
	target = pc_read_bytes(r, ETH_ALEN);
	return !r->failed && memcmp(got, head, sizeof(head)) == 0 &&
	       memcmp(sender, q->target.b, 4) == 0 && memcmp(target, q->mac, ETH_ALEN) == 0;
}

static bool is_advertisement(const struct pc_probe_question *q, struct pc_reader *r)
{
	const uint8_t *ip = pc_read_bytes(r, IP6_LEN);
	const uint8_t *icmp = pc_read_bytes(r, NA_MIN_LEN);

	/* Hop limit 255: it comes from this link. */
	return !r->failed && ip[6] == IPPROTO_ICMPV6 && ip[7] == 255 &&
	       icmp[0] == ICMP6_NEIGHBOUR_ADVERTISEMENT && memcmp(icmp + 8, q->target.b, 16) == 0;
}

bool pc_probe_is_answer(const struct pc_probe_question *q, const uint8_t *frame, size_t len)
{
	struct pc_reader r;
	const uint8_t *dst;
	uint16_t type;

	pc_reader_init(&r, frame, len);
	dst = pc_read_bytes(&r, ETH_ALEN);
	pc_read_skip(&r, ETH_ALEN);
	type = pc_read_u16(&r);
	/* Only what was sent to us: an answer to somebody else says nothing about our way. */
	if (r.failed || memcmp(dst, q->mac, ETH_ALEN) != 0)
		return false;
	if (q->target.family == 4)
		return type == ETH_P_ARP && is_arp_reply(q, &r);
	return type == ETH_P_IPV6 && is_advertisement(q, &r);
}
