/* SPDX-License-Identifier: MIT */
/*
 * Relay ports of one relay address: picked at random, quarantined before reuse, never leaked.
 * EVEN-PORT and RESERVATION-TOKEN of RFC 8656 section 7.2. Pure bookkeeping: opens nothing.
 */
#ifndef PC_RELAY_PORTS_H
#define PC_RELAY_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#define PC_PORT_QUARANTINE_NS 60000000000ull

struct pc_ports;

/* [low, high] inclusive. Returns 0 or -ENOMEM. */
int pc_ports_new(uint16_t low, uint16_t high, struct pc_ports **ret_ports);
void pc_ports_free(struct pc_ports *p);

/*
 * Takes a random free port; @even: an even one, whose successor must be free too when @pair (the
 * successor is not taken). @random is fresh system randomness. When everything else is used up the
 * quarantine is cut short, oldest first. Returns 0 or PC_ERR_FULL.
 */
int pc_ports_take(struct pc_ports *p, uint64_t now, uint32_t random, bool even, bool pair,
		  uint16_t *ret_port);
/*
 * Takes that very port (restoring, reservations), quarantined or blocked as it may be. Returns 0,
 * PC_ERR_EXISTS when it is in use, or PC_ERR_RANGE.
 */
int pc_ports_take_exact(struct pc_ports *p, uint16_t port);
/* Gives back; into quarantine until now + PC_PORT_QUARANTINE_NS. */
void pc_ports_release(struct pc_ports *p, uint16_t port, uint64_t now);
/* The host itself uses it: not offered again until @until. For bind() failing with EADDRINUSE. */
void pc_ports_block(struct pc_ports *p, uint16_t port, uint64_t until);
unsigned int pc_ports_in_use(const struct pc_ports *p);

#endif
