/* SPDX-License-Identifier: MIT */
/*
 * The XDP relay stays within what tests/bpf/budget allows it. PC_BPF_BUDGET names another file.
 */
#include "harness.h"

static unsigned long budget(const char *name)
{
	const char *path = getenv("PC_BPF_BUDGET");
	char line[256], key[64];
	unsigned long value;
	FILE *file;

	path = path ? path : "tests/bpf/budget";
	file = fopen(path, "re");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %lu", key, &value) == 2 && !strcmp(key, name)) {
			fclose(file);
			return value;
		}
	}
	fclose(file);
	fail_msg("%s: no line for %s", path, name);
	return 0;
}

/* The number after @label in the verifier's statistics. */
static unsigned long statistic(const struct rig *rig, const char *label)
{
	const char *at = strstr(rig->log, label);

	if (!at)
		fail_msg("the verifier did not say \"%s\": %s", label, rig->log);
	return strtoul(at + strlen(label), NULL, 10);
}

static void expect_within(const char *name, unsigned long value)
{
	unsigned long limit = budget(name);

	printf("# %s %lu of %lu\n", name, value, limit);
	assert_true(value > 0);
	if (value > limit)
		fail_msg("%s: %lu, the budget is %lu", name, value, limit);
}

static void test_program(void **state)
{
	struct rig *rig = *state;

	expect_within("program_insns", bpf_program__insn_cnt(rig->prog));
}

static void test_verifier(void **state)
{
	expect_within("verified_insns", statistic(*state, "processed "));
}

static void test_stack(void **state)
{
	expect_within("stack_bytes", statistic(*state, "stack depth "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rig_test(test_program),
		rig_test(test_verifier),
		rig_test(test_stack),
	};

	rig_main(tests);
}
