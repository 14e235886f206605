/* SPDX-License-Identifier: MIT */
/*
 * From a frame to IPv4 and UDP headers: Ethernet, up to two VLAN tags, IPv4, UDP. Reads only.
 */
#ifndef PC_LIB_PARSE_H
#define PC_LIB_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/relay.h"

#define PC_VLAN_TAGS   2
#define PC_IP_FRAGMENT 0x3fff /* more fragments, or an offset */
#define PC_IP_OFFSET   0x1fff
#define PC_IP_PLAIN    0x45 /* version 4, no options */
/* Longest datagram the program looks at: keeps every offset within what the verifier tracks. */
#define PC_UDP_LEN_MAX 0x7fff

/* Loads and stores of any alignment, of memory that has another type elsewhere. */
typedef __u16 __attribute__((may_alias)) pc_u16_alias;
typedef __u32 __attribute__((may_alias)) pc_u32_alias;
typedef __u64 __attribute__((may_alias)) pc_u64_alias;
#define pc_u16_at(base, at) ((pc_u16_alias *)((void *)(base) + (at)))
#define pc_u32_at(base, at) ((pc_u32_alias *)((void *)(base) + (at)))
#define pc_u64_at(base, at) ((pc_u64_alias *)((void *)(base) + (at)))

/* Four bytes of a header; halves in the order of memory. */
union pc_word {
	__u32 word;
	__u16 half[2];
};

struct pc_vlan {
	__be16 tci;
	__be16 proto;
};

/* The header in front of ChannelData (RFC 8656 section 12.4). */
struct pc_channel_data {
	__be16 channel;
	__be16 length;
};

struct pc_pkt {
	void *data;
	void *data_end;
	struct iphdr *ip;
	struct udphdr *udp; /* set only if plain */
	bool plain;	    /* no IP options and no fragment */
	__be16 dport;
};

/* The IPv4 header of the frame, or NULL. */
static __always_inline struct iphdr *pc_parse_link(const struct pc_pkt *pkt)
{
	void *next = pkt->data + sizeof(struct ethhdr);
	__be16 proto;

	if (next + sizeof(struct iphdr) + sizeof(struct udphdr) > pkt->data_end)
		return NULL;
	proto = *pc_u16_at(pkt->data, 12);
#pragma unroll
	for (int i = 0; i < PC_VLAN_TAGS; i++) {
		struct pc_vlan *vlan = next;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		next = vlan + 1;
		if (next + sizeof(struct iphdr) + sizeof(struct udphdr) > pkt->data_end)
			return NULL;
		proto = vlan->proto;
	}
	return proto == bpf_htons(ETH_P_IP) ? next : NULL;
}

/*
 * The port of a packet with options or of a first fragment, so that it can be counted if it is
 * ours. Later fragments carry no port and are nobody's.
 */
static __always_inline bool pc_parse_odd(struct pc_pkt *pkt)
{
	__u32 ip_len = pkt->ip->ihl * 4;
	struct udphdr *udp = (void *)pkt->ip + ip_len;

	if (pkt->ip->version != 4 || ip_len < sizeof(struct iphdr))
		return false;
	if (pkt->ip->frag_off & bpf_htons(PC_IP_OFFSET))
		return false;
	if ((void *)(udp + 1) > pkt->data_end)
		return false;
	pkt->dport = udp->dest;
	pkt->plain = false;
	return true;
}

/* False for everything that is not UDP over IPv4. */
static __always_inline bool pc_parse_udp4(struct xdp_md *ctx, struct pc_pkt *pkt)
{
	pkt->data = (void *)(long)ctx->data;
	pkt->data_end = (void *)(long)ctx->data_end;
	pkt->ip = pc_parse_link(pkt);
	if (!pkt->ip || pkt->ip->protocol != IPPROTO_UDP)
		return false;
	if (*(__u8 *)pkt->ip != PC_IP_PLAIN || (pkt->ip->frag_off & bpf_htons(PC_IP_FRAGMENT)))
		return pc_parse_odd(pkt);
	pkt->udp = (struct udphdr *)(pkt->ip + 1);
	pkt->dport = pkt->udp->dest;
	pkt->plain = true;
	return true;
}

/* Whether the frame, the IP header and the UDP header agree about the length of the datagram. */
static __always_inline bool pc_parse_consistent(const struct pc_pkt *pkt)
{
	__u32 udp_len = bpf_ntohs(pkt->udp->len);

	if (bpf_ntohs(pkt->ip->tot_len) != udp_len + sizeof(struct iphdr))
		return false;
	if (udp_len < sizeof(struct udphdr) || udp_len > PC_UDP_LEN_MAX)
		return false;
	/* Changes nothing, but Linux 6.1 knows no bounds of a swapped word. */
	asm volatile("%0 &= 0x7fff" : "+r"(udp_len));
	return (void *)pkt->udp + udp_len <= pkt->data_end;
}

#endif
