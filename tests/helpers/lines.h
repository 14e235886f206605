/* SPDX-License-Identifier: MIT */
/*
 * Commands on standard input, one a line, for helpers that the other implementation of the native
 * protocol drives: what a command answers is followed by a line "done".
 */
#ifndef PC_TESTS_LINES_H
#define PC_TESTS_LINES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/parse.h"
#include "relay/native.h"
#include "relay/noise.h"

#define LINE_MAX_LEN 8192
#define LINE_WORDS   4 /* what follows is not looked at */

struct line_command {
	const char *name;
	/* @words: LINE_WORDS of them, its name the first; NULL: there are no more. */
	bool (*run)(char **words);
};

/* How many bytes @text is in hexadecimal digits. -1: it is not, or more than @size. */
static inline ssize_t line_bytes(const char *text, uint8_t *ret, size_t size)
{
	size_t len = text ? strlen(text) / 2 : 0;

	if (!text || len > size || pc_parse_hex(text, ret, len) < 0)
		return -1;
	return (ssize_t)len;
}

/* Identity and static key of a machine, both made of the 32 bytes of @text. */
static inline bool line_seed(const char *text, struct pc_native_config *config,
			     struct pc_noise_keypair *ret_static)
{
	uint8_t seed[32], secret[64];

	if (line_bytes(text, seed, sizeof(seed)) != 32)
		return false;
	crypto_sign_seed_keypair(config->identity, secret, seed);
	crypto_hash_sha256(config->static_secret, seed, sizeof(seed));
	pc_noise_keypair(config->static_secret, ret_static);
	pc_statement_make(secret, ret_static->public_key, 1000, 4000000000, config->statement);
	return true;
}

static inline bool line_run(char *line, const struct line_command *commands, size_t n_commands)
{
	char *words[LINE_WORDS] = { NULL }, *save = NULL;
	unsigned int n = 0;

	for (char *word = strtok_r(line, " \n", &save); word && n < LINE_WORDS;
	     word = strtok_r(NULL, " \n", &save))
		words[n++] = word;
	for (size_t i = 0; n && i < n_commands; i++) {
		if (strcmp(words[0], commands[i].name) == 0)
			return commands[i].run(words);
	}
	return false;
}

/* Until there are no more. Returns an exit status. */
static inline int lines_serve(const struct line_command *commands, size_t n_commands)
{
	static char line[LINE_MAX_LEN];

	if (sodium_init() < 0)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (!line_run(line, commands, n_commands)) {
			fprintf(stderr, "bad command\n");
			return 2;
		}
		printf("done\n");
	}
	return 0;
}

#endif
