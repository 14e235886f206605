/* SPDX-License-Identifier: MIT */
/* The tables of the fake data plane: flows, permissions and ports, encoded like the kernel's. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/htab.h"
#include "base/siphash.h"
#include "dp/dp_fake.h"
#include "dp/dp_int.h"

struct fake_item {
	struct pc_hnode node;
	struct pc_dp_item item;
};

static struct {
	struct pc_htab items;
	uint32_t used[PC_DP_MAPS];
	uint32_t max_sessions;
} tables;

static uint64_t hash_item(const struct pc_dp_item *item)
{
	static const uint8_t secret[16] = "fake data plane";

	return pc_siphash24(secret, &item->key, pc_dp_maps[item->map].key_size) ^ item->map;
}

static struct fake_item *find_item(const struct pc_dp_item *item)
{
	struct pc_hnode *node;

	if (!tables.items.buckets)
		return NULL;
	for (node = pc_htab_first(&tables.items, hash_item(item)); node;
	     node = pc_htab_next(node)) {
		struct fake_item *found = pc_container_of(node, struct fake_item, node);

		if (found->item.map == item->map &&
		    !memcmp(&found->item.key, &item->key, pc_dp_maps[item->map].key_size))
			return found;
	}
	return NULL;
}

static void remove_item(struct fake_item *item)
{
	if (!item)
		return;
	tables.used[item->item.map]--;
	pc_htab_remove(&tables.items, &item->node);
	free(item);
}

void pc_dp_fake_tables_clear(void)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;

	if (!tables.items.buckets)
		return;
	while ((node = pc_htab_iterate(&tables.items, &it)))
		remove_item(pc_container_of(node, struct fake_item, node));
	pc_htab_free(&tables.items);
	memset(&tables, 0, sizeof(tables));
}

int pc_dp_fake_tables_init(uint32_t max_sessions)
{
	tables.max_sessions = max_sessions;
	return pc_htab_init(&tables.items, 64);
}

static uint32_t room(enum pc_dp_map map)
{
	bool perm = map == PC_DP_PERM4 || map == PC_DP_PERM6;
	uint32_t limited = perm ? pc_dp_fake_faults()->perm_room : pc_dp_fake_faults()->flow_room;

	if (limited && map < PC_DP_PORTS)
		return limited;
	return pc_dp_map_entries(map, tables.max_sessions);
}

static int put_item(const struct pc_dp_item *item, bool *ret_added)
{
	struct fake_item *found = find_item(item);

	*ret_added = false;
	if (found) {
		found->item.value = item->value;
		return 0;
	}
	if (tables.used[item->map] >= room(item->map))
		return PC_ERR_FULL;
	found = calloc(1, sizeof(*found));
	if (!found)
		return -ENOMEM;
	found->item = *item;
	pc_htab_insert(&tables.items, &found->node, hash_item(item));
	tables.used[item->map]++;
	*ret_added = true;
	return 0;
}

static int put_pair(const struct pc_dp_item items[static 2])
{
	bool added_down, added_up;
	int err = put_item(&items[1], &added_down);

	if (err)
		return err;
	err = put_item(&items[0], &added_up);
	if (err && added_down)
		remove_item(find_item(&items[1]));
	return err;
}

int pc_dp_flow_set(struct pc_dp *dp, const struct pc_dp_flow *flow)
{
	struct pc_dp_item items[2];
	int err = dp->status.kernel ? pc_dp_flow_encode(flow, items) : PC_ERR_STATE;

	if (err)
		return err;
	return flow->slot < dp->max_sessions ? put_pair(items) : PC_ERR_RANGE;
}

int pc_dp_flow_del(struct pc_dp *dp, const struct pc_dp_flow *flow)
{
	struct pc_dp_item items[2];
	int err = dp->status.kernel ? pc_dp_flow_encode(flow, items) : PC_ERR_STATE;

	for (int i = 0; i < 2 && !err; i++)
		remove_item(find_item(&items[i]));
	return err;
}

int pc_dp_perm_set(struct pc_dp *dp, const struct pc_dp_perm *perm)
{
	struct pc_dp_item items[2];
	int err = dp->status.kernel ? pc_dp_perm_encode(perm, items) : PC_ERR_STATE;

	if (err)
		return err;
	if (pc_dp_fake_faults()->perm_set)
		return pc_dp_fake_faults()->perm_set;
	return perm->slot < dp->max_sessions ? put_pair(items) : PC_ERR_RANGE;
}

int pc_dp_perm_del(struct pc_dp *dp, const struct pc_dp_perm *perm)
{
	struct pc_dp_item items[2];
	int err = dp->status.kernel ? pc_dp_perm_encode(perm, items) : PC_ERR_STATE;

	for (int i = 0; i < 2 && !err; i++)
		remove_item(find_item(&items[i]));
	return err;
}

int pc_dp_port_set(struct pc_dp *dp, const struct pc_addr *relayed, bool allocated)
{
	struct pc_dp_item item;
	bool added;
	int err = dp->status.kernel ? pc_dp_port_encode(relayed, &item) : PC_ERR_STATE;

	if (err || allocated)
		return err ? err : put_item(&item, &added);
	remove_item(find_item(&item));
	return 0;
}

int pc_dp_client_set(struct pc_dp *dp, const struct pc_addr *client, const struct pc_addr *server,
		     uint32_t slot)
{
	struct pc_dp_item item;
	bool added;
	int err =
		dp->status.kernel ? pc_dp_client_encode(client, server, slot, &item) : PC_ERR_STATE;

	return err ? err : put_item(&item, &added);
}

int pc_dp_client_del(struct pc_dp *dp, const struct pc_addr *client, const struct pc_addr *server)
{
	struct pc_dp_item item;
	int err = dp->status.kernel ? pc_dp_client_encode(client, server, 0, &item) : PC_ERR_STATE;

	if (!err)
		remove_item(find_item(&item));
	return err;
}

void pc_dp_batch_begin(struct pc_dp *dp)
{
	(void)dp;
}

bool pc_dp_none_stale(struct pc_dp *dp)
{
	return false;
}

bool pc_dp_nexthop_named(struct pc_dp *dp, uint32_t index)
{
	return false;
}

int pc_dp_batch_end(struct pc_dp *dp)
{
	(void)dp;
	return 0;
}

int pc_dp_sweep(struct pc_dp *dp, bool (*keep)(void *arg, const struct pc_dp_entry *entry),
		void *arg)
{
	struct pc_htab_iter it = { 0 };
	struct pc_hnode *node;
	int deleted = 0;

	if (!dp->status.kernel)
		return PC_ERR_STATE;
	while ((node = pc_htab_iterate(&tables.items, &it))) {
		struct fake_item *found = pc_container_of(node, struct fake_item, node);
		struct pc_dp_entry entry;

		pc_dp_decode(found->item.map, &found->item.key, &found->item.value, &entry);
		if (keep(arg, &entry))
			continue;
		remove_item(found);
		deleted++;
	}
	return deleted;
}

int pc_dp_flow_usage(struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size)
{
	if (!dp->status.kernel)
		return PC_ERR_STATE;
	*ret_used = tables.used[PC_DP_FLOW4] + tables.used[PC_DP_FLOW6];
	*ret_size = room(PC_DP_FLOW4) + room(PC_DP_FLOW6);
	return 0;
}

int pc_dp_perm_usage(struct pc_dp *dp, uint32_t *ret_used, uint32_t *ret_size)
{
	if (!dp->status.kernel)
		return PC_ERR_STATE;
	*ret_used = tables.used[PC_DP_PERM4] + tables.used[PC_DP_PERM6];
	*ret_size = room(PC_DP_PERM4) + room(PC_DP_PERM6);
	return 0;
}

int pc_dp_fullest(struct pc_dp *dp, const char **ret_name, uint32_t *ret_used, uint32_t *ret_size)
{
	if (!dp->status.kernel)
		return PC_ERR_STATE;
	*ret_name = "flow4";
	*ret_used = tables.used[PC_DP_FLOW4];
	*ret_size = room(PC_DP_FLOW4);
	return 0;
}

const struct pc_flow *pc_dp_fake_find(const struct pc_addr *src, const struct pc_addr *dst,
				      uint16_t channel)
{
	/* The key of a way up is all that counts here. */
	struct pc_dp_flow flow = {
		.client = *src,
		.server = *dst,
		.relayed = *dst,
		.peer = *src,
		.channel = channel,
	};
	struct pc_dp_item items[2];
	const struct fake_item *found;

	if (pc_dp_flow_encode(&flow, items))
		return NULL;
	found = find_item(&items[0]);
	return found ? &found->item.value.flow : NULL;
}

const struct pc_perm *pc_dp_fake_find_perm(const struct pc_dp_perm *perm, bool up)
{
	struct pc_dp_item items[2];
	const struct fake_item *found;

	if (pc_dp_perm_encode(perm, items))
		return NULL;
	found = find_item(&items[up ? 0 : 1]);
	return found ? &found->item.value.perm : NULL;
}

bool pc_dp_fake_port(const struct pc_addr *relayed)
{
	struct pc_dp_item item;

	return !pc_dp_port_encode(relayed, &item) && find_item(&item);
}

size_t pc_dp_fake_flows(void)
{
	return tables.used[PC_DP_FLOW4] + tables.used[PC_DP_FLOW6];
}

size_t pc_dp_fake_perms(void)
{
	return tables.used[PC_DP_PERM4] + tables.used[PC_DP_PERM6];
}

size_t pc_dp_fake_ports(void)
{
	return tables.used[PC_DP_PORTS];
}

size_t pc_dp_fake_clients(void)
{
	return tables.used[PC_DP_CLIENTS];
}

bool pc_dp_fake_client(const struct pc_addr *client, const struct pc_addr *server)
{
	struct pc_dp_item item;

	return !pc_dp_client_encode(client, server, 0, &item) && find_item(&item);
}
