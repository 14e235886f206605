/* SPDX-License-Identifier: MIT */
#include "pcctl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/parse.h"
#include "ctl/cli.h"

/* Whoever could read it has it already, so this refuses nothing. */
static void note_if_readable(const struct invocation *in, const char *file, int fd)
{
	struct stat st;
	char text[512];

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 077))
		return;
	snprintf(text, sizeof(text), "%s: others can read this password; chmod 600 it", file);
	pc_cli_warning("pcctl", in->json, text);
}

static int read_all(int fd, char *buf, size_t size, size_t *ret_len)
{
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < size) {
		n = read(fd, buf + len, size - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			n = 1;
		else
			len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

int read_password(const struct invocation *in, const char *file,
		  char ret_password[static PASSWORD_MAX + 2])
{
	_cleanup_close_ int opened = -1;
	int fd = STDIN_FILENO, rc;
	size_t len = 0;

	if (strcmp(file, "-") != 0) {
		opened = fd = open(file, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return bad_file(in, "%s: %s", file, pc_strerror(-errno));
	}
	rc = read_all(fd, ret_password, PASSWORD_MAX + 2, &len);
	if (rc < 0)
		return bad_file(in, "%s: %s", file, pc_strerror(rc));
	if (len && ret_password[len - 1] == '\n')
		len--;
	if (len == 0 || len > PASSWORD_MAX)
		return bad_file(in, "%s: a password has 1 to %d bytes", file, PASSWORD_MAX);
	ret_password[len] = '\0';
	if (strlen(ret_password) != len || strpbrk(ret_password, "\r\n"))
		return bad_file(in, "%s: a password is one line of text", file);
	if (opened >= 0)
		note_if_readable(in, file, opened);
	return EXIT_DONE;
}

static int add_number(const struct invocation *in, json_t *args, enum option_id option,
		      const char *option_name, const char *name)
{
	uint64_t value;

	if (!in->option[option])
		return EXIT_DONE;
	if (pc_parse_u64(in->option[option], 0, UINT32_MAX, &value) < 0)
		return usage_error(in, "--%s %s: a number from 0 to 4294967295 is needed",
				   option_name, in->option[option]);
	json_object_set_new(args, name, json_integer((json_int_t)value));
	return EXIT_DONE;
}

/* A rate or a size, 0 for "none": a zero would mean either nothing or no limit. */
static int add_quantity(const struct invocation *in, json_t *args, enum option_id option,
			const char *option_name, const char *name)
{
	const char *text = in->option[option];
	uint64_t value = 0;

	if (!text)
		return EXIT_DONE;
	if (strcmp(text, "none") != 0 &&
	    (pc_parse_size(text, &value) < 0 || value == 0 || value > INT64_MAX))
		return usage_error(in, "--%s %s: a number above 0 as 500K, 20M, 1.5G, or none",
				   option_name, text);
	json_object_set_new(args, name, json_integer((json_int_t)value));
	return EXIT_DONE;
}

static int add_plan(const struct invocation *in, json_t *args)
{
	static const struct {
		enum option_id option;
		const char *option_name, *name;
	} quantities[] = {
		{ OPT_RATE, "rate", "up_bps" },
		{ OPT_RATE, "rate", "down_bps" },
		{ OPT_UP, "up", "up_bps" }, /* after --rate: each may differ from it */
		{ OPT_DOWN, "down", "down_bps" },
		{ OPT_GUARANTEE, "guarantee", "guarantee_bps" },
		{ OPT_PACKETS, "packets", "packets_per_second" },
		{ OPT_QUOTA_DAY, "quota-day", "quota_day" },
		{ OPT_QUOTA, "quota", "quota_month" },
	};
	int status = EXIT_DONE;

	for (size_t i = 0; status == EXIT_DONE && i < PC_ARRAY_SIZE(quantities); i++)
		status = add_quantity(in, args, quantities[i].option, quantities[i].option_name,
				      quantities[i].name);
	return status ? status : add_number(in, args, OPT_WEIGHT, "weight", "weight");
}

static int add_password(const struct invocation *in, json_t *args)
{
	char password[PASSWORD_MAX + 2];
	json_t *text;
	int status;

	if (!in->option[OPT_PASSWORD_FILE])
		return EXIT_DONE;
	status = read_password(in, in->option[OPT_PASSWORD_FILE], password);
	if (status)
		return status;
	text = json_string(password);
	explicit_bzero(password, sizeof(password));
	if (!text)
		return bad_file(in, "%s: not UTF-8 text", in->option[OPT_PASSWORD_FILE]);
	json_object_set_new(args, "password", text);
	return EXIT_DONE;
}

/* Everything is read and checked before anything is sent. */
static int make_args(const struct invocation *in, json_t *args)
{
	static const struct {
		enum option_id option;
		const char *option_name, *name;
	} numbers[] = {
		{ OPT_MAX_ALLOCATIONS, "max-allocations", "max_allocations" },
		{ OPT_MAX_PERMISSIONS, "max-permissions", "max_permissions" },
		{ OPT_MAX_CHANNELS, "max-channels", "max_channels" },
		{ OPT_MAX_NEW_PEERS, "max-new-peers", "max_new_peers" },
	};
	const char *tier = in->option[OPT_TIER];

	if (!pc_name_valid(in->arg))
		return usage_error(in,
				   "\"%s\" is no tenant name: 1 to 63 of A-Z a-z 0-9 . _ @ -, "
				   "a letter or digit first",
				   in->arg);
	json_object_set_new(args, "name", json_string(in->arg));
	if (tier && !pc_name_valid(tier))
		return usage_error(in, "--tier %s: no tier name", tier);
	if (tier)
		json_object_set_new(args, "tier", json_string(tier));
	for (size_t i = 0; i < PC_ARRAY_SIZE(numbers); i++) {
		int status = add_number(in, args, numbers[i].option, numbers[i].option_name,
					numbers[i].name);

		if (status)
			return status;
	}
	if (add_plan(in, args))
		return EXIT_USAGE;
	return add_password(in, args);
}

static int change(const struct invocation *in, const char *command, json_t **ret_reply)
{
	json_t *args = json_object();
	int status = make_args(in, args);

	if (status) {
		json_decref(args);
		return status;
	}
	return call(in, command, args, ret_reply);
}

int run_tenant_add(const struct invocation *in)
{
	json_t *reply;
	int status = change(in, "tenant add", &reply);

	return status ? status : done(in, reply, "tenant %s added", in->arg);
}

int run_tenant_set(const struct invocation *in)
{
	json_t *reply;
	int status;

	for (int i = OPT_PASSWORD_FILE; i < OPT_LIFETIME; i++) {
		if (!in->option[i])
			continue;
		status = change(in, "tenant set", &reply);
		return status ? status : done(in, reply, "tenant %s changed", in->arg);
	}
	return usage_error(in, "tenant set %s: nothing to change", in->arg);
}

int run_tenant_del(const struct invocation *in)
{
	json_t *reply;
	int status = call(in, "tenant del", json_pack("{s:s}", "name", in->arg), &reply);

	if (status)
		return status;
	return done(in, reply, "tenant %s deleted, %lld sessions ended", in->arg,
		    (long long)json_integer_value(json_object_get(reply, "sessions_ended")));
}

static long long number(const json_t *object, const char *a, const char *b)
{
	return (long long)json_integer_value(json_object_get(json_object_get(object, a), b));
}

static void print_tenant(const json_t *t)
{
	const char *name = json_string_value(json_object_get(t, "name"));
	const char *tier = json_string_value(json_object_get(t, "tier"));
	char up[24], down[24];

	printf("%-24s %-12s %8lld %12s %12s\n", name ? name : "?", tier ? tier : "?",
	       (long long)json_integer_value(json_object_get(t, "sessions")),
	       pc_cli_quantity((double)number(t, "up", "payload_bytes"), "B", up),
	       pc_cli_quantity((double)number(t, "down", "payload_bytes"), "B", down));
}

int run_tenant_list(const struct invocation *in)
{
	json_t *args = in->arg ? json_pack("{s:s}", "name", in->arg) : NULL;
	const json_t *t;
	json_t *reply;
	size_t i;
	int status = call(in, "tenant list", args, &reply);

	if (status)
		return status;
	if (in->json)
		return done(in, reply, "%s", "");
	printf("%-24s %-12s %8s %12s %12s\n", "TENANT", "TIER", "SESSIONS", "UP", "DOWN");
	json_array_foreach (json_object_get(reply, "tenants"), i, t)
		print_tenant(t);
	json_decref(reply);
	return EXIT_DONE;
}
