/* SPDX-License-Identifier: MIT */
#include "pcstat.h"

#include <string.h>

#include "ctl/cli.h"
#include "ctl/ctl.h"

#define TIMEOUT_MS 10000

static void note_offline(struct pcstat *p)
{
	char text[1024];

	if (p->noted)
		return;
	p->noted = true;
	snprintf(text, sizeof(text), "no pcd answers on %s: figures are from %s and %s", p->socket,
		 p->bpffs, p->state_dir);
	pc_cli_warning("pcstat", p->json, text);
}

int source_get(struct pcstat *p, const char *command, json_t *args, json_t **ret_reply)
{
	json_t *reply = NULL;
	char text[512];
	int rc = pc_ctl_call(p->socket, command, args, TIMEOUT_MS, &reply);

	if (pc_cli_no_daemon(rc)) {
		note_offline(p);
		reply = offline_get(p, command, args);
		rc = 0;
	} else {
		p->noted = false;
	}
	json_decref(args);
	if (rc < 0)
		return fail(p, "%s", pc_cli_call_error(rc, p->socket, text, sizeof(text)));
	if (!reply)
		return fail(p, "out of memory");
	if (pc_ctl_error(reply)) {
		rc = fail(p, "%s", pc_ctl_error(reply));
		json_decref(reply);
		return rc;
	}
	*ret_reply = reply;
	return EXIT_DONE;
}
