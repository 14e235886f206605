/* SPDX-License-Identifier: MIT */
#include "relay/native_pipe.h"

#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "base/siphash.h"
#include "base/wire.h"
#include "relay/noise.h"

int pc_pipe_hop_key(const struct pc_native_link *link, uint32_t pipe, bool sending,
		    uint8_t ret_key[static PC_PIPE_KEY_LEN])
{
	uint8_t context[4], key[32];
	struct pc_writer w;
	int rc;

	pc_writer_init(&w, context, sizeof(context));
	pc_write_u32(&w, pipe);
	rc = (sending ? pc_native_export_sending : pc_native_export)(link, "pcloud/1 hop", context,
								     sizeof(context), key);
	if (rc == 0)
		memcpy(ret_key, key, PC_PIPE_KEY_LEN);
	pc_noise_wipe(key, sizeof(key));
	return rc;
}

/* --- header and tag --- */

static void make_tag(const uint8_t *frame, size_t payload_len,
		     const uint8_t key[static PC_PIPE_KEY_LEN], uint8_t ret[static 8])
{
	uint8_t input[PC_PIPE_TAG_OFF + 4];
	struct pc_writer w;
	uint64_t tag;

	pc_writer_init(&w, input, sizeof(input));
	pc_write_bytes(&w, frame, PC_PIPE_TAG_OFF);
	pc_write_u32(&w, (uint32_t)payload_len);
	tag = pc_siphash24(key, input, sizeof(input));
	for (unsigned int i = 0; i < 8; i++)
		ret[i] = (uint8_t)(tag >> (8 * i));
}

void pc_pipe_write(uint8_t *frame, const struct pc_pipe_frame *f,
		   const uint8_t key[static PC_PIPE_KEY_LEN])
{
	uint8_t tag[8];
	struct pc_writer w;

	pc_writer_init(&w, frame, PC_PIPE_HEADER);
	pc_write_u8(&w, PC_NATIVE_PIPE);
	pc_write_u8(&w, f->flags);
	pc_write_u16(&w, 0);
	pc_write_u32(&w, f->pipe);
	pc_write_u64(&w, f->counter);
	make_tag(frame, f->payload_len, key, tag);
	pc_write_bytes(&w, tag, sizeof(tag));
}

int pc_pipe_read(const void *frame, size_t len, struct pc_pipe_frame *ret_frame)
{
	struct pc_pipe_frame f = { 0 };
	struct pc_reader r;
	uint16_t reserved;
	uint8_t type;

	pc_reader_init(&r, frame, len);
	type = pc_read_u8(&r);
	f.flags = pc_read_u8(&r);
	reserved = pc_read_u16(&r);
	f.pipe = pc_read_u32(&r);
	f.counter = pc_read_u64(&r);
	pc_read_skip(&r, 8);
	f.payload_len = pc_reader_left(&r);
	if (r.failed || type != PC_NATIVE_PIPE || reserved || (f.flags & ~PC_PIPE_FLAGS) ||
	    f.pipe == 0 || f.counter == 0)
		return PC_ERR_MALFORMED;
	*ret_frame = f;
	return 0;
}

bool pc_pipe_check(const void *frame, size_t len, const uint8_t key[static PC_PIPE_KEY_LEN])
{
	const uint8_t *bytes = frame;
	uint8_t tag[8];

	make_tag(bytes, len - PC_PIPE_HEADER, key, tag);
	return sodium_memcmp(tag, bytes + PC_PIPE_TAG_OFF, sizeof(tag)) == 0;
}

void pc_pipe_forward(void *frame, size_t len, uint32_t pipe,
		     const uint8_t key[static PC_PIPE_KEY_LEN])
{
	uint8_t *bytes = frame;
	struct pc_writer w;

	pc_writer_init(&w, bytes + 4, 4);
	pc_write_u32(&w, pipe);
	make_tag(bytes, len - PC_PIPE_HEADER, key, bytes + PC_PIPE_TAG_OFF);
}

/* --- end to end --- */

int pc_pipe_data_keys(const struct pc_native_link *link, uint8_t ret_send[static 32],
		      uint8_t ret_receive[static 32])
{
	static const uint8_t directions[2] = { 1, 2 };
	bool initiator = pc_native_is_initiator(link);
	uint8_t send[32], receive[32];
	int rc = pc_native_export(link, "pcloud/1 pipe", &directions[!initiator], 1, send);

	if (rc == 0)
		rc = pc_native_export(link, "pcloud/1 pipe", &directions[initiator], 1, receive);
	if (rc == 0) {
		memcpy(ret_send, send, 32);
		memcpy(ret_receive, receive, 32);
	}
	pc_noise_wipe(send, sizeof(send));
	pc_noise_wipe(receive, sizeof(receive));
	return rc;
}

int pc_pipe_seal(uint8_t *frame, const struct pc_pipe_frame *f, const uint8_t data_key[static 32],
		 const uint8_t hop_key[static PC_PIPE_KEY_LEN], const void *plain, size_t len)
{
	struct pc_pipe_frame whole = *f;
	int rc = pc_noise_seal(data_key, f->counter, &f->flags, 1, plain, len,
			       frame + PC_PIPE_HEADER);

	if (rc < 0)
		return rc;
	whole.payload_len = len + PC_NOISE_TAGLEN;
	pc_pipe_write(frame, &whole, hop_key);
	return 0;
}

int pc_pipe_open(const void *frame, const struct pc_pipe_frame *f,
		 const uint8_t data_key[static 32], void *ret_plain)
{
	return pc_noise_open(data_key, f->counter, &f->flags, 1,
			     (const uint8_t *)frame + PC_PIPE_HEADER, f->payload_len, ret_plain);
}
