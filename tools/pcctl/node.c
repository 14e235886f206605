/* SPDX-License-Identifier: MIT */
/* Credentials, and what steers the daemon and the data path. */
#include "pcctl.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "account/usage.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/parse.h"
#include "ctl/cli.h"
#include "ctl/ctl.h"
#include "dp/dp.h"
#include "tools/offline.h"

#define PC_DEFAULT_BPFFS "/sys/fs/bpf/pcd"
#define STOP_TIMEOUT_MS	 20000

/* "3600", "90s", "30m", "12h", "7d" -> seconds. */
static int parse_lifetime(const char *text, uint64_t *ret_seconds)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	size_t len = strlen(text);
	uint64_t factor = 1, value;
	char digits[24];
	int rc;

	if (len == 0 || len >= sizeof(digits))
		return PC_ERR_MALFORMED;
	memcpy(digits, text, len + 1);
	for (size_t i = 0; i < PC_ARRAY_SIZE(units); i++) {
		if (digits[len - 1] != units[i].unit)
			continue;
		factor = units[i].seconds;
		digits[len - 1] = '\0';
		break;
	}
	rc = pc_parse_u64(digits, 1, INT32_MAX, &value);
	if (rc == 0)
		*ret_seconds = value * factor;
	return rc;
}

static const char *text_of(const json_t *reply, const char *key)
{
	const char *text = json_string_value(json_object_get(reply, key));

	return text ? text : "?";
}

int run_credential(const struct invocation *in)
{
	json_t *args = json_pack("{s:s}", "name", in->arg);
	uint64_t lifetime = 0;
	json_t *reply;
	int status;

	if (!pc_name_valid(in->arg)) {
		json_decref(args);
		return usage_error(in, "\"%s\" is no tenant name", in->arg);
	}
	if (in->option[OPT_LIFETIME]) {
		if (parse_lifetime(in->option[OPT_LIFETIME], &lifetime) < 0) {
			json_decref(args);
			return usage_error(in,
					   "--lifetime %s: seconds, or a number with s, m, h "
					   "or d",
					   in->option[OPT_LIFETIME]);
		}
		json_object_set_new(args, "lifetime", json_integer((json_int_t)lifetime));
	}
	status = call(in, "credential", args, &reply);
	if (status)
		return status;
	return done(in, reply, "uri       %s\nusername  %s\npassword  %s", text_of(reply, "uri"),
		    text_of(reply, "username"), text_of(reply, "password"));
}

int run_reload(const struct invocation *in)
{
	json_t *reply;
	int status = call(in, "reload", NULL, &reply);

	return status ? status : done(in, reply, "configuration reloaded");
}

int run_drain(const struct invocation *in)
{
	bool off = in->option[OPT_OFF] != NULL;
	json_t *reply;
	int status = call(in, off ? "undrain" : "drain", NULL, &reply);

	if (status)
		return status;
	return done(in, reply, "%s, %lld sessions", off ? "taking new sessions" : "draining",
		    (long long)json_integer_value(json_object_get(reply, "sessions")));
}

/* --- without a daemon --- */

static const char *option_or(const struct invocation *in, enum option_id option, const char *text)
{
	return in->option[option] ? in->option[option] : text;
}

PC_DEFINE_CLEANUP(store, struct pc_store, pc_store_close)
PC_DEFINE_CLEANUP(usage, struct pc_usage, pc_usage_free)
PC_DEFINE_CLEANUP(dp, struct pc_dp, pc_dp_close)

/* The last counts go into the totals before the maps that hold them go away. */
static int fold_leftovers(const char *bpffs, const char *state_dir)
{
	PC_CLEANUP(pc_cleanup_store) struct pc_store *store = NULL;
	PC_CLEANUP(pc_cleanup_usage) struct pc_usage *usage = NULL;
	PC_CLEANUP(pc_cleanup_dp) struct pc_dp *dp = NULL;
	bool reset[PC_STORE_PATHS];
	char path[512];
	struct stat st;
	int rc;

	snprintf(path, sizeof(path), "%s/%s", state_dir, PC_STORE_FILE);
	if (stat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno; /* nothing was ever counted for anybody */
	rc = pc_dp_open_readonly(bpffs, state_dir, &dp);
	if (rc < 0 || pc_dp_max_sessions(dp) == 0)
		return rc; /* no counters are there */
	rc = pc_store_open(path, false, &store);
	if (rc < 0)
		return rc;
	pc_offline_resets(dp, store, reset);
	rc = pc_usage_new(store, pc_dp_max_sessions(dp), pc_offline_read, dp, reset, &usage);
	if (rc == 0)
		rc = pc_usage_fold(usage, pc_clock_monotonic());
	return rc;
}

static int teardown(const struct invocation *in, bool keep_maps)
{
	const char *bpffs = option_or(in, OPT_BPFFS, PC_DEFAULT_BPFFS);
	int n = pc_dp_teardown(bpffs, keep_maps);

	if (n < 0)
		return fail(in, "%s: %s", bpffs, pc_strerror(n));
	return done(in,
		    json_pack("{s:b, s:I, s:b}", "ok", 1, "detached", (json_int_t)n, "daemon", 0),
		    "no pcd answers on %s; program taken off %d interfaces", in->socket, n);
}

/* pcd answers first and folds and detaches then: done means that the process has ended. */
static int wait_until_gone(const struct invocation *in, pid_t pid)
{
	_cleanup_close_ int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (fd < 0 && errno == ESRCH)
		return EXIT_DONE;
	if (fd < 0)
		return fail(in, "pcd was told to stop, but cannot be watched: %s",
			    pc_strerror(-errno));
	if (poll(&p, 1, STOP_TIMEOUT_MS) == 1)
		return EXIT_DONE;
	return fail(in, "pcd was told to stop, but process %d still runs", (int)pid);
}

int run_shutdown(const struct invocation *in)
{
	json_t *reply;
	int status = call_or_none(in, "shutdown", NULL, &reply);
	int rc;

	if (status)
		return status;
	if (reply) {
		status = wait_until_gone(in,
					 (pid_t)json_integer_value(json_object_get(reply, "pid")));
		if (status == EXIT_DONE)
			return done(in, reply, "pcd stopped, data path down");
		json_decref(reply);
		return status;
	}
	rc = fold_leftovers(option_or(in, OPT_BPFFS, PC_DEFAULT_BPFFS),
			    option_or(in, OPT_STATE_DIR, PC_DEFAULT_STATE_DIR));
	if (rc < 0)
		return fail(in, "the last counts could not be saved, so the maps stay: %s",
			    pc_strerror(rc));
	return teardown(in, false);
}

int run_datapath_off(const struct invocation *in)
{
	json_t *reply;
	int status = call_or_none(in, "datapath off", NULL, &reply);

	if (status)
		return status;
	if (!reply)
		return teardown(in, true);
	return done(in, reply, "program taken off %lld interfaces; pcd relays in user space",
		    (long long)json_integer_value(json_object_get(reply, "detached")));
}
