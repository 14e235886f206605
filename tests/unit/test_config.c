/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "daemon/config.h"

static char err[512];

static int parse(const char *text, struct pc_config *c)
{
	memset(err, 0, sizeof(err));
	return pc_config_parse(text, strlen(text), "f", c, err, sizeof(err));
}

/* The whole message, so that each says where and what. */
static void refused(const char *text, const char *message)
{
	struct pc_config c = { .max_sessions = 77 };

	assert_int_equal(parse(text, &c), PC_ERR_MALFORMED);
	assert_string_equal(err, message);
	assert_int_equal(c.max_sessions, 77);
}

static void test_defaults(void **state)
{
	struct pc_config c;

	assert_int_equal(parse("", &c), 0);
	assert_string_equal(c.state_dir, "/var/lib/pcd");
	assert_string_equal(c.control_socket, "/run/pcd/control.sock");
	assert_string_equal(c.bpffs, "/sys/fs/bpf/pcd");
	assert_string_equal(c.user, "");
	assert_string_equal(c.realm, "pc");
	assert_int_equal(c.log_level, PC_LOG_INFO);
	assert_int_equal(c.port_low, 49152);
	assert_int_equal(c.port_high, 65535);
	assert_int_equal(c.xdp, PC_DP_AUTO);
	assert_int_equal(c.max_sessions, 65536);
	assert_int_equal(c.stranger_replies, 20);
	assert_int_equal(c.stranger_rate, 200);
	assert_int_equal(c.stranger_net_rate, 2000);
	assert_int_equal(c.stranger_total_rate, 5000);
	assert_int_equal(c.client_rate, 10000);
	assert_int_equal(c.linger_s, 300);
	assert_int_equal(c.n_listen + c.n_relay_address + c.n_interface + c.n_secret + c.n_rule, 0);
	pc_config_free(&c);
}

static void test_all_keys(void **state)
{
	static const char text[] = "\xEF\xBB\xBF# a comment\r\n"
				   "[node]\r\n"
				   "state-dir = /s\r\n"
				   "  control-socket=/c.sock ; another comment\r\n"
				   "user = pcd\r\n"
				   "log-level = debug\r\n"
				   "bpffs = /b\r\n"
				   "\t\r\n"
				   "[relay] ; here\n"
				   "listen = 192.0.2.1:3478\n"
				   "\tlisten = [2001:db8::1]:3479\n"
				   "relay-address = 192.0.2.2\n"
				   "external-address = 198.51.100.1\n"
				   "external-address = 2001:db8::2\n"
				   "ports = 50000-50100\n"
				   "interface = eth0\n"
				   "realm = example.org\n"
				   "xdp = generic\n"
				   "max-sessions = 1000\n"
				   "secret = one two\n"
				   "secret = three\n"
				   "allow-peer = 10.0.0.0/8\n"
				   "deny-peer = 10.1.0.0/16\n"
				   "allow-all-peer-ports = yes\n"
				   "stranger-replies = 0\n"
				   "stranger-rate = 0\n"
				   "stranger-net-rate = 1000000\n"
				   "stranger-total-rate = 10000000\n"
				   "client-rate = 0\n"
				   "native = no\n"
				   "native-peers = 7\n"
				   "max-pipes = 9\n"
				   "native-peer-pipes = 0\n"
				   "native-handshakes = 0\n"
				   "native-source-handshakes = 1\n"
				   "linger = 0"; /* without a newline */
	struct pc_config c;

	assert_int_equal(parse(text, &c), 0);
	assert_string_equal(c.state_dir, "/s");
	assert_string_equal(c.control_socket, "/c.sock");
	assert_string_equal(c.user, "pcd");
	assert_int_equal(c.log_level, PC_LOG_DEBUG);
	assert_string_equal(c.bpffs, "/b");
	assert_int_equal(c.n_listen, 2);
	assert_int_equal(c.listen[0].ip.family, 4);
	assert_int_equal(c.listen[0].port, 3478);
	assert_int_equal(c.listen[1].ip.family, 6);
	assert_int_equal(c.listen[1].port, 3479);
	assert_int_equal(c.n_relay_address, 1);
	assert_int_equal(c.relay_address[0].b[3], 2);
	assert_int_equal(c.n_external_address, 2);
	assert_int_equal(c.port_low, 50000);
	assert_int_equal(c.port_high, 50100);
	assert_int_equal(c.n_interface, 1);
	assert_string_equal(c.interface[0], "eth0");
	assert_string_equal(c.realm, "example.org");
	assert_int_equal(c.xdp, PC_DP_GENERIC);
	assert_int_equal(c.max_sessions, 1000);
	assert_int_equal(c.n_secret, 2);
	assert_string_equal(c.secret[0].text, "one two");
	assert_int_equal(c.n_rule, 2);
	assert_true(c.rule[0].allow);
	assert_int_equal(c.rule[0].prefix.len, 8);
	assert_false(c.rule[1].allow);
	assert_true(c.allow_all_peer_ports);
	assert_int_equal(c.stranger_replies, 0);
	assert_int_equal(c.stranger_rate, 0);
	assert_int_equal(c.stranger_net_rate, 1000000);
	assert_int_equal(c.stranger_total_rate, 10000000);
	assert_int_equal(c.client_rate, 0);
	assert_false(c.native);
	assert_int_equal(c.native_peers, 7);
	assert_int_equal(c.max_pipes, 9);
	assert_int_equal(c.native_peer_pipes, 0);
	assert_int_equal(c.native_handshakes, 0);
	assert_int_equal(c.native_source_handshakes, 1);
	assert_int_equal(c.linger_s, 0);
	pc_config_free(&c);
	assert_null(c.rule);
	assert_string_equal(c.secret[0].text, "");
}

static void test_tiers(void **state)
{
	static const char text[] = "[relay]\ncapacity = 1G\n"
				   "[tier gold]\nweight = 3\npriority = owner\ndscp = 46\n"
				   "[tier free]\nceiling = 40\ndscp = 1\n[tier paid]\ndscp = keep\n"
				   "[tier plain]\n";
	struct pc_config c;

	assert_int_equal(parse(text, &c), 0);
	assert_int_equal(c.capacity, 1000000000);
	assert_int_equal(c.n_tier, 5);
	assert_string_equal(c.tier[0].name, "owner");
	assert_string_equal(c.tier[2].name, "free");
	assert_int_equal(c.tier[2].ceiling, 40);
	assert_int_equal(c.tier[2].dscp, 1);
	assert_int_equal(c.tier[1].dscp, PC_TIER_NO_DSCP);
	assert_string_equal(c.tier[3].name, "gold");
	assert_int_equal(c.tier[3].weight, 3);
	assert_int_equal(c.tier[3].rate_class, PC_RATE_CLASS_OWNER);
	assert_int_equal(c.tier[3].ceiling, 100);
	assert_int_equal(c.tier[4].rate_class, PC_RATE_CLASS_PAID);
	pc_config_free(&c);
	refused("[tier]\n",
		"f:1: unknown section \"[tier]\"; there are [node], [relay] and [tier NAME]");
	refused("[tier a b]\n", "f:1: tier \"a b\": a name has letters, digits and . _ @ -");
	refused("[tier a]\nweight = 0\n", "f:2: weight \"0\": not a number from 1 to 1000");
	refused("[tier a]\nceiling = 101\n", "f:2: ceiling \"101\": not a number from 1 to 100");
	refused("[tier a]\ndscp = 64\n", "f:2: dscp \"64\": not a number from 0 to 63");
	refused("[tier a]\npriority = 1\n", "f:2: priority \"1\": not one of owner, paid, free");
	refused("[tier a]\nweight = 1\n[tier b]\n[tier a]\nweight = 1\n",
		"f:5: key \"weight\" given twice");
	refused("[tier a]\nlimit = 1\n", "f:2: unknown key \"limit\" in [tier a]");
	refused("[tier a]\nweight =\n", "f:2: key \"weight\" has no value");
	refused("[relay]\ncapacity = 5\n", "f:2: capacity \"5\": not a rate from 8K to 400G bit/s");
}

static void test_structure(void **state)
{
	refused("[relay]\nrealm = x\n[gold]\n",
		"f:3: unknown section \"[gold]\"; there are [node], [relay] and [tier NAME]");
	refused("[api]\n",
		"f:1: unknown section \"[api]\"; there are [node], [relay] and [tier NAME]");
	refused("[]\n", "f:1: unknown section \"[]\"; there are [node], [relay] and [tier NAME]");
	refused("[relay] x\n", "f:1: \"[relay] x\": text after the section's name");
	refused("[relay\n", "f:1: \"[relay\": neither [section] nor key = value");
	refused("[relay]\n\nlisten\n", "f:3: \"listen\": neither [section] nor key = value");
	refused("[relay]\n \tsecret hunter2\n",
		"f:2: \"secret\": neither [section] nor key = value");
	refused("realm = x\n", "f:1: key \"realm\" before the first section");
	refused("[relay]\ncolour = red\n", "f:2: unknown key \"colour\" in [relay]");
	refused("[relay]\nrouter = 1\n", "f:2: unknown key \"router\" in [relay]");
	refused("[relay]\nuser = x\n", "f:2: unknown key \"user\" in [relay]");
	refused("[node]\n= x\n", "f:2: unknown key \"\" in [node]");
	refused("[relay]\nrealm =\n", "f:2: key \"realm\" has no value");
	refused("[relay]\nrealm = a\nxdp = off\nrealm = b\n", "f:4: key \"realm\" given twice");
	/* The first of several mistakes is the one that is told. */
	refused("[relay]\nports = x\nnonsense\n",
		"f:2: ports \"x\": not LOW-HIGH with LOW not above HIGH");
	refused("[relay]\nnonsense\nports = x\n",
		"f:2: \"nonsense\": neither [section] nor key = value");
}

static void test_bytes(void **state)
{
	static const char nul[] = "[relay]\nrealm = a\0b\n";
	char line[400] = "[relay]\nrealm = ";
	struct pc_config c;

	assert_int_equal(pc_config_parse(nul, sizeof(nul) - 1, "f", &c, err, sizeof(err)),
			 PC_ERR_MALFORMED);
	assert_string_equal(err, "f:2: control character 0x00");
	refused("[relay]\rrealm = x\n", "f:1: control character 0x0d");
	refused("[relay]\nrealm = \x1b[2J\n", "f:2: control character 0x1b");
	memset(line + strlen(line), 'a', 300);
	refused(line, "f:2: line longer than 198 characters");
}

static void test_values(void **state)
{
	refused("[node]\nstate-dir = s\n", "f:2: state-dir \"s\": not an absolute path");
	refused("[node]\nlog-level = loud\n",
		"f:2: log-level \"loud\": not one of error, warning, info, debug");
	refused("[relay]\nlisten = 1.2.3.4\n",
		"f:2: listen \"1.2.3.4\": not ADDR:PORT (1.2.3.4:3478, [2001:db8::1]:3478, "
		"0.0.0.0:3478, [::]:3478)");
	refused("[relay]\nlisten = 1.2.3.4:0\n",
		"f:2: listen \"1.2.3.4:0\": not ADDR:PORT (1.2.3.4:3478, [2001:db8::1]:3478, "
		"0.0.0.0:3478, [::]:3478)");
	refused("[relay]\nlisten = 1.2.3.4:1\nlisten = 1.2.3.4:1\n",
		"f:3: listen \"1.2.3.4:1\": given twice");
	refused("[relay]\nrelay-address = host\n",
		"f:2: relay-address \"host\": not an IPv4 or IPv6 address");
	refused("[relay]\nrelay-address = ::\n",
		"f:2: relay-address \"::\": a wildcard is no address");
	refused("[relay]\nrelay-address = 1.1.1.1\nrelay-address = 1.1.1.1\n",
		"f:3: relay-address \"1.1.1.1\": given twice");
	refused("[relay]\nexternal-address = 1.1.1.1\nexternal-address = 1.1.1.2\n",
		"f:3: external-address \"1.1.1.2\": a second one for IPv4");
	refused("[relay]\nports = 60000-50000\n",
		"f:2: ports \"60000-50000\": not LOW-HIGH with LOW not above HIGH");
	refused("[relay]\nports = 1000-2000\n", "f:2: ports \"1000-2000\": below 1024");
	refused("[relay]\ninterface = a-very-long-name\n",
		"f:2: interface \"a-very-long-name\": not the name of an interface");
	refused("[relay]\nrealm = a\"b\n",
		"f:2: realm \"a\"b\": only printable ASCII without \" and \\");
	refused("[relay]\nxdp = fast\n",
		"f:2: xdp \"fast\": not one of auto, native, generic, off");
	refused("[relay]\nmax-sessions = 0\n",
		"f:2: max-sessions \"0\": not a number from 1 to 4194304");
	refused("[relay]\nlinger = 5m\n", "f:2: linger \"5m\": not a number from 0 to 86400");
	refused("[relay]\nallow-peer = 10.0.0.1/33\n",
		"f:2: allow-peer \"10.0.0.1/33\": not an address or prefix (192.0.2.0/24, "
		"2001:db8::/32)");
	refused("[relay]\nallow-all-peer-ports = maybe\n",
		"f:2: allow-all-peer-ports \"maybe\": not yes or no");
	/* Never the secret itself. */
	refused("[relay]\nsecret = x\nsecret = x\n", "f:3: secret: given twice");
	refused("[relay]\nsecret=1\nsecret=2\nsecret=3\nsecret=4\nsecret=5\nsecret=6\nsecret=7\n"
		"secret=8\n",
		"f:9: secret: more than 7");
}

static void test_between_keys(void **state)
{
	refused("[relay]\nlisten = 1.2.3.4:50000\n",
		"f: listen port 50000 lies inside ports 49152-65535");
	refused("[relay]\nports = 3000-4000\n",
		"f: listen port 3478 (default) lies inside ports 3000-4000");
	refused("[relay]\nlisten=1.1.1.1:1\nlisten=1.1.1.1:2\nlisten=1.1.1.1:3\nlisten=1.1.1.1:4\n"
		"listen=1.1.1.1:5\n",
		"f: listen has 5 different ports; at most 4");
}

static void test_load(void **state)
{
	char path[] = "/tmp/pc-test-config-XXXXXX";
	int fd = mkstemp(path);
	struct pc_config c;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "[relay]\nrealm = q\n", 18), 18);
	close(fd);
	assert_int_equal(pc_config_load(path, &c, err, sizeof(err)), 0);
	assert_string_equal(c.realm, "q");
	pc_config_free(&c);
	unlink(path);
	assert_int_equal(pc_config_load("/nonexistent/f", &c, err, sizeof(err)), -2);
	assert_string_equal(err, "/nonexistent/f: No such file or directory");
	assert_true(pc_config_load("/tmp", &c, err, sizeof(err)) < 0);
	assert_string_equal(err, "/tmp: Is a directory");
}

static void test_complete(void **state)
{
	struct pc_config c;

	/* Loopback is on every host; nothing is said of interfaces for it. */
	assert_int_equal(parse("[relay]\nlisten = 127.0.0.1:3478\n", &c), 0);
	assert_int_equal(pc_config_complete(&c, err, sizeof(err)), 0);
	assert_int_equal(c.n_listen, 1);
	assert_int_equal(c.n_relay_address, 1);
	assert_int_equal(c.relay_address[0].b[0], 127);
	assert_int_equal(c.n_interface, 0);
	/* Nothing said: at least one address, none of them a wildcard, each with its interface. */
	assert_int_equal(parse("", &c), 0);
	assert_int_equal(pc_config_complete(&c, err, sizeof(err)), 0);
	assert_true(c.n_listen >= 1 && c.n_relay_address >= 1);
	for (size_t i = 0; i < c.n_listen; i++) {
		assert_false(pc_ip_is_any(&c.listen[i].ip));
		assert_int_equal(c.listen[i].port, 3478);
	}
}

static void test_complete_refuses(void **state)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{ "[relay]\nlisten = 192.0.2.77:3478\n",
		  "listen \"192.0.2.77:3478\": this host does not have that address" },
		{ "[relay]\nlisten = 127.0.0.1:3478\nrelay-address = 192.0.2.77\n",
		  "relay-address \"192.0.2.77\": this host does not have that address" },
		{ "[relay]\nlisten = 127.0.0.1:3478\ninterface = pc-none0\n",
		  "interface \"pc-none0\": no such interface on this host" },
		{ "[relay]\nlisten = 127.0.0.1:3478\nexternal-address = 2001:db8::1\n",
		  "external-address \"2001:db8::1\": no relay address of IPv6" },
	};
	struct pc_config c;

	for (size_t i = 0; i < PC_ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i].text, &c), 0);
		assert_true(pc_config_complete(&c, err, sizeof(err)) < 0);
		assert_string_equal(err, bad[i].message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),     cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_structure),    cmocka_unit_test(test_tiers),
		cmocka_unit_test(test_bytes),	     cmocka_unit_test(test_values),
		cmocka_unit_test(test_between_keys), cmocka_unit_test(test_load),
		cmocka_unit_test(test_complete),     cmocka_unit_test(test_complete_refuses),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
