/* SPDX-License-Identifier: MIT */
/*
 * What a node keeps on disk, in one SQLite file (STATE_DIR/pcd.db, WAL, mode 0600): tenants and
 * their totals, allocations and the counter slots they own, secrets. Plain data in and out; knows
 * neither TURN nor BPF.
 *
 * Every function returns 0 or a negative code: PC_ERR_NOT_FOUND, PC_ERR_EXISTS, PC_ERR_LOCKED
 * (another process holds the store longer than the busy time-out), -ENOSPC (disk full),
 * PC_ERR_VERSION (schema of a newer build), PC_ERR_STORE. pc_store_error() has the detail.
 */
#ifndef PC_STORE_STORE_H
#define PC_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_store;

int pc_store_open(const char *path, bool readonly, struct pc_store **ret_store);
void pc_store_close(struct pc_store *s);
/* Detail of the last failure; of the last failed pc_store_open() when @s is NULL. */
const char *pc_store_error(const struct pc_store *s);
bool pc_store_readonly(const struct pc_store *s);
/* Whether calls wait a moment (250 ms) for another process that holds the store; they do at first.
 */
void pc_store_wait(struct pc_store *s, bool wait);

/*
 * Transactions nest: the inner ones only count, and a rollback inside makes the outermost commit
 * fail with PC_ERR_STATE. A failed commit has rolled back. The callbacks of the ..._each functions
 * must not write to the table they read.
 */
int pc_store_begin(struct pc_store *s);
int pc_store_commit(struct pc_store *s);
void pc_store_rollback(struct pc_store *s);

/* Small values by name: nonce keys, boot id, generation, the built-in secret. */
int pc_store_get(struct pc_store *s, const char *key, void *buf, size_t size, size_t *ret_len);
int pc_store_put(struct pc_store *s, const char *key, const void *value, size_t len);

/*
 * What a tenant's limits refused for its rate, for the uplink was full, for its quota, and what
 * they marked: totals, and the readings of the counters that they include, by path and direction.
 */
#define PC_STORE_REFUSED      4
#define PC_STORE_REFUSED_ROOT 1
struct pc_store_refused {
	uint64_t total[PC_STORE_REFUSED];
	uint32_t last[2][2][PC_STORE_REFUSED];
};
int pc_store_refused_get(struct pc_store *s, uint32_t tenant, struct pc_store_refused *ret);
int pc_store_refused_put(struct pc_store *s, uint32_t tenant, const struct pc_store_refused *r);

#define PC_TENANT_NAME_MAX 63
#define PC_TIER_NAME_MAX   31

/* What a tenant may use; the limits of qos/plan.h are made of it. */
struct pc_store_plan {
	uint64_t up_bps, down_bps; /* bit/s, from and to the tenant; 0: no limit */
	uint64_t guarantee_bps;	   /* bit/s each way that others cannot take; 0: none */
	uint32_t packets_per_s;	   /* each way; 0: no limit */
	uint32_t weight;	   /* share among tenants of its tier; at least 1 */
	uint64_t quota_day;	   /* bytes in all, IP packets as sent on; 0: no limit */
	uint64_t quota_month;
};

/*
 * Where the present day and month of a quota began, and what was spent by then. All zeroes: it has
 * not begun. spent_before: with what the data plane's credit says was used it is what was spent in
 * all; modulo 2^64.
 */
struct pc_store_quota {
	uint64_t day_start_s, day_base;
	uint64_t month_start_s, month_base;
	uint64_t spent_before;
};

struct pc_store_tenant {
	uint32_t id; /* never reused */
	char name[PC_TENANT_NAME_MAX + 1];
	char tier[PC_TIER_NAME_MAX + 1];
	/* Long-term credential: the keys, not the password; they hold for one realm. */
	bool has_password;
	char realm[128];
	uint8_t ha1_md5[16];
	uint8_t ha1_sha256[32];
	uint8_t userhash[32]; /* SHA-256(name ":" realm) */
	uint32_t max_allocations, max_permissions, max_channels, max_peers_per_s;
	uint64_t created_s;
	uint32_t limits; /* index of its limits in the data plane; 0: none given yet */
	struct pc_store_plan plan;
	struct pc_store_quota quota;
};
/* ret_id is set; name must be new. */
int pc_store_tenant_add(struct pc_store *s, const struct pc_store_tenant *t, uint32_t *ret_id);
int pc_store_tenant_update(struct pc_store *s, const struct pc_store_tenant *t); /* by id */
/* The windows of its quota alone: they move on their own. */
int pc_store_tenant_quota(struct pc_store *s, uint32_t id, const struct pc_store_quota *quota);
/* Keeps the totals (billing needs them); frees the name. */
int pc_store_tenant_del(struct pc_store *s, uint32_t id);
int pc_store_tenant_each(struct pc_store *s, int (*fn)(void *arg, const struct pc_store_tenant *t),
			 void *arg);

/* A native peer: an identity that may have sessions here, on account of a tenant. */
#define PC_PEER_NAME_MAX 63
#define PC_PEER_CALL_MAX 511

struct pc_store_peer {
	uint8_t identity[32]; /* Ed25519 */
	char name[PC_PEER_NAME_MAX + 1];
	uint32_t tenant;
	/* Whom it may call beside the peers of its tenant: names with commas, or "*" for all. */
	char may_call[PC_PEER_CALL_MAX + 1];
	uint64_t created_s;
	uint8_t psk[32]; /* of its sessions; zeros: none */
};
/* PC_ERR_EXISTS: the name or the identity is taken. */
int pc_store_peer_add(struct pc_store *s, const struct pc_store_peer *p);
int pc_store_peer_del(struct pc_store *s, const uint8_t identity[static 32]);
int pc_store_peer_each(struct pc_store *s, int (*fn)(void *arg, const struct pc_store_peer *p),
		       void *arg);

/* Counters of one path (kernel or user space). Same fields and order as the data plane's. */
struct pc_store_count {
	uint64_t up_packets, up_payload_bytes, up_wire_bytes;
	uint64_t down_packets, down_payload_bytes, down_wire_bytes;
	uint64_t drops_rate, drops_credit;
};
enum pc_store_path { PC_STORE_KERNEL, PC_STORE_USER, PC_STORE_PATHS };

/* Folded totals of a tenant; zeroes when it has none yet. */
int pc_store_total_get(struct pc_store *s, uint32_t tenant,
		       struct pc_store_count ret_counts[static PC_STORE_PATHS]);
int pc_store_total_put(struct pc_store *s, uint32_t tenant,
		       const struct pc_store_count counts[static PC_STORE_PATHS]);

/*
 * A counter slot in use: which session and tenant it counts for, what it read when it was opened
 * (session figures count from there) and up to where it was folded into the tenant's totals. Stays
 * until the last fold after the session ended.
 */
struct pc_store_slot {
	uint32_t slot;
	uint64_t session;
	uint32_t tenant;
	bool ended;
	struct pc_store_count opened[PC_STORE_PATHS];
	struct pc_store_count folded[PC_STORE_PATHS];
};
int pc_store_slot_put(struct pc_store *s, const struct pc_store_slot *slot);
int pc_store_slot_del(struct pc_store *s, uint32_t slot);
int pc_store_slot_each(struct pc_store *s, int (*fn)(void *arg, const struct pc_store_slot *slot),
		       void *arg);

/* Serialised allocations by session id; the daemon owns the format. */
int pc_store_session_put(struct pc_store *s, uint64_t id, const void *record, size_t len);
int pc_store_session_del(struct pc_store *s, uint64_t id);
int pc_store_session_each(struct pc_store *s,
			  int (*fn)(void *arg, uint64_t id, const void *record, size_t len),
			  void *arg);
int pc_store_session_clear(struct pc_store *s); /* after a reboot */

#endif
