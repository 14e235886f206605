/* SPDX-License-Identifier: MIT */
/* The published Noise vectors of the two patterns in use. */
#include "noise_vector.h"

/* Of the collection that the cacophony project published, the first four messages. */
static const char xx_vector[] =
	"{\"protocol_name\":\"Noise_XX_25519_ChaChaPoly_SHA256\",\"init_prologue\":\"4a6f686e204"
	"7616c74\",\"init_static\":\"e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed"
	"542214d1\",\"init_ephemeral\":\"893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b05"
	"69da977c464a\",\"resp_prologue\":\"4a6f686e2047616c74\",\"resp_static\":\"4a3acbfdb163de"
	"c651dfa3194dece676d437029c62a408b4c5ea9114246e4893\",\"resp_ephemeral\":\"bbdb4cdbd3"
	"09f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b\",\"handshake_hash\":\"c8e5f6"
	"4e846193be2a834104c2a009868d6c9f3bd3c186299888b488b2f1f58e\",\"messages\":[{\"payloa"
	"d\":\"4c756477696720766f6e204d69736573\",\"ciphertext\":\"ca35def5ae56cec33dc2036731ab"
	"14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573\"},{\"payload"
	"\":\"4d757272617920526f746862617264\",\"ciphertext\":\"95ebc60d2b1fa672c1f46a8aa265ef5"
	"1bfe38e7ccb39ec5be34069f14480884381cbad1f276e038c48378ffce2b65285e08d6b68aaa3629"
	"a5a8639392490e5b9bd5269c2f1e4f488ed8831161f19b7815528f8982ffe09be9b5c412f8a0db50"
	"f8814c7194e83f23dbd8d162c9326ad\"},{\"payload\":\"462e20412e20486179656b\",\"ciphertex"
	"t\":\"c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a80ae475b9df0f"
	"169ae80a89be0865b57f58c9fea0d4ec82a286427402f113e4b6ae769a1d95941d49b25030\"},{\"p"
	"ayload\":\"4361726c204d656e676572\",\"ciphertext\":\"96763ed773f8e47bb3712f0e29b3060ff"
	"c956ffc146cee53d5e1df\"}]}";

static const char ikpsk2_vector[] =
	"{\"protocol_name\":\"Noise_IKpsk2_25519_ChaChaPoly_SHA256\",\"init_prologue\":\"4a6f686"
	"e2047616c74\",\"init_psks\":[\"54686973206973206d7920417573747269616e207065727370656"
	"37469766521\"],\"init_static\":\"e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8"
	"df7ed542214d1\",\"init_ephemeral\":\"893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439"
	"a6b0569da977c464a\",\"init_remote_static\":\"31e0303fd6418d2f8c0e78b91f22e8caed0fbe4"
	"8656dcf4767e4834f701b8f62\",\"resp_prologue\":\"4a6f686e2047616c74\",\"resp_psks\":[\"54"
	"686973206973206d7920417573747269616e20706572737065637469766521\"],\"resp_static\":\""
	"4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893\",\"resp_ephemera"
	"l\":\"bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b\",\"handshake"
	"_hash\":\"8310f86394dc0dabb40beb8210031556db4403ab1202db7034c526232147a700\",\"messa"
	"ges\":[{\"payload\":\"4c756477696720766f6e204d69736573\",\"ciphertext\":\"ca35def5ae56ce"
	"c33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79442ec9b09893d0f510791784c10cbc95"
	"9f25b1766e0def6e301d14fbca1c7790ac829b8b3674f5f649a5f0e98479662cbfbf2b2c47cd4b09"
	"fcd266cd29d7cb675f1808849707847840f6d178ec4d3733aa\"},{\"payload\":\"4d7572726179205"
	"26f746862617264\",\"ciphertext\":\"95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be"
	"34069f1448088439a1b3cebf680b2c74217fcb5eba4ff58a9468cd90c4aca6194f57479b379a7\"},"
	"{\"payload\":\"462e20412e20486179656b\",\"ciphertext\":\"a8fde7a0accec190cd306c5950d4fd"
	"8e04a205ec288aa747d8b347\"},{\"payload\":\"4361726c204d656e676572\",\"ciphertext\":\"59c"
	"addd9984a3bbe24c4fb31a2bd455b7eba3fa0980674b1a3a5f9\"}]}";

static void run_text(const char *text, const struct pc_noise_pattern *own)
{
	json_error_t error;
	json_t *v = json_loads(text, 0, &error);

	assert_non_null(v);
	assert_string_equal(json_string_value(json_object_get(v, "protocol_name")),
			    own->protocol_name);
	run_vector(v, own);
	json_decref(v);
}

static void test_inside(void **state)
{
	run_text(xx_vector, &pc_noise_xx);
	run_text(ikpsk2_vector, &pc_noise_ikpsk2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inside),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
