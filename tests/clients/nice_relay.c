/* SPDX-License-Identifier: MIT */
/*
 * libnice: two agents that may only use relay candidates.
 *   nice_relay HOST PORT USER PASSWORD
 * Built by the test that runs it: cc nice_relay.c $(pkg-config --cflags --libs nice gio-2.0)
 */
#include <agent.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

#define DATAGRAMS 300
#define SIZE	  1000

struct side {
	NiceAgent *agent;
	guint stream;
	gboolean gathered;
};

static GMainLoop *loop;
static struct side sides[2];
static guint ready, sent;
static gsize got;

static void on_receive(NiceAgent *agent, guint stream, guint component, guint len, gchar *buf,
		       gpointer data)
{
	got += len;
	if (got >= (gsize)DATAGRAMS * SIZE)
		g_main_loop_quit(loop);
}

static gboolean send_one(gpointer data)
{
	char buf[SIZE] = { 1 };

	/* Without loss this stops by itself: the receiver ends the loop. */
	nice_agent_send(sides[0].agent, sides[0].stream, 1, SIZE, buf);
	return ++sent < DATAGRAMS;
}

static void on_state(NiceAgent *agent, guint stream, guint component, guint state, gpointer data)
{
	if (state == NICE_COMPONENT_STATE_READY && ++ready == 2)
		g_timeout_add(2, send_one, NULL);
}

static void exchange(struct side *from, struct side *to)
{
	g_autofree gchar *user = NULL, *password = NULL;
	GSList *candidates;

	nice_agent_get_local_credentials(from->agent, from->stream, &user, &password);
	nice_agent_set_remote_credentials(to->agent, to->stream, user, password);
	candidates = nice_agent_get_local_candidates(from->agent, from->stream, 1);
	nice_agent_set_remote_candidates(to->agent, to->stream, 1, candidates);
	g_slist_free_full(candidates, (GDestroyNotify)nice_candidate_free);
}

static void on_gathered(NiceAgent *agent, guint stream, gpointer data)
{
	struct side *side = data;

	side->gathered = TRUE;
	if (!sides[0].gathered || !sides[1].gathered)
		return;
	exchange(&sides[0], &sides[1]);
	exchange(&sides[1], &sides[0]);
}

static gboolean on_limit(gpointer data)
{
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

static void open_side(struct side *s, gboolean controlling, char **argv)
{
	s->agent = nice_agent_new(g_main_loop_get_context(loop), NICE_COMPATIBILITY_RFC5245);
	g_object_set(s->agent, "force-relay", TRUE, "upnp", FALSE, "ice-tcp", FALSE,
		     "controlling-mode", controlling, NULL);
	g_signal_connect(s->agent, "candidate-gathering-done", G_CALLBACK(on_gathered), s);
	g_signal_connect(s->agent, "component-state-changed", G_CALLBACK(on_state), s);
	s->stream = nice_agent_add_stream(s->agent, 1);
	nice_agent_set_relay_info(s->agent, s->stream, 1, argv[1],
				  (guint)g_ascii_strtoull(argv[2], NULL, 10), argv[3], argv[4],
				  NICE_RELAY_TYPE_TURN_UDP);
	nice_agent_attach_recv(s->agent, s->stream, 1, g_main_loop_get_context(loop), on_receive,
			       NULL);
}

int main(int argc, char **argv)
{
	NiceCandidate *local, *remote;
	gboolean relayed = FALSE, ok;

	if (argc != 5) {
		fprintf(stderr, "usage: nice_relay HOST PORT USER PASSWORD\n");
		return 2;
	}
	loop = g_main_loop_new(NULL, FALSE);
	for (int i = 0; i < 2; i++)
		open_side(&sides[i], i == 0, argv);
	for (int i = 0; i < 2; i++)
		nice_agent_gather_candidates(sides[i].agent, sides[i].stream);
	g_timeout_add_seconds(20, on_limit, NULL);
	g_main_loop_run(loop);
	if (nice_agent_get_selected_pair(sides[0].agent, sides[0].stream, 1, &local, &remote))
		relayed = local->type == NICE_CANDIDATE_TYPE_RELAYED;
	ok = relayed && got >= (gsize)DATAGRAMS * SIZE;
	printf("{\"ok\":%s,\"got\":%zu,\"relayed\":%s}\n", ok ? "true" : "false", (size_t)got,
	       relayed ? "true" : "false");
	return ok ? 0 : 1;
}
