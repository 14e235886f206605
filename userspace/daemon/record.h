/* SPDX-License-Identifier: MIT */
/*
 * Allocations as bytes for the store: versioned, big-endian, one valid encoding. Times are
 * monotonic, so records hold for one boot of the host only.
 */
#ifndef PC_DAEMON_RECORD_H
#define PC_DAEMON_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "relay/turn.h"

/* More than the largest record: 512 permissions and 512 channels with IPv6 peers. */
#define PC_RECORD_MAX 36864

/* Returns the length, or 0 when @size is too small. */
size_t pc_record_encode(const struct pc_turn_record *record, void *buf, size_t size);

/* A decoded record with room for what it points to. */
struct pc_record {
	struct pc_turn_record turn;
	struct pc_turn_saved_permission permissions[PC_TURN_MAX_PERMISSIONS];
	struct pc_turn_saved_channel channels[PC_TURN_MAX_CHANNELS];
};
/*
 * path.listener is not part of a record: it is set to UINT32_MAX. Returns 0, PC_ERR_VERSION,
 * PC_ERR_SHORT, PC_ERR_MALFORMED or PC_ERR_RANGE. Wipe *ret_record after use: it has a key.
 */
int pc_record_decode(const void *buf, size_t len, struct pc_record *ret_record);

#endif
