/* SPDX-License-Identifier: MIT */
/*
 * Inside the data plane library: the state behind struct pc_dp, and what its files call of each
 * other. Nobody else includes this.
 *
 *   dp_open.c     open, adopt, close, status           dp_attach.c   links on interfaces
 *   dp_load.c     object file -> loaded program        dp_flow.c     bindings, permissions, ports
 *   dp_pin.c      directory, pins, teardown            dp_nexthop.c  ways out
 *   dp_diag.c     failures in one line                 dp_count.c    counters of the kernel
 *   dp_user.c     counters of user space, a file       dp_info.c     what needs no kernel
 *   dp_batch.c    many entries at once     dp_found.c    what an earlier daemon left
 *   dp_maps.c     pinned maps                          dp_encode.c   map entries, no kernel either
 *   dp_share.c    behind libxdp's dispatcher           dp_hot.c      copies of flows, found faster
 *   dp_rate.c     limits of tenants                    dp_toll.c     and asking them
 *   dp_pipe.c     pipes of native peers                dp_pipe_user.c   their frames in user space
 *   dp_pipe_map.c their kernel maps
 */
#ifndef PC_DP_DP_INT_H
#define PC_DP_DP_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/pipe.h"
#include "base/cleanup.h"
#include "base/htab.h"
#include "dp/dp.h"

enum pc_dp_map {
	PC_DP_META,
	PC_DP_CTL,
	PC_DP_FLOW4,
	PC_DP_FLOW6,
	PC_DP_PERM4,
	PC_DP_PERM6,
	PC_DP_PORTS,
	PC_DP_CLIENTS,
	PC_DP_LIMIT,
	PC_DP_COUNT,
	PC_DP_DROPS,
	PC_DP_REASON,
	PC_DP_HOT4,
	PC_DP_HOT6,
	PC_DP_NEXTHOP,
	PC_DP_TXPORT,
	PC_DP_RATE,
	PC_DP_CLOCK,
	PC_DP_LEASE,
	PC_DP_ROOT,
	PC_DP_QUOTA,
	PC_DP_CREDIT,
	PC_DP_PIPE,
	PC_DP_WINDOW,
	PC_DP_MAPS
};
/* Those whose entries are written one by one, and counted. */
#define PC_DP_FIRST_TABLE PC_DP_FLOW4
#define PC_DP_LAST_TABLE  PC_DP_CLIENTS

/* One of the tables of copies. */
#define PC_DP_HOTS 2
struct pc_dp_hot {
	void *sets; /* pc_dp_map_entries() for table_sessions */
	size_t size;
	uint32_t shift; /* of the sets: lib/hot.h */
	uint8_t *spilt; /* a bit for each: a flow found no place in it */
	bool known;	/* what else is in the hash maps: nothing */
};

struct pc_dp_map_info {
	const char *name;
	uint32_t key_size, value_size;
	uint32_t per_session; /* entries for each session; 0: the object says how many */
	uint32_t per_tenant;  /* the same for each tenant, and for number 0, who is nobody */
	uint32_t per_pipe;
	bool on_demand; /* memory is taken by entry, not at once */
	bool per_cpu;	/* entries for each CPU, by pc_tally_index() */
};
extern const struct pc_dp_map_info pc_dp_maps[PC_DP_MAPS];

/* Room for pins: directory and the longest name. */
#define PC_DP_PATH_MAX 512

struct pc_dp_attached {
	struct pc_dp_link link;
	int fd;	     /* of a link; of the program behind a dispatcher */
	bool pinned; /* false: on trial */
};

struct pc_dp_user_file {
	void *base; /* MAP_FAILED when there is none */
	size_t size;
	int lock_fd; /* the state directory, held with flock() */
	struct pc_count *counts;
	uint64_t *reasons;
	uint32_t max_sessions;
	bool fresh;
};

struct pc_dp {
	char bpffs[PC_DP_PATH_MAX - 64];
	bool readonly;
	struct pc_dp_status status;
	uint16_t service_ports[PC_MAX_SERVICE_PORTS];
	__be32 service_addrs[PC_MAX_SERVICE_ADDRS][4]; /* as the program has them */
	uint16_t relay_low, relay_high;
	uint32_t max_sessions;
	uint32_t max_tenants;
	uint32_t table_sessions;   /* that the kernel's maps were made for */
	uint32_t used[PC_DP_MAPS]; /* entries of the tables */
	bool counted;		   /* and `used` says how many */
	struct pc_dp_found *found; /* until the first batch or sweep; NULL: not known */
	bool none_stale;	   /* of it, after the first batch */
	struct pc_dp_batch *batch; /* what is not written yet; NULL: all is */
	unsigned int n_cpus;

	int map_fd[PC_DP_MAPS];
	int prog_fd;
	/* Shared with the program. The first stays mapped when only the heartbeat can be kept. */
	struct pc_ctl *ctl;
	struct pc_dp_rates rates;
	const struct pc_tally *tallies; /* NULL: of an older layout, or there are none */
	const struct pc_drops *drops;
	uint8_t *nexthops; /* PC_MAX_NEXTHOPS slots of PC_DP_NEXTHOP_STRIDE bytes */
	struct pc_dp_hot hot[PC_DP_HOTS];
	size_t ctl_size, nexthops_size;

	enum pc_dp_share share;
	char object[PC_DP_PATH_MAX]; /* "": the built-in one */
	bool reloaded;		     /* the program differs from what an earlier daemon left */
	struct pc_dp_attached links[PC_MAX_TXPORTS];
	size_t n_links;
	uint32_t txport[PC_MAX_TXPORTS]; /* ifindex of each entry of the device map; 0: free */

	struct pc_dp_user_file user;
	uint32_t max_pipes;
	struct pc_dp_pipes *pipes; /* NULL in a view of another layout */
	struct pc_window *windows; /* shared with the program; NULL: not */
	size_t windows_size;
};

/* Array elements lie at multiples of 8 bytes. */
#define PC_DP_NEXTHOP_STRIDE ((sizeof(struct pc_nexthop_slot) + 7) & ~(size_t)7)

/* --- dp_info.c --- */

/* Entries of a map that depends on max_sessions; 0: the object says, or max_tenants. */
uint32_t pc_dp_map_entries(enum pc_dp_map which, uint32_t max_sessions);
/* The link header, MTU and interface; txport is left 0. 0 or PC_ERR_RANGE (more than two tags). */
int pc_dp_nexthop_encode(const struct pc_dp_nexthop *nh, struct pc_nexthop *ret_nexthop);

/* --- dp_encode.c --- */

/* One entry of a table, padding zeroed. */
struct pc_dp_item {
	enum pc_dp_map map;
	union {
		struct pc_flow4_key flow4;
		struct pc_flow6_key flow6;
		struct pc_perm4_key perm4;
		struct pc_perm6_key perm6;
		struct pc_port_key port;
		struct pc_client_key client;
	} key;
	union {
		struct pc_flow flow;
		struct pc_perm perm;
		uint32_t port; /* means nothing */
		struct pc_client client;
	} value;
};
/* [0] up, [1] down. PC_ERR_RANGE: what arrives and what is sent is not of one family each. */
int pc_dp_flow_encode(const struct pc_dp_flow *flow, struct pc_dp_item ret_items[static 2]);
int pc_dp_perm_encode(const struct pc_dp_perm *perm, struct pc_dp_item ret_items[static 2]);
int pc_dp_port_encode(const struct pc_addr *relayed, struct pc_dp_item *ret_item);
int pc_dp_client_encode(const struct pc_addr *client, const struct pc_addr *server, uint32_t slot,
			struct pc_dp_item *ret_item);
/* IPv4 as ::ffff:a.b.c.d. */
void pc_dp_encode_mapped(const struct pc_ip *ip, __be32 ret_words[static 4]);
void pc_dp_decode(enum pc_dp_map map, const void *key, const void *value,
		  struct pc_dp_entry *ret_entry);

/* --- dp_diag.c --- */

/* Between the two, messages of libbpf are kept instead of printed. Not nested. */
void pc_dp_capture_begin(void);
/* The line that says most, "" if there was none. Valid until the next begin of this thread. */
const char *pc_dp_capture_end(void);
/* Sets kernel_error and reason: printf. Returns @err. */
int pc_dp_fail(struct pc_dp *dp, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for a step that failed with @err: finds the words for common causes. */
int pc_dp_fail_step(struct pc_dp *dp, int err, const char *step, const char *detail);

/* --- dp_pin.c --- */

/* Path of a pin. */
void pc_dp_pin_path(const char *bpffs, const char *name, char ret_path[static PC_DP_PATH_MAX]);
/* Makes the directory for pins, mounting a bpffs above it when there is none. 0 or -errno. */
int pc_dp_pin_prepare(const char *bpffs);
/* Whether maps of another layout are pinned there: their version, else 0. */
unsigned int pc_dp_pin_foreign(const char *bpffs);
/* Removes what an interrupted first start left. */
void pc_dp_pin_clean(const char *bpffs);
/* Pins @fd as @name, replacing what is there in one step. 0 or -errno. */
int pc_dp_pin_replace(const char *bpffs, const char *name, int fd);
/* Calls @fn for each pinned link of this layout until it returns non-zero, and returns that. */
int pc_dp_pin_each_link(const char *bpffs, int (*fn)(void *arg, const char *path, uint32_t ifindex),
			void *arg);
/* The same for programs behind dispatchers. */
int pc_dp_pin_each_share(const char *bpffs,
			 int (*fn)(void *arg, const char *path, uint32_t ifindex), void *arg);

/* --- dp_hot.c --- */

/* Maps the tables and empties them: pc_dp_tables_count() fills them again. */
int pc_dp_hot_map(struct pc_dp *dp);
void pc_dp_hot_unmap(struct pc_dp *dp);
/* All flows that are in the hash maps were written here. */
void pc_dp_hot_known(struct pc_dp *dp);
/* An entry that was written, or is about to be deleted. Other maps are none of its business. */
void pc_dp_hot_set(struct pc_dp *dp, enum pc_dp_map map, const void *key, const void *value);
void pc_dp_hot_set_many(struct pc_dp *dp, enum pc_dp_map map, const uint8_t *keys,
			const uint8_t *values, uint32_t n);
void pc_dp_hot_del(struct pc_dp *dp, enum pc_dp_map map, const void *key);

/* --- dp_maps.c --- */

/* A pin, if the values are as long as @shape's. 0, -errno or PC_ERR_VERSION. */
int pc_dp_map_pinned(const struct pc_dp *dp, const char *name, const struct pc_dp_map_info *shape,
		     int *ret_fd);
/*
 * One of this layout into dp->map_fd; all that are missing there. Those that an older build of this
 * layout did not have stay missing.
 */
int pc_dp_map_get(struct pc_dp *dp, enum pc_dp_map which);
int pc_dp_maps_get(struct pc_dp *dp);
int pc_dp_meta_read(const struct pc_dp *dp, struct pc_meta *ret_meta);
int pc_dp_meta_write(const struct pc_dp *dp, const struct pc_meta *meta);
/* Bytes that the kernel says the maps take; 0 when it says nothing. */
uint64_t pc_dp_maps_memory(const struct pc_dp *dp);

/* --- dp_count.c --- */

/* Maps the kernel's counters of sessions, to read. 0 or -errno. */
int pc_dp_counts_map(struct pc_dp *dp);
void pc_dp_counts_unmap(struct pc_dp *dp);

/* --- dp_load.c --- */

struct bpf_object;

/* The object opened, sized and its constants set; not loaded yet. 0 or a negative code. */
int pc_dp_object_open(struct pc_dp *dp, const struct pc_dp_config *config,
		      struct bpf_object **ret_object);
/* Text for pc_meta.build: the version, and a hash over object and constants. */
int pc_dp_object_build(const struct pc_dp *dp, const struct pc_dp_config *config,
		       char ret_build[static 40]);
/* Its maps will be those of dp->map_fd, as far as they are there. Before it is loaded. */
int pc_dp_object_reuse(const struct pc_dp *dp, struct bpf_object *object);
/*
 * Loads it; the program's descriptor is dp->prog_fd then, owned. With @reuse its maps are those of
 * dp->map_fd; new ones take the place of what is not there.
 */
int pc_dp_object_load(struct pc_dp *dp, struct bpf_object *object, bool reuse);

/* --- dp_attach.c --- */

/* Takes up the pinned links and gives each the program of dp->prog_fd. 0 or a negative code. */
int pc_dp_links_adopt(struct pc_dp *dp);
void pc_dp_links_close(struct pc_dp *dp);

/* --- dp_share.c --- */

/* Pinned program behind the dispatcher of one interface: it was confirmed. */
#define PC_SHARE_PREFIX "pc4_share_"
_Static_assert(PC_ABI_VERSION == 4, "names of pins carry the layout");

/* Whether @ifindex is to be shared; its dispatcher's mode, PC_DP_OFF when there is none yet. */
bool pc_dp_share_wanted(const struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode *ret_mode);
/*
 * Loads another copy of the program over the same maps, as what a dispatcher calls, and puts it
 * there. 0, -ENOTSUP (no dispatcher here: attach alone) or another negative code.
 */
int pc_dp_share_attach(struct pc_dp *dp, uint32_t ifindex, enum pc_dp_mode mode, int *ret_prog_fd);
/* Takes all programs over the map of @ctl_fd off, but @keep_id. How many, or a negative code. */
int pc_dp_share_detach(int ctl_fd, uint32_t ifindex, uint32_t keep_id);
/* The same on every interface that @skip says no to. */
int pc_dp_share_detach_all(int ctl_fd, bool (*skip)(void *arg, uint32_t ifindex), void *arg);
/* Whether the program @id is behind a dispatcher there, and in which mode. */
bool pc_dp_share_present(uint32_t ifindex, uint32_t id, enum pc_dp_mode *ret_mode);

/* --- dp_nexthop.c --- */

/* Maps the array, and learns which interfaces the device map holds. 0 or -errno. */
int pc_dp_nexthops_map(struct pc_dp *dp);
void pc_dp_nexthops_unmap(struct pc_dp *dp);
/* After a link came or went: which next hops can be redirected to. */
void pc_dp_nexthops_refresh(struct pc_dp *dp);

/* --- dp_rate.c --- */

/* Maps what the program shares, or takes memory of its own without a kernel half. 0 or -errno. */
int pc_dp_rates_map(struct pc_dp *dp, bool kernel);
void pc_dp_rates_unmap(struct pc_dp *dp);
/* What the leases of user space and of the kernel counted together. */
void pc_dp_rate_add(const struct pc_rate_lease *user, const struct pc_rate_lease *kernel,
		    uint32_t n, struct pc_dp_rate_count *ret_counts);

/* --- dp_pipe.c --- */

/* A direction, as user space and as the program knows it. */
struct pc_dp_pipe_node {
	struct pc_hnode by_in, by_ports;
	struct pc_dp_pipe pipe;
	struct pc_pipe item;
};

/* @windows: 2 * dp->max_pipes of them, or NULL: memory of our own. 0 or -ENOMEM. */
int pc_dp_pipes_new(struct pc_dp *dp, struct pc_window *windows);
void pc_dp_pipes_free(struct pc_dp *dp);
/* An entry of the map, of an earlier daemon. 0 or a negative code. */
int pc_dp_pipes_add(struct pc_dp *dp, const struct pc_pipe *item);
const struct pc_dp_pipe_node *pc_dp_pipe_find(const struct pc_dp *dp, uint32_t in);
/* The direction that begins with this at a relayed port. */
const struct pc_dp_pipe_node *pc_dp_pipe_find_port(const struct pc_dp *dp,
						   const struct pc_addr *local,
						   const struct pc_addr *remote);
struct pc_window *pc_dp_pipe_window(const struct pc_dp *dp, const struct pc_dp_pipe_node *node);
uint32_t pc_dp_pipes_default(const struct pc_dp_config *config);

/* --- dp_pipe_encode.c --- */

/* All but the window. PC_ERR_RANGE: addresses of two families on one side, no index. */
int pc_dp_pipe_encode(const struct pc_dp_pipe *pipe, struct pc_pipe *ret_item);
void pc_dp_pipe_decode(const struct pc_pipe *item, struct pc_dp_pipe *ret_pipe);

/* --- dp_pipe_map.c, or the fake's: what the program sees; nothing without a kernel half --- */

/* 0, PC_ERR_FULL or -errno. */
int pc_dp_pipe_store(struct pc_dp *dp, const struct pc_pipe *item, const struct pc_pipe *before);
void pc_dp_pipe_erase(struct pc_dp *dp, const struct pc_pipe *item);

/* --- dp_pipe_map.c --- */

/* Takes up what the maps hold. 0, PC_ERR_VERSION (of another size) or -errno. */
int pc_dp_pipes_map(struct pc_dp *dp);
void pc_dp_pipes_unmap(struct pc_dp *dp);
/* Whether an entry of a table is a pipe's: then it comes and goes with that. */
bool pc_dp_pipe_owns(const struct pc_dp *dp, enum pc_dp_map map, const struct pc_flow *flow);

/* --- dp_flow.c --- */

/* One entry, of a flow that no binding has. 0, PC_ERR_FULL or -errno. */
int pc_dp_flow_write(struct pc_dp *dp, enum pc_dp_map map, const void *key,
		     const struct pc_flow *flow);
void pc_dp_flow_erase(struct pc_dp *dp, enum pc_dp_map map, const void *key);
/* Counts the entries of the tables by going through them. 0 or -errno. */
int pc_dp_tables_count(struct pc_dp *dp);

/* --- dp_found.c: each does nothing where it is not known --- */

void pc_dp_found_new(struct pc_dp *dp);
void pc_dp_found_free(struct pc_dp *dp);
void pc_dp_found_add(struct pc_dp *dp, enum pc_dp_map map, const uint8_t *keys,
		     const uint8_t *values, uint32_t n);
/* In a batch: these entries are set. Which of them are there, just as they are to be. */
void pc_dp_found_again(struct pc_dp *dp, enum pc_dp_map map, const uint8_t *keys,
		       const uint8_t *values, uint32_t n, bool *ret_same);
bool pc_dp_found_all_again(const struct pc_dp *dp);

/* --- dp_batch.c: while dp->batch is set --- */

void pc_dp_batch_add(struct pc_dp *dp, const struct pc_dp_item *item);
void pc_dp_batch_flush(struct pc_dp *dp, enum pc_dp_map map);

/* --- dp_tables_fake.c: part of the fake only --- */
int pc_dp_fake_tables_init(uint32_t max_sessions);
void pc_dp_fake_tables_clear(void);

/* --- dp_pipe_fake.c: part of the fake only --- */
int pc_dp_fake_pipes_open(struct pc_dp *dp);
void pc_dp_fake_pipes_clear(void);

/* --- dp_user.c --- */

int pc_dp_user_open(const char *state_dir, uint32_t max_sessions, struct pc_dp_user_file *ret_file);
/* The file as it is; PC_ERR_NOT_FOUND, PC_ERR_VERSION (another boot or format) or -errno. */
int pc_dp_user_open_readonly(const char *state_dir, struct pc_dp_user_file *ret_file);
/* Zeroes in memory, for a reader who found no file. 0 or -ENOMEM. */
int pc_dp_user_blank(uint32_t max_sessions, struct pc_dp_user_file *ret_file);
void pc_dp_user_close(struct pc_dp_user_file *file);

#endif
