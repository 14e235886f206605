/* SPDX-License-Identifier: MIT */
/*
 * From a frame to its IP and UDP headers: Ethernet, up to two VLAN tags, IPv4 or IPv6, UDP. Reads
 * only. Functions that take the family get it as a constant: the compiler writes each out twice.
 */
#ifndef PC_LIB_PARSE_H
#define PC_LIB_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/relay.h"

#define pc_unlikely(x)	  __builtin_expect(!!(x), 0)
#define pc_likely(x)	  __builtin_expect(!!(x), 1)

#define PC_VLAN_TAGS	  2
#define PC_IP_FRAGMENT	  0x3fff /* more fragments, or an offset */
#define PC_IP_OFFSET	  0x1fff
#define PC_IP_PLAIN	  0x45 /* version 4, no options */
#define PC_IP6_VERSION	  6
#define PC_UDP_OFFSET_MAX 0x7fff
/*
 * Longest datagram the program looks at: keeps every offset, in what comes and in what is sent,
 * within what the verifier tracks.
 */
#define PC_UDP_LEN_MAX 0x7e00

/* Loads and stores of any alignment, of memory that has another type elsewhere. */
typedef __u16 __attribute__((may_alias)) pc_u16_alias;
typedef __u32 __attribute__((may_alias)) pc_u32_alias;
typedef __u64 __attribute__((may_alias)) pc_u64_alias;
#define pc_u16_at(base, at) ((pc_u16_alias *)((void *)(base) + (at)))
#define pc_u32_at(base, at) ((pc_u32_alias *)((void *)(base) + (at)))
#define pc_u64_at(base, at) ((pc_u64_alias *)((void *)(base) + (at)))

/* Changes nothing, but the verifier knows no bounds of a swapped word or a sum. */
#define pc_bound_offset(var) asm volatile("%0 &= 0x7fff" : "+r"(var))

/* Four bytes of a header; halves in the order of memory. */
union pc_word {
	__u32 word;
	__u16 half[2];
};

/* Two words as they lie in memory, in one. */
static __always_inline __u64 pc_pair(__u32 first, __u32 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (__u64)second << 32;
#else
	return (__u64)first << 32 | second;
#endif
}

struct pc_vlan {
	__be16 tci;
	__be16 proto;
};

struct pc_pkt {
	void *data;
	void *data_end;
	void *ip;
	struct udphdr *udp; /* set only if plain */
	__u32 l2_len;
	__u32 udp_len; /* set only if consistent */
	bool plain;    /* no IP options and no fragment */
	__be16 dport;
};

static __always_inline __u32 pc_ip_header(bool six)
{
	return six ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
}

/* Both addresses, one after the other; the ports follow at once where there are no options. */
static __always_inline const void *pc_pkt_addrs(const struct pc_pkt *pkt, bool six)
{
	return pkt->ip + (six ? 8 : 12);
}

/* TTL or hop limit. */
static __always_inline __u8 pc_pkt_ttl(const struct pc_pkt *pkt, bool six)
{
	return *(__u8 *)(pkt->ip + (six ? 7 : 8));
}

/* TOS or traffic class. */
static __always_inline __u8 pc_pkt_tos(const struct pc_pkt *pkt, bool six)
{
	return six ? bpf_ntohl(*pc_u32_at(pkt->ip, 0)) >> 20 : ((__u8 *)pkt->ip)[1];
}

/* Bytes of the frame. In 64 bits: the verifier wants no shorter arithmetic on pointers. */
static __always_inline __u64 pc_pkt_len(const struct pc_pkt *pkt)
{
	__u64 len = pkt->data_end - pkt->data;

	asm volatile("" : "+r"(len));
	return len;
}

/* Finds the IP header. Returns the EtherType, 0 if the frame is too short for IPv4 and UDP. */
static __always_inline __be16 pc_parse_link(struct xdp_md *ctx, struct pc_pkt *pkt)
{
	void *next;
	__be16 proto;

	pkt->data = (void *)(long)ctx->data;
	pkt->data_end = (void *)(long)ctx->data_end;
	pkt->l2_len = sizeof(struct ethhdr);
	next = pkt->data + sizeof(struct ethhdr);
	if (pc_unlikely(next + sizeof(struct iphdr) + sizeof(struct udphdr) > pkt->data_end))
		return 0;
	proto = *pc_u16_at(pkt->data, 12);
#pragma unroll
	for (int i = 0; i < PC_VLAN_TAGS; i++) {
		struct pc_vlan *vlan = next;

		if (pc_likely(proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD)))
			break;
		next = vlan + 1;
		pkt->l2_len += sizeof(*vlan);
		if (pc_unlikely(next + sizeof(struct iphdr) + sizeof(struct udphdr) >
				pkt->data_end))
			return 0;
		proto = vlan->proto;
	}
	pkt->ip = next;
	return proto;
}

/*
 * The port of a packet with options or of a first fragment, so that it can be counted if it is
 * ours. Later fragments carry no port and are nobody's.
 */
static __always_inline bool pc_parse_odd(struct pc_pkt *pkt)
{
	struct iphdr *ip = pkt->ip;
	__u32 ip_len = ip->ihl * 4;
	struct udphdr *udp = (void *)ip + ip_len;

	if (pc_unlikely(ip->version != 4 || ip_len < sizeof(struct iphdr)))
		return false;
	if (pc_unlikely(ip->frag_off & bpf_htons(PC_IP_OFFSET)))
		return false;
	if (pc_unlikely((void *)(udp + 1) > pkt->data_end))
		return false;
	pkt->dport = udp->dest;
	pkt->plain = false;
	return true;
}

/* False for everything that is not UDP over IPv4. */
static __always_inline bool pc_parse_udp4(struct pc_pkt *pkt)
{
	struct iphdr *ip = pkt->ip;

	if (pc_unlikely(ip->protocol != IPPROTO_UDP))
		return false;
	if (pc_unlikely(*(__u8 *)ip != PC_IP_PLAIN || (ip->frag_off & bpf_htons(PC_IP_FRAGMENT))))
		return pc_parse_odd(pkt);
	pkt->udp = (struct udphdr *)(ip + 1);
	pkt->dport = pkt->udp->dest;
	pkt->plain = true;
	return true;
}

/* False for everything that is not UDP over IPv6; behind extension headers it is not looked for. */
static __always_inline bool pc_parse_udp6(struct pc_pkt *pkt)
{
	struct ipv6hdr *ip = pkt->ip;

	if (pc_unlikely((void *)(ip + 1) + sizeof(struct udphdr) > pkt->data_end))
		return false;
	if (pc_unlikely(ip->nexthdr != IPPROTO_UDP || ip->version != PC_IP6_VERSION))
		return false;
	pkt->udp = (struct udphdr *)(ip + 1);
	pkt->dport = pkt->udp->dest;
	pkt->plain = true;
	return true;
}

/* Whether the frame, the IP header and the UDP header agree about the length of the datagram. */
static __always_inline bool pc_parse_consistent(struct pc_pkt *pkt, bool six)
{
	__u32 ip_len = six ? bpf_ntohs(((struct ipv6hdr *)pkt->ip)->payload_len)
			   : bpf_ntohs(((struct iphdr *)pkt->ip)->tot_len) - sizeof(struct iphdr);
	__u32 udp_len = bpf_ntohs(pkt->udp->len);

	if (pc_unlikely(ip_len != udp_len))
		return false;
	if (pc_unlikely(udp_len < sizeof(struct udphdr) || udp_len > PC_UDP_LEN_MAX))
		return false;
	pc_bound_offset(udp_len);
	pkt->udp_len = udp_len;
	return (void *)pkt->udp + udp_len <= pkt->data_end;
}

#endif
