/* SPDX-License-Identifier: MIT */
/*
 * Error codes: 0, or a negative code. -1 to -999 are -errno; our own codes lie below -1000 and
 * have their texts in err.c.
 */
#ifndef PC_BASE_ERR_H
#define PC_BASE_ERR_H

enum pc_err {
	PC_ERR_SHORT = -1001,	  /* input ends too early */
	PC_ERR_MALFORMED = -1002, /* input breaks its format */
	PC_ERR_RANGE = -1003,	  /* value outside what is allowed */
	PC_ERR_UNKNOWN = -1004,	  /* unknown name */
	PC_ERR_EXISTS = -1005,	  /* name or address taken */
	PC_ERR_NOT_FOUND = -1006,
	PC_ERR_FULL = -1007,	    /* a fixed table has no room */
	PC_ERR_AUTH = -1008,	    /* integrity or credentials do not match */
	PC_ERR_STORE = -1009,	    /* the store failed */
	PC_ERR_LOCKED = -1010,	    /* someone else holds it */
	PC_ERR_VERSION = -1011,	    /* made by another version */
	PC_ERR_UNSUPPORTED = -1012, /* this kernel or build cannot do it */
	PC_ERR_REFUSED = -1013,	    /* policy says no */
	PC_ERR_STATE = -1014,	    /* not possible in this state */
};

/* Text for @err (0, -errno or enum pc_err). Never NULL; static or thread-local storage. */
const char *pc_strerror(int err);

#endif
