/* SPDX-License-Identifier: MIT */
/* pcpeer's files: the configuration (INI, strict), the key, the list of trusted peers. */
#ifndef PC_PCPEER_CONFIG_H
#define PC_PCPEER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/log.h"

#define CONFIG_RELAYS	 8
#define CONFIG_SERVICES	 64 /* connects, and as many exposes */
#define CONFIG_ALLOW	 64 /* peers of one service */
#define CONFIG_PATH	 512
#define CONFIG_TRUST_MAX 4096
#define SERVICE_STRLEN	 16 /* "udp:65535" */

struct relay_spec {
	struct pc_addr addr;
	uint8_t identity[32];
};

struct connect_spec {
	uint8_t peer[32];
	uint16_t port;
	struct pc_addr listen;
};

struct expose_spec {
	uint16_t port;
	struct pc_addr to;
	uint8_t allow[CONFIG_ALLOW][32];
	size_t n_allow; /* 0: who is trusted */
};

struct psk_spec {
	uint8_t identity[32]; /* of a relay */
	char file[CONFIG_PATH];
	uint8_t key[32]; /* once the file is read; to be wiped */
};

struct config {
	char key_file[CONFIG_PATH], trust_file[CONFIG_PATH], socket[CONFIG_PATH];
	struct relay_spec relay[CONFIG_RELAYS];
	size_t n_relay;
	struct connect_spec connect[CONFIG_SERVICES];
	size_t n_connect;
	struct expose_spec expose[CONFIG_SERVICES];
	size_t n_expose;
	struct psk_spec psk[CONFIG_RELAYS];
	size_t n_psk;
	char grant[CONFIG_RELAYS][CONFIG_PATH]; /* files */
	size_t n_grant;
	struct pc_addr bind;
	bool direct;
	enum pc_log_level log_level;
};

/* Files of the user; 0, or PC_ERR_NOT_FOUND without $HOME, PC_ERR_RANGE when too long. */
int config_defaults(struct config *c);
int config_default_file(char *ret_path, size_t size);
int config_default_socket(char *ret_path, size_t size);
/* 0, or a negative code with one line in @ret_error; -ENOENT when there is no such file. */
int config_load(const char *path, struct config *c, char *ret_error, size_t size);
/* Makes the folders above @path, for the user alone. 0 or -errno. */
int config_make_folder(const char *path);

/* "ADDR:PORT/PEER" */
int relay_parse(const char *text, struct relay_spec *ret);
/* "PEER=FILE" */
int psk_parse(const char *text, struct psk_spec *ret);
/* "udp:PORT": 0, PC_ERR_UNSUPPORTED (another protocol) or PC_ERR_MALFORMED. */
int service_parse(const char *text, uint16_t *ret_port);
const char *service_format(uint16_t port, char buf[static SERVICE_STRLEN]);

struct trust {
	uint8_t (*peer)[32];
	size_t n;
};

/* A file that is not there is an empty list. */
int trust_load(const char *path, struct trust *ret_trust, char *ret_error, size_t size);
int trust_save(const char *path, const struct trust *t);
bool trust_has(const struct trust *t, const uint8_t peer[static 32]);
int trust_add(struct trust *t, const uint8_t peer[static 32]);	  /* 0, PC_ERR_EXISTS, -ENOMEM */
int trust_remove(struct trust *t, const uint8_t peer[static 32]); /* 0 or PC_ERR_NOT_FOUND */
void trust_free(struct trust *t);

#endif
