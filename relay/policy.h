/* SPDX-License-Identifier: MIT */
/*
 * Which peer addresses may be relayed to. Default deny for every special-purpose range of IPv4 and
 * IPv6 (IANA registries of RFC 6890 and successors), multicast, cloud metadata; IPv4 embedded in
 * IPv6 (mapped, compatible, NAT64, 6to4, Teredo) is extracted and judged again. Binary prefix
 * tries; the longest match wins, at equal length deny wins over allow.
 */
#ifndef PC_RELAY_POLICY_H
#define PC_RELAY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct pc_policy;

/* With the default rules. Returns 0 or -ENOMEM. */
int pc_policy_new(struct pc_policy **ret_policy);
void pc_policy_free(struct pc_policy *p);
/*
 * An operator's rule: stronger than any default rule of the same or shorter length. Returns 0,
 * -ENOMEM, or PC_ERR_RANGE when the prefix is none.
 */
int pc_policy_add(struct pc_policy *p, const struct pc_prefix *prefix, bool allow);
/* An address of the host itself: denied, whatever the operator's rules say. */
int pc_policy_add_own(struct pc_policy *p, const struct pc_ip *ip);

bool pc_policy_allows_ip(const struct pc_policy *p, const struct pc_ip *ip);
/*
 * The port too: refuses 0, ports below 1024 except 443, and well-known UDP amplifiers above
 * (SSDP 1900, memcached 11211 and so on), unless pc_policy_allow_all_ports() was called.
 */
bool pc_policy_allows(const struct pc_policy *p, const struct pc_addr *peer);
void pc_policy_allow_all_ports(struct pc_policy *p);

#endif
