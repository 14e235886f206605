/* SPDX-License-Identifier: MIT */
/* CRC-32 of ISO 3309 for FINGERPRINT, byte by byte. */
#ifndef PC_LIB_CRC32_H
#define PC_LIB_CRC32_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Linear: the entry of a byte is the XOR of the entries of its bits. */
#define PC_CRC_BIT(i, n, v) (((i) >> (n)) & 1 ? (v) : 0u)
#define PC_CRC_1(i)                                                      \
	(PC_CRC_BIT(i, 0, 0x77073096u) ^ PC_CRC_BIT(i, 1, 0xee0e612cu) ^ \
	 PC_CRC_BIT(i, 2, 0x076dc419u) ^ PC_CRC_BIT(i, 3, 0x0edb8832u) ^ \
	 PC_CRC_BIT(i, 4, 0x1db71064u) ^ PC_CRC_BIT(i, 5, 0x3b6e20c8u) ^ \
	 PC_CRC_BIT(i, 6, 0x76dc4190u) ^ PC_CRC_BIT(i, 7, 0xedb88320u))
#define PC_CRC_4(i)  PC_CRC_1(i), PC_CRC_1((i) + 1), PC_CRC_1((i) + 2), PC_CRC_1((i) + 3)
#define PC_CRC_16(i) PC_CRC_4(i), PC_CRC_4((i) + 4), PC_CRC_4((i) + 8), PC_CRC_4((i) + 12)
#define PC_CRC_64(i) PC_CRC_16(i), PC_CRC_16((i) + 16), PC_CRC_16((i) + 32), PC_CRC_16((i) + 48)

/* A section of its own: .rodata holds only what is set before loading. */
static const __u32 pc_crc_table[256] SEC(".rodata.crc") = { PC_CRC_64(0), PC_CRC_64(64),
							    PC_CRC_64(128), PC_CRC_64(192) };

#define PC_CRC_START 0xffffffffu
/* "STUN" in ASCII, so that a CRC-32 of another protocol in the same packet differs. */
#define PC_CRC_FINGERPRINT 0x5354554eu

static __always_inline __u32 pc_crc_byte(__u32 crc, __u8 byte)
{
	__u64 at = crc ^ byte;

	/* The compiler would bound the parts; Linux 6.1 wants the index itself bounded. */
	asm volatile("%0 &= 255" : "+r"(at));
	return pc_crc_table[at] ^ crc >> 8;
}

#endif
