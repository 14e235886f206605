/* SPDX-License-Identifier: MIT */
/* The kernel program's rule for ports of peers is that of the policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/ports.h"
#include "relay/policy.h"

static void test_every_port(void **state)
{
	struct pc_addr peer = { .ip = { .family = 4, .b = { 8, 8, 4, 4 } } };
	struct pc_policy *policy;
	unsigned int denied = 0;

	assert_int_equal(pc_policy_new(&policy), 0);
	for (uint32_t port = 0; port <= UINT16_MAX; port++) {
		peer.port = (uint16_t)port;
		if (pc_policy_allows(policy, &peer) != pc_port_allowed(peer.port))
			fail_msg("port %u", port);
		denied += !pc_port_allowed(peer.port);
	}
	assert_int_equal(denied, 1023 + 25);
	pc_policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_port) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
