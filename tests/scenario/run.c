/* SPDX-License-Identifier: MIT */
/*
 * Runs every tests/scenario/NAME.scn against a TURN machine with everything around it faked.
 * One TAP line each. A scenario is lines of words; '#' begins a comment, "..." keeps blanks, $NAME
 * is a variable (README.md beside the scenarios lists the words).
 */
#include <dirent.h>
#include <limits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/scenario/setup.h"
#include "tests/scenario/world.h"

static struct client *find_client(struct scenario *s, const char *name)
{
	for (size_t i = 0; i < s->n_clients; i++) {
		if (strcmp(s->clients[i].name, name) == 0)
			return &s->clients[i];
	}
	return NULL;
}

/* --- clients --- */

static int cmd_client(struct scenario *s, char **w, int n)
{
	struct client *c = &s->clients[s->n_clients];

	if (n < 4 || s->n_clients == MAX_CLIENTS || pc_addr_parse(w[2], &c->path.client) < 0 ||
	    pc_addr_parse(w[3], &c->path.server) < 0)
		return wrong(s, "client NAME ADDR SERVER");
	s->n_clients++;
	snprintf(c->name, sizeof(c->name), "%s", w[1]);
	c->path.listener = (uint32_t)s->n_clients;
	c->ttl = TURN_SCENARIO_TTL;
	return start(s);
}

/* `NAME login USER PASSWORD [md5] [sha256] [hash] [mi256]` */
static int client_login(struct scenario *s, struct client *c, char **w, int n)
{
	if (n < 4)
		return wrong(s, "NAME login USER PASSWORD");
	snprintf(c->user, sizeof(c->user), "%s", w[2]);
	snprintf(c->password, sizeof(c->password), "%s", w[3]);
	c->algorithm = 0;
	c->hash = c->integrity256 = false;
	for (int i = 4; i < n; i++) {
		if (strcmp(w[i], "md5") == 0)
			c->algorithm = PC_AUTH_MD5;
		else if (strcmp(w[i], "sha256") == 0)
			c->algorithm = PC_AUTH_SHA256;
		else if (strcmp(w[i], "hash") == 0)
			c->hash = true;
		else if (strcmp(w[i], "mi256") == 0)
			c->integrity256 = true;
		else
			return wrong(s, "login ... %s", w[i]);
	}
	return 0;
}

static int client_gets(struct scenario *s, struct client *c, char **w, int n)
{
	const char *bad;

	if (n < 3)
		return wrong(s, "NAME gets WHAT");
	fake_dgram_free(c->last);
	c->last = fake_take_dgram(&s->f, &c->path.client);
	if (strcmp(w[2], "nothing") == 0)
		return c->last ? wrong(s, "something of %zu bytes came", c->last->d.len) : 0;
	if (!c->last)
		return wrong(s, "nothing came");
	if (!pc_addr_equal(&c->last->from, &c->path.server))
		return wrong(s, "came from another address");
	bad = strcmp(w[2], "channel") == 0 ? answer_channel(c, w + 2, n - 2)
					   : answer_stun(&s->vars, c, w + 2, n - 2);
	return bad ? wrong(s, "does not hold: %s", bad) : 0;
}

/* `NAME channel NUMBER VALUE [len=N] [pad=VALUE]` */
static int client_channel(struct scenario *s, struct client *c, char **w, int n)
{
	uint8_t buf[CLIENT_MAX_MESSAGE];
	struct pc_writer out;
	int len = n >= 4 ? client_bytes(w[3], buf + 4, sizeof(buf) - 8) : -1;
	uint16_t told = (uint16_t)len;
	int pad = 0;

	if (len < 0)
		return wrong(s, "NAME channel NUMBER VALUE");
	for (int i = 4; i < n; i++) {
		if (strncmp(w[i], "len=", 4) == 0)
			told = (uint16_t)strtoul(w[i] + 4, NULL, 10);
		else if (strncmp(w[i], "pad=", 4) == 0)
			pad = client_bytes(w[i] + 4, buf + 4 + len, 4);
	}
	pc_writer_init(&out, buf, 4);
	pc_write_u16(&out, (uint16_t)strtoul(w[2], NULL, 0));
	pc_write_u16(&out, told);
	client_input(&s->f, c, buf, (size_t)(4 + len + pad), NULL, NULL);
	return 0;
}

/* Challenge and Allocate in one word; further words go into the request. */
static int client_allocates(struct scenario *s, struct client *c, char **w, int n)
{
	char *first[] = { "allocate", strdupa("transport=17") };
	char *second[MAX_WORDS] = { "allocate", strdupa("transport=17") };
	char *challenge[] = { NULL, NULL, "error", "401" }, *success[] = { NULL, NULL, "success" };
	const char *bad;
	int k = 2;

	for (int i = 2; i < n && k < MAX_WORDS - 1; i++)
		second[k++] = w[i];
	second[k++] = "auth";
	bad = client_send(&s->f, c, first, 2);
	if (bad || client_gets(s, c, challenge, 4) < 0)
		return bad ? wrong(s, "%s", bad) : -1;
	bad = client_send(&s->f, c, second, k);
	return bad ? wrong(s, "%s", bad) : client_gets(s, c, success, 3);
}

static int client_keeps(struct scenario *s, struct client *c, const char *name)
{
	char hex[2 * 2000 + 1];

	if (!c->last || c->last->d.len > 2000)
		return wrong(s, "nothing to keep");
	pc_format_hex(c->last->d.data, c->last->d.len, hex);
	answer_set(&s->vars, name, "x:%s", hex);
	return 0;
}

static int client_raw(struct scenario *s, struct client *c, const char *value)
{
	int n = client_bytes(value, s->raw, sizeof(s->raw));

	if (n < 0)
		return wrong(s, "NAME raw VALUE");
	client_input(&s->f, c, s->raw, (size_t)n, NULL, NULL);
	return 0;
}

static int run_client(struct scenario *s, struct client *c, char **w, int n)
{
	const char *bad;

	if (n == 2 && strcmp(w[1], "odd") == 0) {
		c->odd = true;
		return 0;
	}
	if (strcmp(w[1], "allocates") == 0)
		return client_allocates(s, c, w, n);
	if (n < 3)
		return wrong(s, "%s what?", w[0]);
	if (strcmp(w[1], "sends") == 0) {
		bad = client_send(&s->f, c, w + 2, n - 2);
		return bad ? wrong(s, "%s", bad) : 0;
	}
	if (strcmp(w[1], "gets") == 0)
		return client_gets(s, c, w, n);
	if (strcmp(w[1], "login") == 0)
		return client_login(s, c, w, n);
	if (strcmp(w[1], "channel") == 0)
		return client_channel(s, c, w, n);
	if (strcmp(w[1], "keeps") == 0)
		return client_keeps(s, c, w[2]);
	if (strcmp(w[1], "raw") == 0)
		return client_raw(s, c, w[2]);
	if (strcmp(w[1], "ttl") == 0)
		c->ttl = (uint8_t)strtoul(w[2], NULL, 0);
	else if (strcmp(w[1], "tos") == 0)
		c->tos = (uint8_t)strtoul(w[2], NULL, 0);
	else if (strcmp(w[1], "realm") == 0)
		snprintf(c->realm, sizeof(c->realm), "%s", w[2]);
	else if (strcmp(w[1], "nonce") == 0)
		c->nonce_len = (size_t)client_bytes(w[2], (uint8_t *)c->nonce, sizeof(c->nonce));
	else
		return wrong(s, "%s what?", w[0]);
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(struct scenario *s, char **w, int n);
} commands[] = {
	{ "relay", cmd_relay },
	{ "set", cmd_set },
	{ "allow", cmd_rule },
	{ "deny", cmd_rule },
	{ "own", cmd_rule },
	{ "user", cmd_user },
	{ "forget-user", cmd_account },
	{ "password", cmd_account },
	{ "timed", cmd_account },
	{ "reconfigure", cmd_reconfigure },
	{ "client", cmd_client },
	{ "peer", cmd_peer },
	{ "icmp", cmd_icmp },
	{ "effect", cmd_effect },
	{ "none", cmd_none },
	{ "order", cmd_order },
	{ "clear", cmd_clear },
	{ "fail", cmd_fail },
	{ "advance", cmd_advance },
	{ "later", cmd_advance },
	{ "deadline", cmd_deadline },
	{ "restart", cmd_restart },
	{ "stats", cmd_stats },
	{ "end-tenant", cmd_end_tenant },
	{ "resync", cmd_resync },
	{ "each", cmd_each },
	{ "flood", cmd_flood },
	{ "memory", cmd_memory },
	{ "same", cmd_same },
	{ "differ", cmd_same },
	{ "occupy", cmd_occupy },
	{ "limit", cmd_limit },
};

static int run_command(struct scenario *s, char **w, int n)
{
	struct client *c = find_client(s, w[0]);

	if (c && n >= 2)
		return run_client(s, c, w, n);
	for (size_t i = 0; i < PC_ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, w[0]) == 0)
			return commands[i].fn(s, w, n);
	}
	return wrong(s, "unknown word '%s'", w[0]);
}

/* --- lines to words --- */

/* Replaces $NAME, longest name first. @out of MAX_LINE. */
static int expand(struct scenario *s, const char *in, char *out)
{
	size_t len = 0;

	while (*in && len < MAX_LINE - 1) {
		size_t n = strspn(in + 1, "abcdefghijklmnopqrstuvwxyz0123456789.");
		const char *value;
		char name[48];

		if (*in != '$') {
			out[len++] = *in++;
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)n, in + 1);
		value = answer_get(&s->vars, name);
		if (!value)
			return wrong(s, "no variable '%s'", name);
		len += (size_t)snprintf(out + len, MAX_LINE - len, "%s", value);
		in += n + 1;
	}
	out[len < MAX_LINE ? len : MAX_LINE - 1] = '\0';
	return 0;
}

static int split(char *line, char **words)
{
	int n = 0;
	char *p = line;

	while (n < MAX_WORDS) {
		char *out;
		bool quoted = false;

		p += strspn(p, " \t\n");
		if (!*p || *p == '#')
			break;
		words[n++] = out = p;
		for (; *p && (quoted || !strchr(" \t\n", *p)); p++) {
			if (*p == '"')
				quoted = !quoted;
			else
				*out++ = *p;
		}
		if (*p)
			p++;
		*out = '\0';
	}
	return n;
}

static int run_file(struct scenario *s, FILE *file)
{
	char line[MAX_LINE], expanded[MAX_LINE];
	char *words[MAX_WORDS];
	int number = 0;

	while (fgets(line, sizeof(line), file)) {
		int n;

		number++;
		if (line[strspn(line, " \t")] == '#')
			continue;
		if (expand(s, line, expanded) == 0) {
			n = split(expanded, words);
			if (n == 0 || run_command(s, words, n) == 0)
				continue;
		}
		printf("# line %d: %s# %s\n", number, line, s->error);
		return -1;
	}
	return finish(s);
}

static bool run_scenario(const char *path)
{
	struct scenario *s = calloc(1, sizeof(*s));
	_cleanup_file_ FILE *file = fopen(path, "r");
	bool ok;

	fake_init(&s->f);
	ok = file && run_file(s, file) == 0;
	for (size_t i = 0; i < s->n_clients; i++)
		fake_dgram_free(s->clients[i].last);
	fake_free(&s->f);
	free(s);
	return ok;
}

static int is_scenario(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 4 && strcmp(e->d_name + n - 4, ".scn") == 0;
}

/* The directory of scenarios: below the current one, or where the sources were built. */
static const char *find_directory(const char *argv0, char *buf, size_t size)
{
	static const char *const up[] = { "../../..", "../../../..", "../../../../.." };
	const char *slash = strrchr(argv0, '/');

	snprintf(buf, size, "tests/scenario");
	if (access(buf, R_OK) == 0)
		return buf;
	for (size_t i = 0; slash && i < PC_ARRAY_SIZE(up); i++) {
		snprintf(buf, size, "%.*s/%s/tests/scenario/run.c", (int)(slash - argv0), argv0,
			 up[i]);
		if (access(buf, R_OK) == 0) {
			*strrchr(buf, '/') = '\0';
			return buf;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	char dir[PATH_MAX], path[PATH_MAX + 256];
	struct dirent **entries;
	int failed = 0, n;

	if (argc > 1) {
		for (int i = 1; i < argc; i++) {
			bool ok = run_scenario(argv[i]);

			printf("%s %d - %s\n", ok ? "ok" : "not ok", i, argv[i]);
			failed += !ok;
		}
		return failed != 0;
	}
	if (!find_directory(argv[0], dir, sizeof(dir)) ||
	    (n = scandir(dir, &entries, is_scenario, alphasort)) <= 0) {
		printf("1..1\nnot ok 1 - no scenarios found\n");
		return 1;
	}
	printf("1..%d\n", n);
	for (int i = 0; i < n; i++) {
		bool ok;

		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		ok = run_scenario(path);
		printf("%s %d - scenario %.*s\n", ok ? "ok" : "not ok", i + 1,
		       (int)(strlen(entries[i]->d_name) - 4), entries[i]->d_name);
		fflush(stdout);
		failed += !ok;
		free(entries[i]);
	}
	free(entries);
	return failed != 0;
}
