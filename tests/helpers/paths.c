/* SPDX-License-Identifier: MIT */
/*
 * paths SOCKET CLIENT_NETNS PEER_NETNS CLIENT_GATEWAY_MAC PEER_GATEWAY_MAC VLAN
 *
 * Sets up sessions with a running pcd by real TURN exchanges, then fires the frames of
 * paths_shots.h at it, one by one, from the interfaces (eth0) of its clients and of their peers.
 * Prints for each a line of four columns, separated by tabs:
 *   name, what came of it, who dealt with it, who should have while XDP is attached
 * "What came of it" is every datagram seen at either interface, and what the sessions' counters and
 * the drop reasons grew by; relayed ports, which are random, are replaced by names. So the lines of
 * two runs compare as text, whatever path the frames took.
 *
 * A fence tells when all that one frame can cause has happened: packets that every socket of pcd
 * has to relay in user space, and that nothing overtakes.
 */
#include <poll.h>

#include "base/parse.h"
#include "paths_watch.h"

#define FENCE_MS    3000
#define FENCE_MAGIC 0xfe9ce5a1u

/* --- fences --- */

/* The number of the fence that @p belongs to, 0 if it belongs to none. */
static uint32_t fence_number(const struct tap_packet *p)
{
	for (size_t i = 8; i + 8 <= p->len && p->len < 100; i += 4)
		if (p->protocol == 17 && get32(p->data + i) == FENCE_MAGIC)
			return get32(p->data + i + 4);
	return 0;
}

/* Notes what arrives. Returns how many packets of fence @number did, on either side. */
static unsigned int collect(uint32_t number)
{
	struct tap *taps[] = { &world.client, &world.peer };
	unsigned int n = 0;

	for (int i = 0; i < 2; i++) {
		while (tap_receive(taps[i])) {
			const struct tap_packet *p = &taps[i]->packet;
			uint32_t fence = fence_number(p);

			if (fence)
				n += fence == number;
			else if (p->protocol == 17 || p->protocol == 1)
				note_packet(i ? "peer" : "client", p);
		}
	}
	return n;
}

static void await_fence(uint32_t number, unsigned int want)
{
	uint64_t end = pc_clock_monotonic() + FENCE_MS * PC_NS_PER_MS;

	for (unsigned int have = 0; have < want; have += collect(number)) {
		struct pollfd p[] = { { .fd = world.client.fd, .events = POLLIN },
				      { .fd = world.peer.fd, .events = POLLIN } };

		if (pc_clock_monotonic() > end)
			die("waiting for a fence", (int)have - 100);
		poll(p, 2, 100);
	}
}

static void inject(bool client_side, struct frame *frame)
{
	memcpy(frame->bytes, client_side ? world.client_gateway : world.peer_gateway, 6);
	if (get16(frame->bytes + 12) == ETH_P_8021Q)
		put16(frame->bytes + 14, (uint16_t)(0x6000 | world.vlan));
	check("injecting", tap_send(client_side ? &world.client : &world.peer, frame));
}

static size_t build_send(uint8_t *buf, size_t size, enum place to, const uint8_t *data, size_t len,
			 const struct shot *shot)
{
	static const uint8_t txid[PC_STUN_TXID_LEN] = "paths of one";
	struct pc_stun_writer w;

	pc_stun_begin(&w, buf, size, PC_STUN_SEND, PC_STUN_INDICATION, txid);
	pc_stun_put_xor_addr(&w, PC_ATTR_XOR_PEER_ADDRESS, &world.place[to]);
	if (shot && shot->no_fragment)
		pc_stun_put(&w, PC_ATTR_DONT_FRAGMENT, NULL, 0);
	if (!shot || !shot->no_data)
		pc_stun_put(&w, PC_ATTR_DATA, data, len);
	return pc_stun_end(&w);
}

static void send_mark(enum place from, enum place to, uint32_t number)
{
	uint8_t mark[8], message[128];
	struct frame_spec spec = { .vlans = world.vlan ? 1 : 0,
				   .ttl = 64,
				   .from = endpoint_of(from),
				   .to = endpoint_of(to),
				   .payload = mark,
				   .len = sizeof(mark),
				   .option_words = 1 };
	struct frame frame;

	put32(mark, FENCE_MAGIC);
	put32(mark + 4, number);
	if (from == A) {
		spec.to = endpoint_of(SERVER);
		spec.payload = message;
		spec.len = build_send(message, sizeof(message), to, mark, sizeof(mark), NULL);
	}
	frame_build(&frame, &spec);
	inject(from == A, &frame);
}

/*
 * Through the service socket, then through every relayed one; the second round cannot begin before
 * pcd is done with whatever it received together with the first. With IP options, so that no kernel
 * program overtakes what they fence.
 */
static void fence(void)
{
	for (int round = 0; round < 2; round++) {
		unsigned int want = 0;

		send_mark(A, MARK, ++world.fences);
		await_fence(world.fences, 1);
		world.fences++;
		for (int i = 0; i < CLIENTS; i++) {
			if (!world.live[i])
				continue;
			send_mark(MARK, RELAYED_A + i, world.fences);
			want++;
		}
		await_fence(world.fences, want);
	}
}

/* --- shots --- */

static size_t build_payload(const struct shot *s, uint8_t *buf, size_t size)
{
	static uint8_t data[2048];
	size_t n;

	frame_fill(data, sizeof(data), (uint32_t)s->len * 7 + 1);
	if (s->raw) {
		memcpy(buf, s->raw, s->len);
		return s->len;
	}
	if (s->wrap == SEND)
		return build_send(buf, size, s->send_to, data, s->len, s);
	if (s->wrap == BARE) {
		memcpy(buf, data, s->len);
		return s->len;
	}
	n = frame_channel_data(buf, s->channel, data, s->len, s->pad, s->pad_byte);
	put16(buf + 2, (uint16_t)((int)s->len + s->said_off));
	return n;
}

/* The fragment of @whole with the bytes @from to @to behind the IP header. */
static void cut(const struct frame *whole, size_t link, size_t from, size_t to, bool last,
		struct frame *ret_part)
{
	uint8_t *ip = ret_part->bytes + link;

	*ret_part = *whole;
	memmove(ip + 20, ip + 20 + from, to - from);
	put16(ip + 2, (uint16_t)(20 + to - from));
	put16(ip + 6, (uint16_t)((last ? 0 : FRAME_MF) | from / 8));
	frame_check_ip(ip);
	ret_part->len = link + 20 + to - from;
}

static void inject_cut(bool client_side, const struct shot *s, const struct frame *whole)
{
	size_t link = world.vlan ? 18 : 14, from = 0, end = whole->len - link - 20;
	struct frame part;

	for (int i = 0; i < 2 && s->cut_at[i]; i++) {
		cut(whole, link, from, s->cut_at[i], false, &part);
		inject(client_side, &part);
		from = s->cut_at[i];
	}
	cut(whole, link, from, end, true, &part);
	inject(client_side, &part);
}

static void inject_shot(const struct shot *s)
{
	static uint16_t id = 1000;
	uint8_t payload[FRAME_MAX];
	struct frame_spec spec = {
		.vlans = world.vlan || s->priority ? 1 : 0,
		.tos = s->tos,
		.ttl = s->ttl || s->ttl_zero ? s->ttl : 61,
		.id = ++id,
		.frag = s->frag,
		.option_words = s->option_words,
		.from = endpoint_of(s->from),
		.to = endpoint_of(s->to),
		.payload = payload,
		.len = build_payload(s, payload, sizeof(payload)),
		.no_checksum = s->no_checksum,
		.ip_len_off = s->ip_len_off,
		.udp_len_off = s->udp_len_off,
		.trailer = s->trailer,
	};
	bool client_side = !s->outside && (s->from <= STRANGER || s->from >= RELAYED_A);
	struct frame frame;

	frame_build(&frame, &spec);
	if (s->cut_at[0])
		inject_cut(client_side, s, &frame);
	else
		inject(client_side, &frame);
}

static void fire(const struct shot *s, const char *way, const char *detail)
{
	static const char *const paths[] = { "kernel", "user", "host", "shut" };
	struct counts before, after;

	world.seen_len = 0;
	world.seen[0] = '\0';
	read_counts(&before);
	inject_shot(s);
	fence();
	read_counts(&after);
	subtract(&after, &before);
	subtract(&after, &world.fence);
	note_counts(&after);
	printf("%s%s%s\t%s\t%s\t%s\n", way, s->name, detail, world.seen, path_taken(&after),
	       paths[s->path]);
}

static void fire_list(const struct shot *shots, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fire(&shots[i], "", "");
}
#define FIRE(list) fire_list(list, sizeof(list) / sizeof((list)[0]))

static void fire_three_ways(const struct shot *shot, const char *detail)
{
	struct shot up = { UP }, down = { DOWN }, hairpin = { HAIRPIN }, s = *shot;

	s.from = up.from, s.to = up.to, s.wrap = up.wrap, s.channel = up.channel;
	fire(&s, "up: ", detail);
	s.channel = hairpin.channel;
	fire(&s, "across: ", detail);
	if (s.pad)
		return;
	s.from = down.from, s.to = down.to, s.wrap = down.wrap;
	fire(&s, "down: ", detail);
}

static void fire_sweeps(void)
{
	static const uint8_t bytes[] = { 0x00, 0x01, 0xa5, 0xff };
	struct shot lengths = { .name = "length/", .path = KERNEL };
	struct shot padding = { .name = "padding/", .path = KERNEL };
	char detail[64];

	for (lengths.len = 1; lengths.len <= 24; lengths.len++) {
		snprintf(detail, sizeof(detail), "%zu", lengths.len);
		fire_three_ways(&lengths, detail);
	}
	for (padding.len = 1; padding.len <= 11; padding.len++) {
		for (padding.pad = 1; padding.pad <= -padding.len % 4; padding.pad++) {
			padding.pad_byte = bytes[(padding.len + padding.pad) % sizeof(bytes)];
			padding.no_checksum = padding.len == 9;
			snprintf(detail, sizeof(detail), "%zu+%zu of %02x", padding.len,
				 padding.pad, padding.pad_byte);
			fire_three_ways(&padding, detail);
			if (padding.pad_byte == 0)
				continue;
			padding.pad_byte = 0;
			snprintf(detail, sizeof(detail), "%zu+%zu of 00", padding.len, padding.pad);
			fire_three_ways(&padding, detail);
		}
	}
}

/* --- sessions --- */

static void bind_channel(enum place client, uint16_t channel, enum place peer)
{
	check("ChannelBind", tc_bind(&world.turn[client], channel, &world.place[peer]));
}

static void open_sessions(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct turn_client *c = &world.turn[i];

		c->user = "u";
		c->password = "p";
		check("opening a client's socket",
		      tc_open(c, &world.place[i], &world.place[SERVER]));
		check("Allocate", tc_allocate(c));
		check("CreatePermission", tc_permit(c, &world.place[MARK]));
		world.place[RELAYED_A + i] = c->relayed;
		world.live[i] = true;
	}
	bind_channel(A, CH_P, P);
	bind_channel(A, CH_B, RELAYED_B);
	bind_channel(A, CH_LOW, LOW);
	bind_channel(A, CH_GOING, GOING);
	bind_channel(A, CH_LOW_CLIENT, RELAYED_LOW);
	bind_channel(A, CH_EDGE, EDGE);
	bind_channel(B, B_TO_A, RELAYED_A);
	bind_channel(B, B_TO_P, P);
	bind_channel(LOW_CLIENT, B_TO_P, P);
	/* For Send indications through another client. */
	check("CreatePermission", tc_permit(&world.turn[A], &world.place[RELAYED_LOW]));
}

/* Peers answer nothing, not even that there is nobody. */
static void open_peers(void)
{
	for (int i = P; i <= MARK; i++) {
		struct sockaddr_storage ss;
		socklen_t len = pc_addr_to_sockaddr(&world.place[i], &ss);
		int fd;

		if (i == BANNED)
			continue;
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0)
			die(place_text[i], -errno);
	}
}

static void await_nexthops(void)
{
	uint64_t end = pc_clock_monotonic() + 15 * PC_NS_PER_S;

	while (pc_clock_monotonic() < end) {
		json_t *reply = call("health");
		uint64_t left = number_in(reply, "nexthops", "unresolved");

		json_decref(reply);
		if (!left)
			return;
		poll(NULL, 0, 20);
	}
	die("resolving next hops", -ETIMEDOUT);
}

/* After what changed the sessions: what is under way arrives, and fences are measured again. */
static void settle(void)
{
	struct counts before;

	await_nexthops();
	fence();
	world.seen_len = 0;
	read_counts(&before);
	fence();
	read_counts(&world.fence);
	subtract(&world.fence, &before);
	if (world.seen_len)
		fprintf(stderr, "paths: unexpected: %s\n", world.seen);
}

static void fire_all(void)
{
	settle();
	for (size_t i = 0; i < sizeof(three_ways) / sizeof(three_ways[0]); i++)
		fire_three_ways(&three_ways[i], "");
	fire_sweeps();
	FIRE(one_way);
	check("CreatePermission", tc_permit(&world.turn[LOW_CLIENT], &world.place[RELAYED_A]));
	settle();
	FIRE(permitted);
	bind_channel(LOW_CLIENT, LOW_TO_A, RELAYED_A);
	settle();
	FIRE(bound);
	FIRE(before_cut);
	json_decref(call("reload"));
	settle();
	FIRE(after_cut);
	check("Refresh", tc_refresh(&world.turn[B], 0));
	world.live[B] = false;
	settle();
	FIRE(deleted);
}

static int parse_mac(const char *text, uint8_t mac[static 6])
{
	unsigned int b[6];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t vlan;

	if (argc != 7 || parse_mac(argv[4], world.client_gateway) ||
	    parse_mac(argv[5], world.peer_gateway) || pc_parse_u64(argv[6], 0, 4094, &vlan) < 0) {
		fprintf(stderr, "usage: paths SOCKET CLIENT_NETNS PEER_NETNS CLIENT_GATEWAY_MAC "
				"PEER_GATEWAY_MAC VLAN\n");
		return 2;
	}
	check("libsodium", sodium_init() < 0);
	world.socket = argv[1];
	world.vlan = (unsigned int)vlan;
	for (int i = 0; i < RELAYED_A; i++)
		check(place_text[i], pc_addr_parse(place_text[i], &world.place[i]));
	check("entering the peers' namespace", tap_enter(argv[3]));
	check("listening at the peers' interface", tap_open(&world.peer, "eth0"));
	open_peers();
	check("entering the clients' namespace", tap_enter(argv[2]));
	check("listening at the clients' interface", tap_open(&world.client, "eth0"));
	open_sessions();
	fire_all();
	return 0;
}
