/* SPDX-License-Identifier: MIT */
/*
 * The relay program with replay windows that refuse nobody, at the same cost: a test run shows the
 * program the frame that it wrote in the run before, whose counter is the same.
 */
#define PC_TEST_WINDOW_OPEN
#include "relay.bpf.c"
