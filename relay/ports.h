/* SPDX-License-Identifier: MIT */
/*
 * Relay ports of one relay address: picked at random, quarantined before reuse, never leaked.
 * EVEN-PORT and RESERVATION-TOKEN of RFC 8656 section 7.2. A port in use has one user or, where it
 * was taken as one that may be shared, several. Pure bookkeeping: opens nothing.
 */
#ifndef PC_RELAY_PORTS_H
#define PC_RELAY_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#define PC_PORT_QUARANTINE_NS 60000000000ull
#define PC_PORTS_SHARE_TRIES  256

struct pc_ports;

/* [low, high] inclusive. Returns 0 or -ENOMEM. */
int pc_ports_new(uint16_t low, uint16_t high, struct pc_ports **ret_ports);
void pc_ports_free(struct pc_ports *p);

/*
 * Takes a random free port; @even: an even one, whose successor must be free too when @pair (the
 * successor is not taken). @random is fresh system randomness. When everything else is used up the
 * quarantine is cut short, oldest first. Even ones are never shared. Returns 0 or PC_ERR_FULL.
 */
int pc_ports_take(struct pc_ports *p, uint64_t now, uint32_t random, bool even, bool pair,
		  uint16_t *ret_port);
/*
 * Takes that very port (restoring, reservations), quarantined or blocked as it may be. @shared: it
 * may have other users, now and later. Returns 0, PC_ERR_EXISTS when it is in use and cannot be
 * shared, or PC_ERR_RANGE.
 */
int pc_ports_take_exact(struct pc_ports *p, uint16_t port, bool shared);
/*
 * One more user for a port in use: of two that @fits says yes to, chosen at random, the one with
 * fewer users. @fits is asked PC_PORTS_SHARE_TRIES times at most. Returns 0 or PC_ERR_FULL.
 */
int pc_ports_share(struct pc_ports *p, uint64_t random, bool (*fits)(void *arg, uint16_t port),
		   void *arg, uint16_t *ret_port);
/* One user less; after the last one into quarantine until now + PC_PORT_QUARANTINE_NS. */
void pc_ports_release(struct pc_ports *p, uint16_t port, uint64_t now);
/* The host itself uses it: not offered again until @until. For bind() failing with EADDRINUSE. */
void pc_ports_block(struct pc_ports *p, uint16_t port, uint64_t until);
unsigned int pc_ports_in_use(const struct pc_ports *p);
/* Ports with several users; the most users that one port has. The latter looks at every port. */
unsigned int pc_ports_shared(const struct pc_ports *p);
uint32_t pc_ports_most_users(const struct pc_ports *p);

#endif
