/* SPDX-License-Identifier: MIT */
/*
 * One guarded attach as a machine that never waits: start, step until it is done. attach.c drives
 * it blocking before the loop runs, attach_watch.c from the loop. Nothing else uses it (but tests).
 */
#ifndef PC_DAEMON_ATTACH_TRIAL_H
#define PC_DAEMON_ATTACH_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/attach.h"
#include "daemon/probe.h"

/* How long the interface may take to show that it works before anything is attached. */
#define PC_ATTACH_BEFORE_NS 1000000000ull
/* The guard outlives the verification by this much: confirming fits in between. */
#define PC_ATTACH_MARGIN_NS 1000000000ull

enum pc_attach_state {
	PC_ATTACH_BEFORE, /* asking the neighbours without the program */
	PC_ATTACH_TRYING, /* to be attached in the next mode */
	PC_ATTACH_VERIFY, /* attached on trial, asking again */
	PC_ATTACH_DONE,
};

struct pc_attach_trial {
	struct pc_dp *dp;
	struct pc_attach_result *result;
	bool skip_selftest; /* tests: to see the checks behind it at work */
	enum pc_attach_state state;
	struct pc_probe *probe; /* NULL: nobody to ask */
	enum pc_dp_mode modes[2];
	unsigned int n_modes, mode;
	uint64_t deadline; /* of the state */
	int error; /* why it was not attached in the mode that was tried last; 0: attached */
};

/* Clears and fills @trial; result->interface and ifindex are set. */
void pc_attach_trial_start(struct pc_attach_trial *trial, uint64_t now);
/* One step. Returns the state; with PC_ATTACH_DONE result and error are final. */
enum pc_attach_state pc_attach_trial_step(struct pc_attach_trial *trial, uint64_t now);
/* Until it is done. */
int pc_attach_trial_run(struct pc_attach_trial *trial);
/* Frees, and takes the program off when the trial had not come to its end. */
void pc_attach_trial_end(struct pc_attach_trial *trial);
/* Names @interface, checks that it is there and up. 0, or a code with the reason in @ret_result. */
int pc_attach_look_up(const char *interface, struct pc_attach_result *ret_result);
/* The modes @wanted allows, best first. */
unsigned int pc_attach_modes(enum pc_dp_mode wanted, enum pc_dp_mode ret_modes[static 2]);

#endif
