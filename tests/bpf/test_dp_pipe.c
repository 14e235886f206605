/* SPDX-License-Identifier: MIT */
/*
 * Pipes by the data plane library: the program and the user-space path get the same datagrams, and
 * must say the same, send the same, count the same; and what outlives a daemon.
 */
#include "dp_env.h"
#include "frame.h"
#include "base/siphash.h"

#define LO	1
#define STATE_U ENV_ROOT "/state-u"
#define N_KINDS 16
#define HOUR_NS (3600 * PC_NS_PER_S)
#define PORT	50021

static struct pc_addr addr_of(struct endpoint end)
{
	struct pc_addr addr = { .ip.family = end.six ? 6 : 4, .port = end.port };

	frame_addr(addr.ip.b, end);
	return addr;
}

static const struct endpoint left = { 0xc0000215, 41001, false };
static const struct endpoint right = { 0xcb007116, 42001, false };
static const struct endpoint service = { 0xc6336401, ENV_PORT, false };

static struct endpoint six_of(struct endpoint end, bool six)
{
	end.six = six;
	return end;
}

static void key_of(uint32_t index, uint8_t key[16])
{
	frame_fill(key, 16, index + 7);
}

/* From left to right; @in names all of it. */
static struct pc_dp_pipe pipe_of(uint32_t in, bool in6, bool out6)
{
	struct pc_dp_pipe pipe = {
		.in = in,
		.out = in ^ 0xffff0000,
		.in_local = addr_of(six_of(service, in6)),
		.in_remote = addr_of(six_of(left, in6)),
		.out_local = addr_of(six_of(service, out6)),
		.out_remote = addr_of(six_of(right, out6)),
		.nexthop = out6 ? 2 : 1,
		.expires_ns = pc_clock_monotonic() + HOUR_NS,
		.slot = 5,
		.up = true,
		.shared = true,
		.other_slot = 6,
		.in_peer = { 1, 2, 3 },
		.out_peer = { 4, 5, 6 },
	};

	key_of(pipe.in, pipe.in_key);
	key_of(pipe.out, pipe.out_key);
	return pipe;
}

static struct pc_dp_pipe to_port(uint32_t in, bool six)
{
	struct pc_dp_pipe pipe = pipe_of(in, six, six);

	pipe.out_plain = true;
	pipe.shared = false;
	pipe.other_slot = 0;
	pipe.out_local.port = PORT;
	memset(pipe.out_peer, 0, 32);
	pipe.out = 0;
	memset(pipe.out_key, 0, 16);
	return pipe;
}

static struct pc_dp_pipe from_port(uint32_t in, bool six)
{
	struct pc_dp_pipe pipe = pipe_of(in, six, six);

	pipe.in_plain = true;
	pipe.up = pipe.shared = false;
	pipe.other_slot = 0;
	pipe.in_local.port = PORT;
	memset(pipe.in_key, 0, 16);
	memset(pipe.in_peer, 0, 32);
	return pipe;
}

/* --- two data planes --- */

struct both {
	struct pc_dp *kernel, *user;
	int prog;
	uint64_t reasons[PC_REASON_COUNT]; /* of the kernel, before */
};

static void open_both(struct both *b)
{
	struct pc_dp_config config = env_config();
	struct pc_dp_nexthop nh = { .ifindex = LO,
				    .mtu = 1500,
				    .dst_mac = { 2, 1 },
				    .src_mac = { 2, 2 },
				    .resolved = true };

	memset(b, 0, sizeof(*b));
	b->kernel = env_open();
	config.state_dir = STATE_U;
	config.kernel = false;
	assert_int_equal(pc_dp_open(&config, &b->user), 0);
	for (uint32_t i = 1; i < 3; i++) {
		nh.family = i == 2 ? 6 : 4;
		assert_int_equal(pc_dp_nexthop_set(b->kernel, i, &nh), 0);
	}
	pc_dp_heartbeat(b->kernel, pc_clock_monotonic() + HOUR_NS);
	b->prog = env_pin(PC_PROG_RELAY);
}

static void close_both(struct both *b)
{
	close(b->prog);
	pc_dp_close(b->kernel);
	pc_dp_close(b->user);
	pc_dp_teardown(ENV_BPFFS, false);
	unlink(STATE_U "/count.v1");
	rmdir(STATE_U);
}

static void set_both(struct both *b, const struct pc_dp_pipe *pipe)
{
	assert_int_equal(pc_dp_pipe_set(b->kernel, pipe), 0);
	assert_int_equal(pc_dp_pipe_set(b->user, pipe), 0);
}

/* What the program left with, and what it made of the frame. */
static enum pc_reason run_kernel(struct both *b, const struct frame_spec *spec,
				 struct frame *ret_out)
{
	struct frame in;
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in.bytes, .data_out = ret_out->bytes,
		    .data_size_out = sizeof(ret_out->bytes));
	uint64_t after[PC_REASON_COUNT];
	int reason = -1;

	frame_build(&in, spec);
	run.data_size_in = (__u32)in.len;
	assert_int_equal(bpf_prog_test_run_opts(b->prog, &run), 0);
	ret_out->len = run.data_size_out;
	assert_int_equal(pc_dp_reasons_kernel(b->kernel, after), 0);
	for (int i = 0; i < PC_REASON_COUNT; i++) {
		if (after[i] == b->reasons[i])
			continue;
		assert_int_equal(after[i], b->reasons[i] + 1);
		assert_int_equal(reason, -1);
		reason = i;
	}
	assert_int_not_equal(reason, -1);
	memcpy(b->reasons, after, sizeof(after));
	return (enum pc_reason)reason;
}

/* Room in front, as the daemon's buffers have. */
struct user_buf {
	uint8_t bytes[PC_DP_PIPE_HEADER + 2048];
};

static struct pc_dp_dgram dgram_of(const struct frame_spec *spec, struct user_buf *buf)
{
	memcpy(buf->bytes + PC_DP_PIPE_HEADER, spec->payload, spec->len);
	return (struct pc_dp_dgram){
		.local = addr_of(spec->to),
		.remote = addr_of(spec->from),
		.data = buf->bytes + PC_DP_PIPE_HEADER,
		.len = spec->len,
		.ttl = spec->ttl,
		.tos = spec->tos,
	};
}

static enum pc_reason run_user(struct pc_dp *dp, const struct frame_spec *spec,
			       struct user_buf *buf, struct pc_dp_dgram *ret_d)
{
	struct pc_dp_dgram d = dgram_of(spec, buf);
	uint64_t now = pc_clock_monotonic();
	enum pc_reason reason = spec->to.port == ENV_PORT ? pc_dp_user_pipe(dp, now, &d)
							  : pc_dp_user_pipe_port(dp, now, &d);

	if (reason == PC_REASON_USER_FORWARD)
		pc_dp_user_sent(dp, &d);
	*ret_d = d;
	return reason;
}

/* The datagram in a frame of the kernel is the one that user space would send. */
static void expect_same(const struct frame *got, const struct pc_dp_dgram *d)
{
	bool six = d->remote.ip.family == 6;
	const uint8_t *ip = got->bytes + 14, *udp = ip + (six ? 40 : 20);
	size_t n = six ? 16 : 4;

	assert_int_equal(get16(got->bytes + 12), six ? 0x86dd : 0x0800);
	assert_int_equal(got->len, (size_t)(udp - got->bytes) + 8 + d->len);
	assert_memory_equal(ip + (six ? 8 : 12), d->local.ip.b, n);
	assert_memory_equal(ip + (six ? 24 : 16), d->remote.ip.b, n);
	assert_int_equal(get16(udp), d->local.port);
	assert_int_equal(get16(udp + 2), d->remote.port);
	assert_int_equal(ip[six ? 7 : 8], d->ttl);
	assert_int_equal(six ? (get16(ip) >> 4 & 0xff) : ip[1], d->tos);
	assert_memory_equal(udp + 8, d->data, d->len);
	if (get16(udp + 6))
		assert_int_equal(frame_udp_sum(ip, udp, 8 + d->len), 0xffff);
	else
		assert_false(six);
}

static void expect_counts(struct both *b)
{
	struct pc_count kernel[ENV_SESSIONS];

	assert_int_equal(pc_dp_count_kernel(b->kernel, 0, ENV_SESSIONS, kernel), 0);
	assert_memory_equal(kernel, pc_dp_count_user(b->user), sizeof(kernel));
}

/* One datagram through both. Returns what the program said. */
static enum pc_reason run_both(struct both *b, const struct frame_spec *spec)
{
	struct frame frame, got;
	struct pc_dp_dgram d;
	struct user_buf buf;
	enum pc_reason kernel, user;

	kernel = run_kernel(b, spec, &got);
	user = run_user(b->user, spec, &buf, &d);
	if (kernel == PC_REASON_TX) {
		assert_int_equal(user, PC_REASON_USER_FORWARD);
		expect_same(&got, &d);
	} else if (!strcmp(pc_dp_reason_info(kernel)->kind, "drop")) {
		assert_int_equal(user, kernel);
	} else {
		frame_build(&frame, spec);
		assert_int_equal(got.len, frame.len);
		assert_memory_equal(got.bytes, frame.bytes, frame.len);
	}
	return kernel;
}

/* --- frames --- */

static size_t write_frame(uint8_t *frame, uint32_t index, uint8_t flags, uint64_t counter,
			  size_t len)
{
	uint8_t key[16], input[20];
	uint64_t tag;

	frame[0] = 0x0c;
	frame[1] = flags;
	put16(frame + 2, 0);
	put32(frame + 4, index);
	put32(frame + 8, (uint32_t)(counter >> 32));
	put32(frame + 12, (uint32_t)counter);
	frame_fill(frame + 24, len, (uint32_t)counter);
	memcpy(input, frame, 16);
	put32(input + 16, (uint32_t)len);
	key_of(index, key);
	tag = pc_siphash24(key, input, sizeof(input));
	for (int i = 0; i < 8; i++)
		frame[16 + i] = (uint8_t)(tag >> (8 * i));
	return 24 + len;
}

static struct frame_spec spec_of(bool six, const uint8_t *payload, size_t len)
{
	return (struct frame_spec){
		.link_seed = 1,
		.tos = 0x2a,
		.ttl = 64,
		.id = 77,
		.from = six_of(left, six),
		.to = six_of(service, six),
		.payload = payload,
		.len = len,
	};
}

static uint32_t random_next(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15ull;

	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33);
}

/* Something is wrong with most of them. Returns whether user space would see another datagram. */
static void spoil(struct frame_spec *spec, uint8_t *bytes)
{
	switch (random_next() % N_KINDS) {
	case 0:
		bytes[random_next() % 24] ^= (uint8_t)(1 << random_next() % 8);
		break;
	case 1:
		spec->len = random_next() % 26;
		break;
	case 2:
		spec->ttl = (uint8_t)(random_next() % 3);
		break;
	case 3:
		spec->from.port++;
		break;
	case 4:
		spec->from.ip++;
		break;
	case 5:
		spec->to.ip++;
		break;
	case 6:
		spec->no_checksum = true;
		break;
	case 7:
		spec->trailer = random_next() % 20;
		break;
	default:
		break;
	}
}

/* Thousands of frames of four pipes, in and out of order, right and wrong. */
static void test_both_alike(void **state)
{
	uint64_t forwarded = 0, passed = 0, dropped = 0;
	uint64_t top = 40;
	struct both b;

	open_both(&b);
	for (uint32_t i = 0; i < 4; i++) {
		struct pc_dp_pipe pipe = pipe_of(100 + i, i & 1, i & 2);

		set_both(&b, &pipe);
	}
	for (int n = 0; n < 20000; n++) {
		uint32_t i = random_next() % 4;
		size_t len = random_next() % 8 ? random_next() % 60 : random_next() % 1400;
		uint64_t counter = top - random_next() % 40 + random_next() % 8;
		uint8_t bytes[2048];
		struct frame_spec spec;
		enum pc_reason reason;

		if (random_next() % 50 == 0)
			top += random_next() % 10000;
		top++;
		spec = spec_of(i & 1, bytes,
			       write_frame(bytes, 100 + i, (uint8_t)(random_next() % 9), counter,
					   len));
		spoil(&spec, bytes);
		/* What is no frame of a pipe is another's. */
		if (!spec.len || bytes[0] != 0x0c)
			continue;
		reason = run_both(&b, &spec);
		if (reason == PC_REASON_TX) {
			forwarded++;
		} else if (!strcmp(pc_dp_reason_info(reason)->kind, "drop")) {
			dropped++;
		} else {
			passed++;
			/* The program gives it to user space, which here is its own. */
			if (reason == PC_REASON_PASS_CHECKSUM) {
				struct user_buf buf;
				struct pc_dp_dgram d;

				assert_int_equal(run_user(b.kernel, &spec, &buf, &d),
						 PC_REASON_USER_FORWARD);
			}
		}
	}
	print_message("# %llu forwarded, %llu dropped, %llu passed\n",
		      (unsigned long long)forwarded, (unsigned long long)dropped,
		      (unsigned long long)passed);
	assert_true(forwarded > 3000 && dropped > 3000 && passed > 100);
	/* Both of the program's halves together counted what user space alone did. */
	for (uint32_t slot = 5; slot < 7; slot++) {
		struct pc_count kernel, *half = &pc_dp_count_user(b.kernel)[slot],
					*user = &pc_dp_count_user(b.user)[slot];

		assert_int_equal(pc_dp_count_kernel(b.kernel, slot, 1, &kernel), 0);
		assert_int_equal(kernel.up.packets + half->up.packets, user->up.packets);
		assert_int_equal(kernel.up.payload_bytes + half->up.payload_bytes,
				 user->up.payload_bytes);
		assert_int_equal(kernel.up.wire_bytes + half->up.wire_bytes, user->up.wire_bytes);
		assert_int_equal(kernel.down.wire_bytes + half->down.wire_bytes,
				 user->down.wire_bytes);
	}
	close_both(&b);
}

/* From and to relayed ports, both families. */
static void test_ports_alike(void **state)
{
	for (int six = 0; six < 2; six++) {
		const struct pc_dp_pipe in = to_port(11, six), out = from_port(12, six);
		struct both b;

		open_both(&b);
		set_both(&b, &in);
		set_both(&b, &out);
		for (size_t len = 0; len < 70; len++) {
			uint8_t bytes[2048];
			struct frame_spec spec =
				spec_of(six, bytes, write_frame(bytes, 11, 4, len + 1, len));

			assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
			assert_int_equal(run_both(&b, &spec), PC_REASON_DROP_REPLAY);
			spec.to.port = PORT;
			spec.len = len;
			assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
		}
		expect_counts(&b);
		assert_int_equal(pc_dp_count_user(b.user)[5].up.packets, 70);
		assert_int_equal(pc_dp_count_user(b.user)[5].down.packets, 70);
		close_both(&b);
	}
}

/* The program and user space share one window, and the counters of what begins at a port. */
static void test_one_window(void **state)
{
	const struct pc_dp_pipe pipe = pipe_of(9, false, false), start = from_port(12, false);
	uint8_t bytes[2048];
	struct frame_spec spec = spec_of(false, bytes, write_frame(bytes, 9, 0, 1, 30));
	struct frame got;
	struct user_buf buf;
	struct pc_dp_dgram d;
	struct both b;

	open_both(&b);
	set_both(&b, &pipe);
	set_both(&b, &start);
	assert_int_equal(run_kernel(&b, &spec, &got), PC_REASON_TX);
	assert_int_equal(run_user(b.kernel, &spec, &buf, &d), PC_REASON_DROP_REPLAY);
	write_frame(bytes, 9, 0, 2, 30);
	assert_int_equal(run_user(b.kernel, &spec, &buf, &d), PC_REASON_USER_FORWARD);
	assert_int_equal(run_kernel(&b, &spec, &got), PC_REASON_DROP_REPLAY);
	spec.to.port = PORT;
	for (uint8_t i = 1; i < 6; i++) {
		if (i & 1) {
			assert_int_equal(run_kernel(&b, &spec, &got), PC_REASON_TX);
			assert_int_equal(got.bytes[14 + 28 + 15], i);
		} else {
			assert_int_equal(run_user(b.kernel, &spec, &buf, &d),
					 PC_REASON_USER_FORWARD);
			assert_int_equal(d.data[15], i);
		}
	}
	close_both(&b);
}

/* Limits are one as well: what the program spent, user space does not have. */
static void test_one_credit(void **state)
{
	struct pc_dp_pipe pipe = pipe_of(9, false, false);
	uint8_t bytes[2048];
	struct frame_spec spec = spec_of(false, bytes, write_frame(bytes, 9, 0, 1, 30));
	struct frame got;
	struct user_buf buf;
	struct pc_dp_dgram d;
	struct both b;

	open_both(&b);
	pipe.shared = false;
	set_both(&b, &pipe);
	pc_dp_rates(b.kernel)->credit[5] = (struct pc_credit){ .authorised = 50 };
	assert_int_equal(run_kernel(&b, &spec, &got), PC_REASON_TX);
	write_frame(bytes, 9, 0, 2, 30);
	assert_int_equal(run_user(b.kernel, &spec, &buf, &d), PC_REASON_DROP_CREDIT);
	assert_int_equal(pc_dp_count_user(b.kernel)[5].drops_credit, 1);
	spec.len = write_frame(bytes, 9, 0, 3, 20);
	assert_int_equal(run_user(b.kernel, &spec, &buf, &d), PC_REASON_USER_FORWARD);
	spec.len = write_frame(bytes, 9, 0, 4, 1);
	assert_int_equal(run_kernel(&b, &spec, &got), PC_REASON_DROP_CREDIT);
	assert_int_equal(pc_dp_rates(b.kernel)->credit[5].used, 50);
	close_both(&b);
}

/* --- setting, replacing, ending --- */

static void test_change(void **state)
{
	struct pc_dp_pipe pipe = pipe_of(9, false, false), moved = pipe;
	uint8_t bytes[2048];
	struct frame_spec spec = spec_of(false, bytes, write_frame(bytes, 9, 0, 1, 30));
	struct both b;

	open_both(&b);
	set_both(&b, &pipe);
	assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
	/* The peer has moved: its old address is nobody's, what came stays known. */
	moved.in_remote.port++;
	set_both(&b, &moved);
	assert_int_equal(run_both(&b, &spec), PC_REASON_DROP_PIPE_SOURCE);
	spec.from.port++;
	assert_int_equal(run_both(&b, &spec), PC_REASON_DROP_REPLAY);
	write_frame(bytes, 9, 0, 2, 30);
	assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
	moved.expires_ns = pc_clock_monotonic() - PC_NS_PER_S;
	set_both(&b, &moved);
	write_frame(bytes, 9, 0, 3, 30);
	assert_int_equal(run_both(&b, &spec), PC_REASON_DROP_PIPE_EXPIRED);
	assert_int_equal(pc_dp_pipe_del(b.kernel, 9), 0);
	assert_int_equal(pc_dp_pipe_del(b.kernel, 9), PC_ERR_NOT_FOUND);
	assert_int_equal(pc_dp_pipe_del(b.user, 9), 0);
	assert_int_equal(run_both(&b, &spec), PC_REASON_PASS_NO_FLOW);
	/* Another pipe of that number begins anew. */
	set_both(&b, &pipe);
	spec.from.port--;
	write_frame(bytes, 9, 0, 1, 30);
	assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
	close_both(&b);
}

/* A port that talks to another remote from now on; a port that is closed. */
static void test_change_port(void **state)
{
	struct pc_dp_pipe pipe = from_port(12, false);
	uint8_t bytes[64] = { 0 };
	struct frame_spec spec = spec_of(false, bytes, 30);
	struct pc_dp_pipe twin = from_port(13, false);
	struct both b;

	open_both(&b);
	spec.to.port = PORT;
	set_both(&b, &pipe);
	assert_int_equal(pc_dp_pipe_set(b.kernel, &twin), PC_ERR_EXISTS);
	assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
	pipe.in_remote.port++;
	set_both(&b, &pipe);
	assert_int_equal(run_both(&b, &spec), PC_REASON_PASS_NO_FLOW);
	spec.from.port++;
	assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
	assert_int_equal(pc_dp_pipe_del(b.kernel, 12), 0);
	assert_int_equal(pc_dp_pipe_del(b.user, 12), 0);
	assert_int_equal(run_both(&b, &spec), PC_REASON_PASS_NO_FLOW);
	close_both(&b);
}

static void test_wrong(void **state)
{
	struct pc_dp_pipe pipe = pipe_of(9, false, false), wrong;
	struct pc_dp *dp = env_open();

	wrong = pipe;
	wrong.in = 0;
	assert_int_equal(pc_dp_pipe_set(dp, &wrong), PC_ERR_RANGE);
	wrong = pipe;
	wrong.out = 0;
	assert_int_equal(pc_dp_pipe_set(dp, &wrong), PC_ERR_RANGE);
	wrong = pipe;
	wrong.out_local.ip.family = 6;
	assert_int_equal(pc_dp_pipe_set(dp, &wrong), PC_ERR_RANGE);
	wrong = pipe;
	wrong.slot = ENV_SESSIONS;
	assert_int_equal(pc_dp_pipe_set(dp, &wrong), PC_ERR_RANGE);
	wrong = pipe;
	wrong.other_tenant = 17;
	assert_int_equal(pc_dp_pipe_set(dp, &wrong), PC_ERR_RANGE);
	wrong = pipe;
	wrong.in_plain = wrong.out_plain = true;
	assert_int_equal(pc_dp_pipe_set(dp, &wrong), PC_ERR_RANGE);
	pc_dp_close(dp);
}

static void test_full(void **state)
{
	struct pc_dp_config config = env_config();
	uint32_t used, size;
	struct pc_dp *dp;

	config.max_pipes = 3;
	dp = env_open_with(&config);
	for (uint32_t i = 1; i <= 7; i++) {
		struct pc_dp_pipe pipe = pipe_of(i, false, false);

		assert_int_equal(pc_dp_pipe_set(dp, &pipe), i <= 6 ? 0 : PC_ERR_FULL);
	}
	pc_dp_pipe_usage(dp, &used, &size);
	assert_int_equal(used, 6);
	assert_int_equal(size, 6);
	assert_int_equal(pc_dp_pipe_del(dp, 2), 0);
	assert_int_equal(pc_dp_pipe_set(dp, &(struct pc_dp_pipe){ 0 }), PC_ERR_RANGE);
	pc_dp_pipe_usage(dp, &used, &size);
	assert_int_equal(used, 5);
	pc_dp_close(dp);
}

/* --- after a restart --- */

struct seen {
	struct pc_dp_pipe pipes[8];
	size_t n;
};

static int see(void *arg, const struct pc_dp_pipe *pipe)
{
	struct seen *s = arg;

	assert_true(s->n < 8);
	s->pipes[s->n++] = *pipe;
	return 0;
}

static void expect_pipes(struct pc_dp *dp, const struct pc_dp_pipe *want, size_t n)
{
	struct seen seen = { .n = 0 };

	assert_int_equal(pc_dp_pipe_each(dp, see, &seen), 0);
	assert_int_equal(seen.n, n);
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < n && seen.pipes[k].in != want[i].in)
			k++;
		assert_true(k < n);
		assert_memory_equal(&seen.pipes[k], &want[i], sizeof(want[i]));
	}
}

static bool keep_none(void *arg, const struct pc_dp_entry *entry)
{
	return false;
}

static void test_restart(void **state)
{
	struct pc_dp_pipe pipes[4];
	uint8_t bytes[2048];
	struct frame_spec spec = spec_of(false, bytes, write_frame(bytes, 1, 0, 1, 30));
	struct pc_dp *view;
	struct both b;

	memset(pipes, 0, sizeof(pipes));
	open_both(&b);
	pipes[0] = pipe_of(1, false, false);
	pipes[1] = pipe_of(2, true, false);
	pipes[2] = to_port(3, true);
	pipes[3] = from_port(4, false);
	for (int i = 0; i < 4; i++)
		set_both(&b, &pipes[i]);
	assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
	pc_dp_close(b.kernel);

	assert_int_equal(pc_dp_open_readonly(ENV_BPFFS, ENV_STATE, &view), 0);
	expect_pipes(view, pipes, 4);
	assert_int_equal(pc_dp_pipe_set(view, &pipes[0]), PC_ERR_STATE);
	assert_int_equal(pc_dp_pipe_del(view, 1), PC_ERR_STATE);
	pc_dp_close(view);

	b.kernel = env_open();
	pc_dp_heartbeat(b.kernel, pc_clock_monotonic() + HOUR_NS);
	expect_pipes(b.kernel, pipes, 4);
	/* A sweep is for what TURN left. */
	assert_int_equal(pc_dp_sweep(b.kernel, keep_none, NULL), 0);
	assert_int_equal(run_both(&b, &spec), PC_REASON_DROP_REPLAY);
	write_frame(bytes, 1, 0, 2, 30);
	assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
	spec.to.port = PORT;
	assert_int_equal(run_both(&b, &spec), PC_REASON_TX);
	/* A window that is in use is not given to another. */
	for (uint32_t i = 0; i < 2 * ENV_SESSIONS - 4; i++) {
		struct pc_dp_pipe more = pipe_of(1000 + i, false, false);

		assert_int_equal(pc_dp_pipe_set(b.kernel, &more), 0);
	}
	spec.to.port = ENV_PORT;
	assert_int_equal(run_both(&b, &spec), PC_REASON_DROP_REPLAY);
	close_both(&b);
}

/* Maps of this layout made before there were pipes. */
static void test_older_maps(void **state)
{
	struct pc_dp_pipe pipe = pipe_of(1, false, false);
	struct pc_dp *dp = env_open();
	const struct pc_dp_flow flow = env_flow(1234);
	uint32_t used, size;

	assert_int_equal(pc_dp_flow_set(dp, &flow), 0);
	pc_dp_close(dp);
	assert_int_equal(unlink(ENV_BPFFS "/pc4_pipe"), 0);
	assert_int_equal(unlink(ENV_BPFFS "/pc4_window"), 0);
	assert_int_equal(pc_dp_open_readonly(ENV_BPFFS, ENV_STATE, &dp), 0);
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 2);
	pc_dp_close(dp);
	dp = env_open();
	assert_true(env_pinned("pc4_pipe") && env_pinned("pc4_window"));
	assert_int_equal(pc_dp_flow_usage(dp, &used, &size), 0);
	assert_int_equal(used, 2);
	assert_int_equal(pc_dp_pipe_set(dp, &pipe), 0);
	pc_dp_close(dp);
	dp = env_open();
	expect_pipes(dp, &pipe, 1);
	pc_dp_close(dp);
}

static void test_other_size(void **state)
{
	struct pc_dp_config config = env_config();
	struct pc_dp *dp = env_open();
	struct pc_dp_status status;
	struct pc_dp_pipe pipe = pipe_of(1, false, false);

	pc_dp_close(dp);
	config.max_pipes = 2 * ENV_SESSIONS;
	assert_int_equal(pc_dp_open(&config, &dp), 0);
	pc_dp_get_status(dp, &status);
	assert_int_equal(status.kernel_error, PC_ERR_VERSION);
	assert_non_null(strstr(status.reason, "max-pipes = 64, not 128"));
	/* User space forwards on its own then. */
	assert_int_equal(pc_dp_pipe_set(dp, &pipe), 0);
	pc_dp_close(dp);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, env_fresh, env_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_both_alike), T(test_ports_alike), T(test_one_window), T(test_one_credit),
		T(test_change),	    T(test_change_port), T(test_wrong),	     T(test_full),
		T(test_restart),    T(test_older_maps),	 T(test_other_size),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (!env_enter())
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
