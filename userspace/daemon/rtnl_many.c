/* SPDX-License-Identifier: MIT */
/*
 * Many routes asked for at once. The kernel answers all questions of one datagram before sendmsg()
 * returns, each with a datagram of its own, and those are read together: two system calls for
 * PC_RTNL_MANY questions, where libnl takes three for each.
 */
#include "daemon/rtnl.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define QUESTION_SIZE (NLMSG_HDRLEN + sizeof(struct rtmsg) + 2 * (NLA_HDRLEN + 16))
/* What is longer is asked for again by itself. */
#define ANSWER_SIZE  512
#define MAX_FAILURES 8

/* One round; questions are told by their sequence numbers, from @first on. */
struct round {
	struct pc_rtnl_ask *asks;
	size_t n;
	uint32_t first;
	bool answered[PC_RTNL_MANY];
	struct mmsghdr msgs[PC_RTNL_MANY];
	struct iovec iov[PC_RTNL_MANY];
	_Alignas(struct nlmsghdr) uint8_t questions[PC_RTNL_MANY * QUESTION_SIZE];
	_Alignas(struct nlmsghdr) uint8_t answers[PC_RTNL_MANY][ANSWER_SIZE];
};

static size_t put_ip(uint8_t *at, uint16_t type, const struct pc_ip *ip)
{
	const struct nlattr a = {
		.nla_len = (uint16_t)(NLA_HDRLEN + pc_ip_len(ip)),
		.nla_type = type,
	};

	memcpy(at, &a, sizeof(a));
	memcpy(at + NLA_HDRLEN, ip->b, pc_ip_len(ip));
	return a.nla_len;
}

static size_t put_question(uint8_t *at, uint32_t seq, const struct pc_rtnl_ask *ask)
{
	const uint8_t bits = (uint8_t)(8 * pc_ip_len(&ask->dst));
	const struct rtmsg rtm = {
		.rtm_family = ask->dst.family == 4 ? AF_INET : AF_INET6,
		.rtm_dst_len = bits,
		.rtm_src_len = bits,
	};
	struct nlmsghdr h = {
		.nlmsg_type = RTM_GETROUTE,
		.nlmsg_flags = NLM_F_REQUEST,
		.nlmsg_seq = seq,
	};
	size_t len = NLMSG_HDRLEN;

	memcpy(at + len, &rtm, sizeof(rtm));
	len += sizeof(rtm);
	len += put_ip(at + len, RTA_DST, &ask->dst);
	len += put_ip(at + len, RTA_SRC, &ask->src);
	h.nlmsg_len = (uint32_t)len;
	memcpy(at, &h, sizeof(h));
	return len;
}

static bool send_questions(int fd, struct round *round)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct iovec iov = { .iov_base = round->questions };
	struct msghdr h = {
		.msg_name = &kernel,
		.msg_namelen = sizeof(kernel),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};

	for (size_t i = 0; i < round->n; i++)
		iov.iov_len += put_question(round->questions + iov.iov_len,
					    round->first + (uint32_t)i, &round->asks[i]);
	return sendmsg(fd, &h, MSG_NOSIGNAL) == (ssize_t)iov.iov_len;
}

static void take_answer(struct round *round, struct nlmsghdr *h, size_t len)
{
	struct pc_rtnl_ask *ask;
	uint32_t i;

	if (len < sizeof(*h) || h->nlmsg_len > len || h->nlmsg_len < sizeof(*h))
		return;
	i = h->nlmsg_seq - round->first;
	if (i >= round->n)
		return;
	ask = &round->asks[i];
	if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		ask->err = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
	else if (h->nlmsg_type == RTM_NEWROUTE)
		ask->err = pc_rtnl_parse_route(h, &ask->route);
	else
		return;
	round->answered[i] = true;
}

/* Until there are no more: none may be left for the next question. */
static void read_answers(int fd, struct round *round)
{
	for (int failures = 0; failures < MAX_FAILURES;) {
		int n;

		for (size_t i = 0; i < PC_RTNL_MANY; i++) {
			round->iov[i] = (struct iovec){ round->answers[i], ANSWER_SIZE };
			round->msgs[i].msg_hdr = (struct msghdr){
				.msg_iov = &round->iov[i],
				.msg_iovlen = 1,
			};
		}
		n = recvmmsg(fd, round->msgs, PC_RTNL_MANY, MSG_DONTWAIT, NULL);
		if (n < 0 && errno == EAGAIN)
			return;
		failures += n <= 0;
		for (int i = 0; i < n; i++) {
			if (!(round->msgs[i].msg_hdr.msg_flags & MSG_TRUNC))
				take_answer(round, (struct nlmsghdr *)round->answers[i],
					    round->msgs[i].msg_len);
		}
	}
}

/* What is left without an answer is asked for one by one. */
static void ask_round(struct pc_rtnl *r, struct round *round)
{
	int fd = pc_rtnl_raw(r, (uint32_t)round->n, &round->first);

	memset(round->answered, 0, sizeof(round->answered));
	if (send_questions(fd, round))
		read_answers(fd, round);
}

void pc_rtnl_routes_get(struct pc_rtnl *r, struct pc_rtnl_ask *asks, size_t n)
{
	_cleanup_free_ struct round *round = malloc(sizeof(*round));

	while (n) {
		size_t some = n < PC_RTNL_MANY ? n : PC_RTNL_MANY;

		if (round) {
			round->asks = asks;
			round->n = some;
			ask_round(r, round);
		}
		for (size_t i = 0; i < some; i++, asks++) {
			if (!round || !round->answered[i])
				asks->err = pc_rtnl_route_get(r, &asks->src, &asks->dst, 0,
							      &asks->route);
		}
		n -= some;
	}
}
