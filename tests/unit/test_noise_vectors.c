/* SPDX-License-Identifier: MIT */
/*
 * All published Noise vectors of the suite, from a file that is not part of the project
 * (PC_VECTORS, else ../shared/vectors beside the tree).
 */
#include <stdlib.h>

#include "noise_vector.h"

#define SUITE	"_25519_ChaChaPoly_SHA256"
#define VECTORS "noise-25519-chachapoly-subset.json"

static json_t *load_vectors(void)
{
	const char *dir = getenv("PC_VECTORS");
	char path[512];

	snprintf(path, sizeof(path), "%s/" VECTORS, dir ? dir : "../shared/vectors");
	return json_load_file(path, 0, NULL);
}

static void test_file(void **state)
{
	const json_t *all = *state;
	json_t *list = json_object_get(all, "vectors");
	unsigned int n = 0, ours = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);
		const char *name = json_string_value(json_object_get(v, "protocol_name"));
		struct pc_noise_pattern p;

		if (!strstr(name, SUITE))
			continue;
		assert_true(pattern_of(name, &p));
		run_vector(v, &p);
		n++;
		/* The patterns of the library itself, not only their description here. */
		for (int k = 0; k < 2; k++) {
			const struct pc_noise_pattern *own = k ? &pc_noise_xx : &pc_noise_ikpsk2;

			if (strcmp(name, own->protocol_name) != 0)
				continue;
			assert_memory_equal(own->steps, p.steps, sizeof(p.steps));
			run_vector(v, own);
			ours++;
		}
	}
	printf("# %u vectors of the suite\n", n);
	assert_true(n > 0);
	assert_int_equal(ours, 2);
}

int main(void)
{
	json_t *all = load_vectors();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_file, all),
	};
	int rc;

	if (!all) {
		printf(VECTORS " is not there (PC_VECTORS names its directory)\n");
		return 77;
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	json_decref(all);
	return rc;
}
