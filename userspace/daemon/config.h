/* SPDX-License-Identifier: MIT */
/* The configuration file (pcd.conf(5)): INI, strict. Everything has a default. */
#ifndef PC_DAEMON_CONFIG_H
#define PC_DAEMON_CONFIG_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/relay.h"
#include "base/addr.h"
#include "base/log.h"
#include "dp/dp.h"
#include "qos/plan.h"
#include "relay/turn.h"

#define PC_CONFIG_MAX_LISTEN	 16
#define PC_CONFIG_MAX_INTERFACES 16
#define PC_CONFIG_MAX_RULES	 1024
#define PC_CONFIG_MAX_SECRET	 256
#define PC_CONFIG_MAX_TIERS	 16
#define PC_CONFIG_DEFAULT_PORT	 3478

struct pc_config_rule {
	struct pc_prefix prefix;
	bool allow;
};

struct pc_config_secret {
	char text[PC_CONFIG_MAX_SECRET];
};

struct pc_config {
	/* [node] */
	char state_dir[256];	  /* /var/lib/pcd */
	char control_socket[108]; /* /run/pcd/control.sock */
	char user[64];		  /* "": stay who we are */
	enum pc_log_level log_level;
	char bpffs[256];		    /* /sys/fs/bpf/pcd */
	char identity_passphrase_file[256]; /* empty: the identity is not sealed */
	/* [relay] */
	struct pc_addr listen[PC_CONFIG_MAX_LISTEN]; /* port 3478 on every global address */
	size_t n_listen;
	struct pc_ip relay_address[PC_TURN_MAX_RELAY_IPS]; /* the addresses of listen */
	size_t n_relay_address;
	struct pc_ip external_address[2]; /* one per family */
	size_t n_external_address;
	uint16_t port_low, port_high;			       /* 49152-65535 */
	char interface[PC_CONFIG_MAX_INTERFACES][IF_NAMESIZE]; /* those that have the addresses */
	size_t n_interface;
	char realm[128]; /* "pc" */
	enum pc_dp_mode xdp;
	enum pc_dp_share xdp_dispatcher;
	uint32_t max_sessions; /* 65536 */
	uint32_t max_tenants;  /* 16384 */
	struct pc_config_secret secret[PC_TURN_MAX_SECRETS];
	size_t n_secret;
	struct pc_config_rule *rule; /* allow-peer, deny-peer, in order; owned */
	size_t n_rule;
	bool allow_all_peer_ports;
	uint32_t stranger_replies; /* per second and source prefix, 20 */
	/* Messages per second to the kernel half, other than data; 0: no limit. */
	uint32_t stranger_rate;	      /* of one address, /32 or /64: 200 */
	uint32_t stranger_net_rate;   /* of one network, /24 or /48: 2000 */
	uint32_t stranger_total_rate; /* of all, that reach pcd: 5000 */
	uint32_t client_rate;	      /* of one client with an allocation, beside these: 10000 */
	uint64_t capacity;	      /* bit/s that the uplink can send; 0: not known */
	bool native;		      /* serve native peers; yes */
	uint32_t native_peers;	      /* sessions of them at a time, 4096 */
	uint32_t max_pipes;	      /* at a time, 4096 */
	uint32_t native_peer_pipes;   /* of them, that one peer may have asked for, 64 */
	uint32_t native_handshakes;   /* per second before cookies are asked for, 200 */
	uint32_t native_source_handshakes; /* per second of one source then, 10 */
	uint32_t linger_s; /* data plane stays up after SIGTERM; 300; then it passes everything */
	/* [tier NAME]; the first three are owner, paid and free */
	struct pc_tier tier[PC_CONFIG_MAX_TIERS];
	size_t n_tier;
};

void pc_config_defaults(struct pc_config *c);
/*
 * Reads @path over the defaults. Returns 0, or a negative code with one line in @ret_error:
 * "FILE:LINE: what is wrong, with the text; what is allowed".
 */
int pc_config_load(const char *path, struct pc_config *ret_config, char *ret_error,
		   size_t error_size);
/* The same from memory (fuzzers, tests); @name stands for the file in messages. */
int pc_config_parse(const char *text, size_t len, const char *name, struct pc_config *ret_config,
		    char *ret_error, size_t error_size);
/*
 * Fills what was left to the host: listen, relay addresses, interfaces; checks what can be checked
 * against it (addresses exist, interfaces exist). Same error convention.
 */
int pc_config_complete(struct pc_config *c, char *ret_error, size_t error_size);
/* Wipes secrets, frees. */
void pc_config_free(struct pc_config *c);

#endif
