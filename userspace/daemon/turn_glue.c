/* SPDX-License-Identifier: MIT */
#include "daemon/turn_glue_int.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "daemon/daemon_int.h"
#include "daemon/io.h"

static const uint8_t reason_of[] = {
	[PC_TURN_DROP_MALFORMED] = PC_REASON_DROP_MALFORMED,
	[PC_TURN_DROP_LENGTH] = PC_REASON_DROP_LENGTH,
	[PC_TURN_DROP_TTL] = PC_REASON_DROP_TTL,
	[PC_TURN_DROP_UNAUTHENTICATED] = PC_REASON_DROP_UNAUTHENTICATED,
	[PC_TURN_DROP_SOURCE_RATE] = PC_REASON_DROP_SOURCE_RATE,
	[PC_TURN_DROP_NO_ALLOCATION] = PC_REASON_DROP_NO_ALLOCATION,
	[PC_TURN_DROP_NO_CHANNEL] = PC_REASON_DROP_NO_CHANNEL,
	[PC_TURN_DROP_NO_PERMISSION] = PC_REASON_DROP_NO_PERMISSION,
	[PC_TURN_DROP_PEER_POLICY] = PC_REASON_DROP_PEER_POLICY,
};
_Static_assert(PC_ARRAY_SIZE(reason_of) == PC_TURN_DROP_COUNT, "every drop has its reason");

/* --- sockets --- */

static void send_client(void *ctx, const struct pc_turn_path *path, const struct pc_dgram *d)
{
	pc_io_send_client(((struct pc_glue *)ctx)->d->io, path, d);
}

static void send_peer(void *ctx, void *port, const struct pc_addr *peer, const struct pc_dgram *d)
{
	pc_io_send_peer(((struct pc_glue *)ctx)->d->io, port, peer, d);
}

static int port_open(void *ctx, const struct pc_addr *local, struct pc_turn_socket *socket,
		     void **ret_port)
{
	struct pc_glue *g = ctx;
	int r = pc_io_port_open(g->d->io, local, socket, ret_port);

	if (r == 0)
		pc_glue_port_opened(g, local);
	else if (r == -EMFILE || r == -ENFILE)
		pc_log_limited(&g->port_log, pc_clock_monotonic(), PC_LOG_WARNING,
			       "no further relay port, new allocations share those there are: %s",
			       pc_strerror(r));
	return r;
}

static void port_assign(void *ctx, void *port, struct pc_turn_socket *socket)
{
	pc_io_port_assign(((struct pc_glue *)ctx)->d->io, port, socket);
}

static void port_close(void *ctx, void *port)
{
	struct pc_glue *g = ctx;

	/* Before somebody else can have the port. */
	pc_glue_port_closing(g, pc_io_port_local(port));
	pc_io_port_close(g->d->io, port);
}

/* Not told: its messages count as a stranger's, that is all. */
static void client_set(void *ctx, const struct pc_turn_path *path, uint32_t slot)
{
	pc_glue_limits_set(ctx, slot);
	pc_dp_client_set(((struct pc_glue *)ctx)->d->dp, &path->client, &path->server, slot);
}

static void client_del(void *ctx, const struct pc_turn_path *path)
{
	pc_dp_client_del(((struct pc_glue *)ctx)->d->dp, &path->client, &path->server);
}

static void count(void *ctx, uint32_t slot, bool up, uint32_t payload_bytes, uint32_t wire_bytes)
{
	pc_io_count(((struct pc_glue *)ctx)->d->io, slot, up, payload_bytes, wire_bytes);
}

static void drop(void *ctx, enum pc_turn_drop reason)
{
	((struct pc_glue *)ctx)->reasons[reason_of[reason]]++;
}

/* --- account and store --- */

static int slot_open(void *ctx, uint64_t id, uint32_t tenant, uint32_t *ret_slot)
{
	struct pc_glue *g = ctx;
	struct pc_daemon *d = g->d;
	int r;

	if (!pc_daemon_store_usable(d))
		return PC_ERR_STORE;
	r = pc_usage_open(d->usage, id, tenant, ret_slot);
	if (r != PC_ERR_FULL && r != -ENOMEM)
		pc_daemon_store_result(d, r, "opening a session");
	if (r == 0)
		pc_debug("session %016" PRIx64 " of tenant %u: slot %u", id, tenant, *ret_slot);
	return r;
}

static void slot_close(void *ctx, uint32_t slot)
{
	struct pc_glue *g = ctx;

	pc_glue_limits_clear(g, slot);
	pc_usage_close(g->d->usage, slot, pc_clock_monotonic());
}

static int save(void *ctx, const struct pc_turn_record *record)
{
	struct pc_glue *g = ctx;
	size_t len;
	int r;

	if (!pc_daemon_store_usable(g->d))
		return PC_ERR_STORE;
	len = pc_record_encode(record, g->record, sizeof(g->record));
	if (len == 0)
		return PC_ERR_RANGE;
	r = pc_store_session_put(g->d->store, record->id, g->record, len);
	pc_auth_wipe(g->record, len);
	pc_daemon_store_result(g->d, r, "saving a session");
	return r;
}

static void forget(void *ctx, uint64_t id)
{
	struct pc_glue *g = ctx;
	int r;

	pc_debug("session %016" PRIx64 " ended", id);
	/* A record that stays behind is harmless: its slot is marked as ended, so nobody restores
	 * it. */
	if (!pc_daemon_store_usable(g->d))
		return;
	r = pc_store_session_del(g->d->store, id);
	if (r != PC_ERR_NOT_FOUND)
		pc_daemon_store_result(g->d, r, "forgetting a session");
}

static int lookup(void *ctx, const char *name, size_t name_len, const uint8_t *userhash,
		  enum pc_auth_algorithm algorithm, uint64_t realtime_s,
		  struct pc_turn_user *ret_user)
{
	return pc_users_lookup(((struct pc_glue *)ctx)->d->users, name, name_len, userhash,
			       algorithm, realtime_s, ret_user);
}

static void fill_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	randombytes_buf(buf, len);
}

const struct pc_turn_ops pc_glue_ops = {
	.send_client = send_client,
	.send_peer = send_peer,
	.port_open = port_open,
	.port_assign = port_assign,
	.port_close = port_close,
	.slot_open = slot_open,
	.slot_close = slot_close,
	.flow_set = pc_glue_flow_set,
	.flow_del = pc_glue_flow_del,
	.perm_set = pc_glue_perm_set,
	.perm_del = pc_glue_perm_del,
	.client_set = client_set,
	.client_del = client_del,
	.admit = pc_glue_admit,
	.count = count,
	.drop = drop,
	.save = save,
	.forget = forget,
	.lookup = lookup,
	.random = fill_random,
};

int pc_glue_new(struct pc_daemon *d, struct pc_glue **ret_glue)
{
	struct pc_glue *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->d = d;
	g->reasons = pc_dp_reasons_user(d->dp);
	g->port_log = (struct pc_log_limit){ .interval_ns = 60 * PC_NS_PER_S, .burst = 1 };
	r = pc_glue_limits_init(g);
	if (!r)
		r = pc_glue_tables_init(g);
	if (r) {
		pc_glue_free(g);
		return r;
	}
	*ret_glue = g;
	return 0;
}

void pc_glue_free(struct pc_glue *g)
{
	if (!g)
		return;
	pc_glue_tables_free(g);
	free(g->limits);
	free(g);
}
