/* SPDX-License-Identifier: MIT */
#include "daemon/record.h"

#include <string.h>

#include "base/err.h"
#include "base/wire.h"

/*
 * Version 1 had one end for both relayed addresses; before version 3 no two sessions had the same
 * one.
 */
#define RECORD_VERSION	   3
#define RECORD_VERSION_MIN 1

static void put_ip(struct pc_writer *w, const struct pc_ip *ip)
{
	pc_write_u8(w, ip->family);
	pc_write_bytes(w, ip->b, pc_ip_len(ip));
}

static void put_addr(struct pc_writer *w, const struct pc_addr *a)
{
	put_ip(w, &a->ip);
	if (a->ip.family)
		pc_write_u16(w, a->port);
}

static void put_quota(struct pc_writer *w, const struct pc_turn_quota *q)
{
	pc_write_u32(w, q->allocations);
	pc_write_u32(w, q->permissions);
	pc_write_u32(w, q->channels);
	pc_write_u32(w, q->peers_per_s);
}

size_t pc_record_encode(const struct pc_turn_record *record, void *buf, size_t size)
{
	struct pc_writer w;

	pc_writer_init(&w, buf, size);
	pc_write_u8(&w, RECORD_VERSION);
	pc_write_u64(&w, record->id);
	pc_write_u32(&w, record->slot);
	pc_write_u32(&w, record->tenant);
	put_addr(&w, &record->path.server);
	put_addr(&w, &record->path.client);
	put_addr(&w, &record->relayed[0]);
	put_addr(&w, &record->relayed[1]);
	pc_write_u64(&w, record->expires_ns);
	pc_write_u64(&w, record->relayed_expires_ns[0]);
	pc_write_u64(&w, record->relayed_expires_ns[1]);
	pc_write_u8(&w, (uint8_t)(record->relayed_shared[0] | record->relayed_shared[1] << 1));
	pc_write_u64(&w, record->created_ns);
	pc_write_bytes(&w, record->txid, sizeof(record->txid));
	pc_write_u8(&w, record->integrity256);
	pc_write_u16(&w, (uint16_t)record->algorithm);
	pc_write_u8(&w, record->key.len);
	pc_write_bytes(&w, record->key.b, record->key.len);
	put_quota(&w, &record->quota);
	pc_write_u16(&w, record->username_len);
	pc_write_bytes(&w, record->username, record->username_len);
	pc_write_u16(&w, (uint16_t)record->n_permissions);
	for (size_t i = 0; i < record->n_permissions; i++) {
		put_ip(&w, &record->permissions[i].peer);
		pc_write_u64(&w, record->permissions[i].expires_ns);
	}
	pc_write_u16(&w, (uint16_t)record->n_channels);
	for (size_t i = 0; i < record->n_channels; i++) {
		pc_write_u16(&w, record->channels[i].number);
		put_addr(&w, &record->channels[i].peer);
		pc_write_u64(&w, record->channels[i].expires_ns);
	}
	return w.failed ? 0 : w.len;
}

/* @absent: family 0 is allowed. */
static bool get_ip(struct pc_reader *r, struct pc_ip *ip, bool absent)
{
	*ip = (struct pc_ip){ .family = pc_read_u8(r) };
	if (ip->family != 4 && ip->family != 6)
		return absent && ip->family == 0;
	pc_read_copy(r, ip->b, pc_ip_len(ip));
	return true;
}

static bool get_addr(struct pc_reader *r, struct pc_addr *a, bool absent)
{
	*a = (struct pc_addr){ 0 };
	if (!get_ip(r, &a->ip, absent))
		return false;
	if (a->ip.family)
		a->port = pc_read_u16(r);
	return true;
}

static void get_quota(struct pc_reader *r, struct pc_turn_quota *q)
{
	q->allocations = pc_read_u32(r);
	q->permissions = pc_read_u32(r);
	q->channels = pc_read_u32(r);
	q->peers_per_s = pc_read_u32(r);
}

static int get_credentials(struct pc_reader *r, struct pc_turn_record *t)
{
	uint8_t flag;

	pc_read_copy(r, t->txid, sizeof(t->txid));
	flag = pc_read_u8(r);
	t->integrity256 = flag == 1;
	t->algorithm = (enum pc_auth_algorithm)pc_read_u16(r);
	t->key.len = pc_read_u8(r);
	if (flag > 1 || (t->algorithm != PC_AUTH_MD5 && t->algorithm != PC_AUTH_SHA256) ||
	    t->key.len != (t->algorithm == PC_AUTH_MD5 ? 16 : 32))
		return r->failed ? PC_ERR_SHORT : PC_ERR_MALFORMED;
	pc_read_copy(r, t->key.b, t->key.len);
	get_quota(r, &t->quota);
	t->username_len = pc_read_u16(r);
	if (t->username_len > PC_AUTH_NAME_MAX)
		return PC_ERR_RANGE;
	pc_read_copy(r, t->username, t->username_len);
	t->username[t->username_len] = '\0';
	return r->failed ? PC_ERR_SHORT : 0;
}

static int get_shared(struct pc_reader *r, struct pc_turn_record *t)
{
	uint8_t shared = pc_read_u8(r);

	if (shared > 3)
		return PC_ERR_MALFORMED;
	t->relayed_shared[0] = shared & 1;
	t->relayed_shared[1] = shared & 2;
	return 0;
}

static int get_lists(struct pc_reader *r, struct pc_record *rec)
{
	struct pc_turn_record *t = &rec->turn;

	t->n_permissions = pc_read_u16(r);
	if (t->n_permissions > PC_TURN_MAX_PERMISSIONS)
		return PC_ERR_RANGE;
	for (size_t i = 0; i < t->n_permissions; i++) {
		if (!get_ip(r, &rec->permissions[i].peer, false))
			return r->failed ? PC_ERR_SHORT : PC_ERR_MALFORMED;
		rec->permissions[i].expires_ns = pc_read_u64(r);
	}
	t->n_channels = pc_read_u16(r);
	if (t->n_channels > PC_TURN_MAX_CHANNELS)
		return PC_ERR_RANGE;
	for (size_t i = 0; i < t->n_channels; i++) {
		rec->channels[i].number = pc_read_u16(r);
		if (!get_addr(r, &rec->channels[i].peer, false))
			return r->failed ? PC_ERR_SHORT : PC_ERR_MALFORMED;
		rec->channels[i].expires_ns = pc_read_u64(r);
	}
	t->permissions = rec->permissions;
	t->channels = rec->channels;
	return 0;
}

int pc_record_decode(const void *buf, size_t len, struct pc_record *ret_record)
{
	struct pc_turn_record *t = &ret_record->turn;
	struct pc_reader r;
	uint8_t version;
	int err;

	pc_reader_init(&r, buf, len);
	version = pc_read_u8(&r);
	if (r.failed)
		return PC_ERR_SHORT;
	if (version < RECORD_VERSION_MIN || version > RECORD_VERSION)
		return PC_ERR_VERSION;
	memset(t, 0, sizeof(*t));
	t->id = pc_read_u64(&r);
	t->slot = pc_read_u32(&r);
	t->tenant = pc_read_u32(&r);
	t->path.listener = UINT32_MAX;
	if (!get_addr(&r, &t->path.server, false) || !get_addr(&r, &t->path.client, false) ||
	    !get_addr(&r, &t->relayed[0], false) || !get_addr(&r, &t->relayed[1], true))
		return r.failed ? PC_ERR_SHORT : PC_ERR_MALFORMED;
	t->expires_ns = pc_read_u64(&r);
	for (int i = 0; i < 2 && version > 1; i++)
		t->relayed_expires_ns[i] = pc_read_u64(&r);
	err = version > 2 ? get_shared(&r, t) : 0;
	if (err)
		return err;
	t->created_ns = pc_read_u64(&r);
	err = get_credentials(&r, t);
	if (!err)
		err = get_lists(&r, ret_record);
	if (err)
		return err;
	if (r.failed)
		return PC_ERR_SHORT;
	return pc_reader_left(&r) ? PC_ERR_MALFORMED : 0;
}
