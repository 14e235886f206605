/* SPDX-License-Identifier: MIT */
/*
 * What the program reads and writes of STUN (RFC 8489 section 5) and TURN indications (RFC 8656
 * section 11): Send indications of exactly two attributes, in either order, or with a FINGERPRINT.
 */
#ifndef PC_LIB_STUN_H
#define PC_LIB_STUN_H

#include "lib/csum.h"
#include "lib/parse.h"

#define PC_STUN_COOKIE	    0x2112a442
#define PC_STUN_PORT_MASK   0x2112
#define PC_STUN_HEADER	    20
#define PC_STUN_ATTR	    4 /* type and length of an attribute */
#define PC_STUN_BINDING	    0x0001
#define PC_STUN_SEND	    0x0016
#define PC_STUN_DATA	    0x0017
#define PC_STUN_BOUND	    0x0101 /* Binding success */
#define PC_ATTR_PEER	    0x0012 /* XOR-PEER-ADDRESS */
#define PC_ATTR_DATA	    0x0013
#define PC_ATTR_MAPPED	    0x0020 /* XOR-MAPPED-ADDRESS */
#define PC_ATTR_SOFTWARE    0x8022
#define PC_ATTR_FINGERPRINT 0x8028
#define PC_FAMILY_4	    1
#define PC_FAMILY_6	    2
/* An address attribute: its header, a zero byte, the family, the port, the address. */
#define PC_STUN_ADDR4	    12
#define PC_STUN_ADDR6	    24
#define PC_STUN_FINGERPRINT 8
/* In front of the data of an indication. */
#define PC_STUN_INDICATION4  (PC_STUN_HEADER + PC_STUN_ADDR4 + PC_STUN_ATTR)
#define PC_STUN_INDICATION6  (PC_STUN_HEADER + PC_STUN_ADDR6 + PC_STUN_ATTR)

#define pc_stun_padding(len) (-(len)&3u)

/* Two halves, in host byte order, as one word of the packet. */
static __always_inline __u32 pc_stun_word(__u16 first, __u16 second)
{
	return bpf_htonl((__u32)first << 16 | second);
}

/* The peer in an indication. IPv4 in the first word. */
struct pc_peer {
	__be32 addr[4];
	__be16 port;
	__u16 six;
};

struct pc_send {
	struct pc_peer peer;
	__u32 payload;
	__u32 head; /* bytes in front of the data */
	__u32 gone; /* all but the data, taken out of the checksum, unfolded */
};

/* One byte of padding out of a checksum; @off: from the start of the data, for its half of a word.
 */
static __always_inline bool pc_stun_byte_gone(const struct pc_pkt *pkt, const __u8 *at, __u32 off,
					      __u32 *sum)
{
	if ((void *)(at + 1) > pkt->data_end)
		return false;
	*sum += pc_csum_gone16(pc_csum_byte(*at, off));
	return true;
}

/*
 * Takes the padding behind @len bytes of data, at most 3, out of a checksum. After odd data it
 * begins within a word. False: it is not in the frame.
 */
static __always_inline bool pc_stun_pad_gone(const struct pc_pkt *pkt, const void *data, __u32 len,
					     __u32 pad, __u32 *sum)
{
	const __u8 *at;
	__u32 off = len;

	pc_bound_offset(off);
	at = data + off;
	if (pad > 0 && !pc_stun_byte_gone(pkt, at, len, sum))
		return false;
	if (pad > 1 && !pc_stun_byte_gone(pkt, at + 1, len + 1, sum))
		return false;
	return pad <= 2 || pc_stun_byte_gone(pkt, at + 2, len + 2, sum);
}

/* XOR-PEER-ADDRESS at @at, of which @room bytes are left. The message begins at @msg. */
static __always_inline bool pc_stun_read_peer(const struct pc_pkt *pkt, const void *msg,
					      const void *at, __u32 room, struct pc_send *send)
{
	struct pc_peer *peer = &send->peer;
	union pc_word family_port;

	if (room < PC_STUN_ADDR4 || at + PC_STUN_ADDR4 > pkt->data_end)
		return false;
	send->gone += pc_csum_words_gone(at, 3);
	family_port.word = *pc_u32_at(at, 4);
	peer->port = family_port.half[1] ^ bpf_htons(PC_STUN_PORT_MASK);
	peer->addr[0] = *pc_u32_at(at, 8) ^ bpf_htonl(PC_STUN_COOKIE);
	if (*pc_u32_at(at, 0) == pc_stun_word(PC_ATTR_PEER, PC_STUN_ADDR4 - PC_STUN_ATTR)) {
		peer->six = false;
		return ((__u8 *)at)[5] == PC_FAMILY_4;
	}
	if (*pc_u32_at(at, 0) != pc_stun_word(PC_ATTR_PEER, PC_STUN_ADDR6 - PC_STUN_ATTR))
		return false;
	if (room < PC_STUN_ADDR6 || at + PC_STUN_ADDR6 > pkt->data_end)
		return false;
	send->gone += pc_csum_words_gone(at + PC_STUN_ADDR4, 3);
	peer->six = true;
	peer->addr[1] = *pc_u32_at(at, 12) ^ *pc_u32_at(msg, 8);
	peer->addr[2] = *pc_u32_at(at, 16) ^ *pc_u32_at(msg, 12);
	peer->addr[3] = *pc_u32_at(at, 20) ^ *pc_u32_at(msg, 16);
	return ((__u8 *)at)[5] == PC_FAMILY_6;
}

/* Header of the DATA attribute at @at: its length. False: it is none, or longer than @room. */
static __always_inline bool pc_stun_read_data(const struct pc_pkt *pkt, const void *at, __u32 room,
					      struct pc_send *send)
{
	union pc_word head;

	if (room < PC_STUN_ATTR || at + PC_STUN_ATTR > pkt->data_end)
		return false;
	head.word = *pc_u32_at(at, 0);
	send->gone += pc_csum_words_gone(at, 1);
	send->payload = bpf_ntohs(head.half[1]);
	return head.half[0] == bpf_htons(PC_ATTR_DATA) && send->payload <= room - PC_STUN_ATTR;
}

/*
 * A FINGERPRINT as the last @room bytes, @off behind @at. Its value is not looked at, here as in
 * user space: it tells STUN from other protocols, of which there is none on this port.
 */
static __always_inline bool pc_stun_read_fingerprint(const struct pc_pkt *pkt, const void *at,
						     __u32 off, __u32 room, struct pc_send *send)
{
	pc_bound_offset(off);
	at += off;
	if (room != PC_STUN_FINGERPRINT || at + PC_STUN_FINGERPRINT > pkt->data_end)
		return false;
	send->gone += pc_csum_words_gone(at, 2);
	return *pc_u32_at(at, 0) == pc_stun_word(PC_ATTR_FINGERPRINT, 4);
}

/* The peer first, then the data: the usual order. Firefox adds a FINGERPRINT. */
static __always_inline bool pc_stun_read_peer_data(const struct pc_pkt *pkt, const void *msg,
						   __u32 room, struct pc_send *send)
{
	const void *at = msg + PC_STUN_HEADER;
	__u32 peer, pad, off;

	if (!pc_stun_read_peer(pkt, msg, at, room, send))
		return false;
	peer = send->peer.six ? PC_STUN_ADDR6 : PC_STUN_ADDR4;
	at += peer;
	room -= peer;
	if (!pc_stun_read_data(pkt, at, room, send))
		return false;
	send->head = PC_STUN_HEADER + peer + PC_STUN_ATTR;
	at += PC_STUN_ATTR;
	room -= PC_STUN_ATTR;
	pad = pc_stun_padding(send->payload);
	off = send->payload + pad;
	if (off > room || !pc_stun_pad_gone(pkt, at, send->payload, pad, &send->gone))
		return false;
	return off == room || pc_stun_read_fingerprint(pkt, at, off, room - off, send);
}

static __always_inline bool pc_stun_read_data_peer(const struct pc_pkt *pkt, const void *msg,
						   __u32 room, struct pc_send *send)
{
	const void *at = msg + PC_STUN_HEADER;
	__u32 pad, off;

	if (!pc_stun_read_data(pkt, at, room, send))
		return false;
	at += PC_STUN_ATTR;
	room -= PC_STUN_ATTR;
	send->head = PC_STUN_HEADER + PC_STUN_ATTR;
	pad = pc_stun_padding(send->payload);
	off = send->payload + pad;
	if (off > room || !pc_stun_pad_gone(pkt, at, send->payload, pad, &send->gone))
		return false;
	room -= off;
	pc_bound_offset(off);
	at += off;
	return pc_stun_read_peer(pkt, msg, at, room, send) &&
	       room == (send->peer.six ? PC_STUN_ADDR6 : PC_STUN_ADDR4);
}

/*
 * A Send indication of @have bytes, type and all: cookie, the length of the whole, the two
 * attributes. False: whatever it is, user space looks at it.
 */
static __always_inline bool pc_stun_read_send(const struct pc_pkt *pkt, const void *msg, __u32 have,
					      struct pc_send *send)
{
	union pc_word type_len;
	__u32 room = have - PC_STUN_HEADER;

	if (have < PC_STUN_HEADER || msg + PC_STUN_HEADER + PC_STUN_ATTR > pkt->data_end)
		return false;
	type_len.word = *pc_u32_at(msg, 0);
	if (bpf_ntohs(type_len.half[1]) != room || *pc_u32_at(msg, 4) != bpf_htonl(PC_STUN_COOKIE))
		return false;
	send->gone = pc_csum_words_gone(msg, 5);
	if (*pc_u16_at(msg, PC_STUN_HEADER) == bpf_htons(PC_ATTR_PEER))
		return pc_stun_read_peer_data(pkt, msg, room, send);
	return pc_stun_read_data_peer(pkt, msg, room, send);
}

/* Unique, not secret: an indication is never answered. */
static __always_inline void pc_stun_txid(__u32 txid[3], __u64 salt)
{
	__u64 random = bpf_get_prandom_u32();
	__u64 mixed = (random << 32 ^ salt) * 0x9e3779b97f4a7c15ull;

	txid[0] = random;
	txid[1] = mixed >> 32;
	txid[2] = mixed;
}

/* One word of what is written, at @at; adds it to a sum. */
static __always_inline void pc_stun_put(void *at, __u32 word, __u64 *sum)
{
	*pc_u32_at(at, 0) = word;
	*sum += word;
}

/*
 * Writes what is in front of the data of a Data indication: 36 or 48 bytes at @at, which the caller
 * has checked. Returns its sum, unfolded. @addr, @port: the peer; the address may lie where the
 * first 20 bytes are to be written. @six: its family, a constant.
 */
static __always_inline __u32 pc_stun_write_data(void *at, const void *addr, __be16 port,
						__u32 payload, __u64 salt, bool six)
{
	const __u32 attr = six ? PC_STUN_ADDR6 : PC_STUN_ADDR4;
	__u32 len = attr + PC_STUN_ATTR + payload + pc_stun_padding(payload), txid[3];
	void *peer = at + PC_STUN_HEADER;
	__u64 sum = 0;

	pc_stun_txid(txid, salt);
	pc_stun_put(peer + 8, *pc_u32_at(addr, 0) ^ bpf_htonl(PC_STUN_COOKIE), &sum);
	if (six) {
#pragma unroll
		for (int i = 0; i < 3; i++)
			pc_stun_put(peer + 12 + 4 * i, *pc_u32_at(addr, 4 + 4 * i) ^ txid[i], &sum);
	}
#pragma unroll
	for (int i = 0; i < 3; i++)
		pc_stun_put(at + 8 + 4 * i, txid[i], &sum);
	pc_stun_put(at, pc_stun_word(PC_STUN_DATA, len), &sum);
	pc_stun_put(at + 4, bpf_htonl(PC_STUN_COOKIE), &sum);
	pc_stun_put(peer, pc_stun_word(PC_ATTR_PEER, attr - PC_STUN_ATTR), &sum);
	pc_stun_put(peer + 4,
		    pc_stun_word(six ? PC_FAMILY_6 : PC_FAMILY_4,
				 bpf_ntohs(port) ^ PC_STUN_PORT_MASK),
		    &sum);
	pc_stun_put(peer + attr, pc_stun_word(PC_ATTR_DATA, payload), &sum);
	return pc_csum_halves(sum);
}

#endif
