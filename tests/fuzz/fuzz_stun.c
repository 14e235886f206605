/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a STUN message: parsing stays inside them and agrees with itself. The same bytes as
 * a list of attributes: what the writer makes of them parses back to the same list.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/wire.h"
#include "relay/auth.h"
#include "relay/policy.h"
#include "relay/stun.h"

#define MAX_ATTRS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int ok)
{
	if (!ok)
		abort();
}

static void use_attr(const struct pc_stun_msg *m, const struct pc_stun_attr *a)
{
	static struct pc_policy *policy;
	struct pc_addr addr;
	const char *name;
	uint64_t expires;
	size_t len;

	if (!policy)
		expect(!pc_policy_new(&policy));
	expect(a->value >= m->data && a->value + a->len <= m->data + m->len);
	if (!pc_stun_attr_xor_addr(m, a, &addr)) {
		expect(addr.ip.family == 4 || addr.ip.family == 6);
		pc_policy_allows(policy, &addr);
	}
	if (!pc_auth_timed_parse(a->value, a->len, &expires, &name, &len))
		expect(len > 0 && (const uint8_t *)name + len == a->value + a->len);
}

static void check_parse(const uint8_t *data, size_t size)
{
	struct pc_stun_msg m;
	struct pc_stun_attr a, first;
	size_t pos = 0, n = 0;
	int err = pc_stun_parse(data, size, &m);

	expect(err == 0 || err == PC_ERR_SHORT || err == PC_ERR_MALFORMED);
	if (err)
		return;
	expect(m.n_unknown <= PC_STUN_MAX_UNKNOWN && m.method <= 0xfff);
	pc_stun_for_each (&m, pos, a) {
		use_attr(&m, &a);
		expect(pc_stun_find(&m, a.type, &first) && first.value <= a.value);
		expect(++n <= size / 4);
	}
	expect(pos == size);
	/* A key that nobody used: the answer is never yes. */
	err = pc_stun_check_integrity(&m, "no such key", 11);
	expect(err == (m.integrity_off ? err : PC_ERR_NOT_FOUND) && err != 0);
	err = pc_stun_check_integrity256(&m, "no such key", 11);
	expect(err == (m.integrity256_off ? err : PC_ERR_NOT_FOUND) && err != 0);
}

/* The same at an odd address, in a block of its own. */
static void check_unaligned(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	expect(copy != NULL);
	if (size)
		memcpy(copy + 1, data, size);
	check_parse(copy + 1, size);
	free(copy);
}

/* Puts (type, length, value) triples from @data; returns how many. */
static size_t build(struct pc_stun_writer *sw, const uint8_t *data, size_t size,
		    struct pc_stun_attr attrs[static MAX_ATTRS])
{
	struct pc_reader r;
	size_t n = 0;

	pc_reader_init(&r, data, size);
	while (n < MAX_ATTRS) {
		struct pc_stun_attr a = { .type = pc_read_u16(&r), .len = pc_read_u8(&r) };

		a.value = pc_read_bytes(&r, a.len);
		if (r.failed)
			break;
		if (a.type == PC_ATTR_MESSAGE_INTEGRITY || a.type == PC_ATTR_FINGERPRINT ||
		    a.type == PC_ATTR_MESSAGE_INTEGRITY_SHA256)
			continue;
		pc_stun_put(sw, a.type, a.value, a.len);
		attrs[n++] = a;
	}
	return n;
}

static void check_round_trip(const uint8_t *data, size_t size)
{
	static const uint8_t txid[PC_STUN_TXID_LEN] = "transaction";
	struct pc_stun_attr attrs[MAX_ATTRS], a;
	uint8_t buf[2048], header[2] = { 0 };
	struct pc_stun_writer sw;
	struct pc_stun_msg m;
	size_t n, len, i = 0, pos = 0;
	uint16_t method;

	memcpy(header, data, size < 2 ? size : 2);
	method = (uint16_t)(header[0] << 8 | header[1]) & 0xfff;
	pc_stun_begin(&sw, buf, sizeof(buf), method, header[0] >> 6, txid);
	n = build(&sw, data, size, attrs);
	pc_stun_put_integrity(&sw, data, size);
	pc_stun_put_integrity256(&sw, data, size);
	pc_stun_put_fingerprint(&sw);
	len = pc_stun_end(&sw);
	if (!len)
		return; /* did not fit */
	expect(!pc_stun_parse(buf, len, &m));
	expect(m.method == method && (int)m.cls == header[0] >> 6 && m.fingerprint_ok);
	expect(!pc_stun_check_integrity(&m, data, size));
	expect(!pc_stun_check_integrity256(&m, data, size));
	pc_stun_for_each (&m, pos, a) {
		if (i < n)
			expect(a.type == attrs[i].type && a.len == attrs[i].len &&
			       (!a.len || !memcmp(a.value, attrs[i].value, a.len)));
		i++;
	}
	expect(i == n + 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_parse(data, size);
	check_unaligned(data, size);
	check_round_trip(data, size);
	return 0;
}
