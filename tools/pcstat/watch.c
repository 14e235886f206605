/* SPDX-License-Identifier: MIT */
#include "pcstat.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ctl/cli.h"

#define ALT_SCREEN_ON  "\033[?1049h\033[?25l"
#define ALT_SCREEN_OFF "\033[?25h\033[?1049l"
#define HOME	       "\033[H"
#define CLEAR_LINE     "\033[K"
#define CLEAR_BELOW    "\033[J"

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = 1;
}

void terminal_size(unsigned int *ret_width, unsigned int *ret_height)
{
	struct winsize size;

	*ret_width = *ret_height = 0;
	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
		*ret_width = size.ws_col;
		*ret_height = size.ws_row;
	}
}

/* Over the old screen, without a flash: each line clears only what is right of it. */
static void redraw(const char *screen)
{
	fputs(HOME, stdout);
	for (; *screen; screen++) {
		if (*screen == '\n')
			fputs(CLEAR_LINE, stdout);
		putchar(*screen);
	}
	fputs(CLEAR_BELOW, stdout);
}

static int draw(const struct pcstat *p, bool terminal, const json_t *now, const json_t *before,
		double seconds)
{
	_cleanup_free_ char *screen = NULL;
	unsigned int width, height;
	size_t size;
	FILE *f;

	if (p->json) {
		pc_cli_print_json(now, true);
		return fflush(stdout);
	}
	terminal_size(&width, &height);
	f = open_memstream(&screen, &size);
	if (!f)
		return -1;
	show_status(f, now, before, seconds, width, height);
	fclose(f);
	if (terminal) {
		redraw(screen);
	} else {
		fputs(screen, stdout);
		putchar('\n');
	}
	return fflush(stdout);
}

static void pause_for(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / PC_NS_PER_S),
			      .tv_nsec = (long)(ns % PC_NS_PER_S) };

	nanosleep(&t, NULL); /* a signal ends it early: the loop looks */
}

static int loop(struct pcstat *p, bool terminal)
{
	json_t *before = NULL, *now = NULL;
	uint64_t then = 0;
	int status = EXIT_DONE;

	while (!stopped) {
		uint64_t clock = pc_clock_monotonic();

		status = source_get(p, "status", NULL, &now);
		if (status)
			break;
		if (draw(p, terminal, now, before, (double)(clock - then) / PC_NS_PER_S) != 0)
			break;
		json_decref(before);
		before = now;
		now = NULL;
		then = clock;
		pause_for(p->interval_ns);
	}
	json_decref(before);
	return status;
}

int watch(struct pcstat *p)
{
	struct sigaction sa = { .sa_handler = on_signal };
	bool terminal = isatty(STDOUT_FILENO) && !p->json;
	int status;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	/* The note that pcd is down would be drawn over; the screen says it. */
	if (terminal) {
		p->noted = true;
		fputs(ALT_SCREEN_ON, stdout);
	}
	status = loop(p, terminal);
	if (terminal) {
		fputs(ALT_SCREEN_OFF, stdout);
		fflush(stdout);
	}
	return status;
}
