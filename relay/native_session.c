/* SPDX-License-Identifier: MIT */
/* Sessions that are up: frames, control messages the machine answers itself, roaming. */
#include "relay/native_int.h"

#include "base/wire.h"

/* --- sending --- */

/* type | 0 3 | receiver 4 | counter 8 | sealed */
int pc_native_send_plain(struct pc_native *n, struct pc_native_keys *k,
			 const struct pc_native_path *path, const void *plain, size_t len)
{
	uint8_t frame[PC_NATIVE_MAX_FRAME];
	struct pc_writer w;
	int rc;

	if (len > PC_NATIVE_MAX_PLAIN)
		return PC_ERR_RANGE;
	pc_writer_init(&w, frame, sizeof(frame));
	pc_write_u8(&w, PC_NATIVE_TRANSPORT);
	pc_write_zero(&w, 3);
	pc_write_u32(&w, k->remote_index);
	pc_write_u64(&w, k->send_counter);
	rc = pc_noise_seal(k->send, k->send_counter, NULL, 0, plain, len, frame + w.len);
	if (rc < 0)
		return rc;
	k->send_counter++;
	n->ops->send(n->ctx, path, frame, w.len + len + NATIVE_TAG_LEN);
	return 0;
}

int pc_native_send_msg(struct pc_native *n, struct pc_native_keys *k,
		       const struct pc_native_path *path, const struct pc_native_msg *msg)
{
	uint8_t plain[PC_NATIVE_MAX_PLAIN];
	struct pc_writer w;

	pc_writer_init(&w, plain, sizeof(plain));
	pc_native_msg_write(&w, msg);
	if (w.failed)
		return PC_ERR_RANGE;
	return pc_native_send_plain(n, k, path, plain, w.len);
}

int pc_native_send(struct pc_native *n, struct pc_native_link *link,
		   const struct pc_native_msg *msg, uint64_t now)
{
	n->now = now;
	if (link->closing || !pc_native_usable(link->current, now))
		return PC_ERR_STATE;
	return pc_native_send_msg(n, link->current, &link->path, msg);
}

int pc_native_send_in(struct pc_native *n, struct pc_native_link *link, uint32_t ours,
		      const struct pc_native_msg *msg, uint64_t now)
{
	struct pc_native_keys *k = pc_native_keys_find(n, ours);

	n->now = now;
	if (link->closing || !pc_native_usable(k, now) || k->link != link || k == link->next)
		return PC_ERR_STATE;
	return pc_native_send_msg(n, k, &link->path, msg);
}

/* Also the first thing that an initiator hears: it has a session now. */
void pc_native_send_observed(struct pc_native_link *link, struct pc_native_keys *k)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_OBSERVED,
				     .has = 1u << PC_NATIVE_F_OBSERVED,
				     .observed = link->path.remote };

	/* Through a pipe there is no address: nothing, sealed, says enough. */
	if (link->path.remote.ip.family)
		pc_native_send_msg(link->n, k, &link->path, &msg);
	else
		pc_native_send_plain(link->n, k, &link->path, NULL, 0);
}

/* --- heartbeats --- */

void pc_native_heartbeat_due(struct pc_native_link *link)
{
	struct pc_native *n = link->n;
	struct pc_native_msg msg = { .type = PC_NATIVE_HEARTBEAT, .has = 1u << PC_NATIVE_F_TOKEN };

	if (link->unanswered >= NATIVE_MAX_UNANSWERED) {
		/* The other side may have lost the session: it says nothing to strangers. */
		link->unanswered = 0;
		link->heartbeat_ns = n->now + n->config.heartbeat_ns;
		pc_native_attempt_start(link, &link->path, link->has_static);
		return;
	}
	n->ops->random(n->ctx, &link->token, sizeof(link->token));
	msg.token = link->token;
	link->unanswered++;
	link->heartbeat_ns = n->now + NATIVE_PROBE_NS;
	pc_native_send_msg(n, link->current, &link->path, &msg);
}

static void answer_heartbeat(struct pc_native_link *link, struct pc_native_keys *k, uint64_t token)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_ALIVE,
				     .has = 1u << PC_NATIVE_F_TOKEN | 1u << PC_NATIVE_F_OBSERVED,
				     .token = token,
				     .observed = link->path.remote };

	if (!msg.observed.ip.family)
		msg.observed.ip = pc_ip4(0, 0, 0, 0);
	pc_native_send_msg(link->n, k, &link->path, &msg);
}

static void take_alive(struct pc_native_link *link, uint64_t token)
{
	if (token != link->token || !link->heartbeat_ns)
		return;
	link->heartbeat_ns = link->n->now + link->n->config.heartbeat_ns;
	pc_native_link_arm(link);
}

/* --- receiving --- */

static void complain(struct pc_native_link *link, struct pc_native_keys *k, uint16_t about,
		     uint16_t reason)
{
	struct pc_native_msg msg = { .type = PC_NATIVE_ERROR,
				     .has = 1u << PC_NATIVE_F_TYPE | 1u << PC_NATIVE_F_REASON,
				     .about = about,
				     .reason = reason };

	/* Complaints about complaints would never end. */
	if (about != PC_NATIVE_ERROR)
		pc_native_send_msg(link->n, k, &link->path, &msg);
}

/* True: the link is gone. */
static bool take_message(struct pc_native_link *link, struct pc_native_keys *k,
			 const struct pc_native_msg *m)
{
	struct pc_native *n = link->n;
	uint32_t index = k->index;

	switch (m->type) {
	case PC_NATIVE_HEARTBEAT:
		answer_heartbeat(link, k, m->token);
		return false;
	case PC_NATIVE_ALIVE:
		take_alive(link, m->token);
		break; /* with the address, for whoever wants to know */
	case PC_NATIVE_CLOSE:
		if (PC_NATIVE_HAS(m, PC_NATIVE_F_PIPE_TO))
			break;
		/* That an old session ends does not concern the new one. */
		if (k != link->current)
			return false;
		pc_native_link_end(link, m->reason);
		return true;
	default:
		break;
	}
	n->carrier = k;
	n->ops->message(n->ctx, link, m);
	n->carrier = NULL;
	return pc_native_keys_find(n, index) != k || k->link != link;
}

static void take_messages(struct pc_native_link *link, struct pc_native_keys *k,
			  const uint8_t *plain, size_t len)
{
	struct pc_native_msg m = { 0 };
	struct pc_reader r;

	/* Few, and one complaint for all: small messages must not make many answers. */
	pc_reader_init(&r, plain, len);
	for (unsigned int i = 0; i < PC_NATIVE_MAX_MESSAGES; i++) {
		int rc = pc_native_msg_read(&r, &m);

		if (rc == PC_ERR_NOT_FOUND)
			return;
		if (rc == 0) {
			if (take_message(link, k, &m))
				return;
		} else if (rc == PC_ERR_MALFORMED || !(m.type & PC_NATIVE_OPTIONAL)) {
			complain(link, k, m.type,
				 rc == PC_ERR_MALFORMED ? PC_NATIVE_R_MALFORMED
							: PC_NATIVE_R_UNKNOWN_TYPE);
			return;
		}
	}
}

static bool same_path(const struct pc_native_path *a, const struct pc_native_path *b)
{
	return a->listener == b->listener && a->pipe == b->pipe &&
	       pc_addr_equal(&a->local, &b->local) && pc_addr_equal(&a->remote, &b->remote);
}

/* Only what is newer than all before moves a link: an old frame may have gone astray. */
static void follow(struct pc_native_link *link, const struct pc_native_keys *k, bool newest,
		   const struct pc_native_path *path)
{
	if (!newest || k != link->current || same_path(&link->path, path))
		return;
	link->path = *path;
	link->n->ops->moved(link->n->ctx, link);
}

/* 0 with the plaintext, or why not. */
static int open_frame(struct pc_native *n, struct pc_native_keys *k, const uint8_t *data,
		      size_t len, uint64_t counter, uint8_t *plain)
{
	if (n->now - k->created_ns >= PC_NATIVE_HARD_STOP)
		return PC_ERR_STATE;
	if (!pc_replay_fresh(&k->replay, counter))
		return PC_ERR_EXISTS;
	return pc_noise_open(k->receive, counter, NULL, 0, data + NATIVE_HEADER,
			     len - NATIVE_HEADER, plain);
}

/* Instead of a session: the handshake proved who we are, and we are not welcome. */
static bool is_refusal(const uint8_t *plain, size_t len, uint16_t *ret_reason)
{
	struct pc_native_msg m = { 0 };
	struct pc_reader r;

	pc_reader_init(&r, plain, len);
	if (pc_native_msg_read(&r, &m) < 0 || m.type != PC_NATIVE_CLOSE ||
	    PC_NATIVE_HAS(&m, PC_NATIVE_F_PIPE_TO))
		return false;
	*ret_reason = m.reason;
	return true;
}

struct pc_native_link *pc_native_peek(const struct pc_native *n, const void *data, size_t len)
{
	struct pc_native_attempt *a;
	struct pc_native_keys *k;
	struct pc_reader r;
	uint32_t index;
	uint8_t type;

	pc_reader_init(&r, data, len);
	type = pc_read_u8(&r);
	pc_read_skip(&r, type == PC_NATIVE_TRANSPORT || type == PC_NATIVE_COOKIE ? 3 : 7);
	index = pc_read_u32(&r);
	/* First messages have no index of ours, third ones have one that is not in use yet. */
	if (r.failed || type == PC_NATIVE_XX1 || type == PC_NATIVE_IK1)
		return NULL;
	k = pc_native_keys_find(n, index);
	if (k)
		return k->link;
	a = pc_native_attempt_find(n, index);
	return a ? a->link : NULL;
}

static void count_failure(struct pc_native *n, int rc)
{
	pc_native_dropped(n, rc == PC_ERR_STATE	   ? PC_NATIVE_DROP_SESSION
			     : rc == PC_ERR_EXISTS ? PC_NATIVE_DROP_REPLAY
						   : PC_NATIVE_DROP_AUTH);
}

void pc_native_transport(struct pc_native *n, const struct pc_native_path *path,
			 const uint8_t *data, size_t len)
{
	uint8_t plain[PC_NATIVE_MAX_FRAME];
	struct pc_native_link *link;
	struct pc_native_keys *k;
	struct pc_reader r;
	uint64_t counter;
	size_t plain_len = len - NATIVE_HEADER - NATIVE_TAG_LEN;
	uint32_t head, index;
	uint16_t reason;
	bool newest;
	int rc;

	pc_reader_init(&r, data, len);
	head = pc_read_u32(&r);
	index = pc_read_u32(&r);
	counter = pc_read_u64(&r);
	if (head != (uint32_t)PC_NATIVE_TRANSPORT << 24) {
		pc_native_dropped(n, PC_NATIVE_DROP_MALFORMED);
		return;
	}
	k = pc_native_keys_find(n, index);
	if (!k || !k->link) {
		pc_native_dropped(n, PC_NATIVE_DROP_SESSION);
		return;
	}
	rc = open_frame(n, k, data, len, counter, plain);
	if (rc < 0) {
		count_failure(n, rc);
		return;
	}
	link = k->link;
	newest = counter > k->replay.last || k->replay.last == 0;
	pc_replay_accept(&k->replay, counter);
	link->unanswered = 0;
	if (k == link->next) {
		if (is_refusal(plain, plain_len, &reason)) {
			pc_native_link_end(link, reason);
			return;
		}
		pc_native_attempt_done(link);
		if (pc_native_keys_find(n, index) != k || k->link != link)
			return;
	}
	follow(link, k, newest, path);
	if (pc_native_keys_find(n, index) != k || k->link != link)
		return;
	if (n->ops->heard)
		n->ops->heard(n->ctx, link);
	take_messages(link, k, plain, plain_len);
}
