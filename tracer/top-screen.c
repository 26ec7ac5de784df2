// SPDX-License-Identifier: MIT
/*
 * The live view of top: ncurses draws the lines that top-text.c makes, in as many columns as the
 * terminal has now. See top.h.
 */
#include <ctype.h>
#include <locale.h>
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/top.h"

#define FILTER_MAX 64
#define ESCAPE	   27

struct top_screen {
	const struct top *top;
	SCREEN *terminal;
	struct top_view view; /* what is shown */
	GArray *frozen;	      /* struct top_frozen */
	enum top_sort sort;
	char filter[FILTER_MAX];
	bool typing; /* the filter is being typed */
	bool paused, total;
	unsigned selected, first; /* rows: the marked one, and the first on the screen */
	unsigned n_rows, room;	  /* how many there are, how many fit */
	bool quit;
};

static bool is_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && strcmp(term, "dumb");
}

struct top_screen *top_screen_open(const struct top *top)
{
	struct top_screen *s;
	SCREEN *terminal;

	if (!is_terminal())
		return NULL;
	setlocale(LC_CTYPE, "");
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal)
		return NULL;
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	if (!getenv("NO_COLOR") && has_colors()) {
		start_color();
		use_default_colors();
		init_pair(TOP_LOSS, COLOR_RED, -1);
		init_pair(TOP_HOT, COLOR_YELLOW, -1);
	}
	s = g_new0(struct top_screen, 1);
	s->top = top;
	s->terminal = terminal;
	s->sort = top->s->options->sort;
	s->frozen = top_frozen_new();
	return s;
}

void top_screen_close(struct top_screen *s)
{
	if (!s)
		return;
	endwin();
	delscreen(s->terminal);
	top_view_clear(&s->view);
	g_array_free(s->frozen, TRUE);
	g_free(s);
}

bool top_screen_wants_total(const struct top_screen *s)
{
	return s->total;
}

/* --- drawing --- */

static chtype attributes(enum top_style style)
{
	bool color = has_colors() && !getenv("NO_COLOR");

	switch (style) {
	case TOP_HEAD:
		return A_BOLD | A_UNDERLINE;
	case TOP_LOSS:
		return A_BOLD | (color ? COLOR_PAIR(TOP_LOSS) : A_STANDOUT);
	case TOP_HOT:
		return A_BOLD | (color ? COLOR_PAIR(TOP_HOT) : 0);
	default:
		return A_NORMAL;
	}
}

static void draw_text(int y, const char *text, chtype attr)
{
	attrset(attr);
	mvaddstr(y, 0, text);
	attrset(A_NORMAL);
}

/* Draw @lines from row @y of the terminal on; the next free row. */
static int draw_lines(const GArray *lines, int y, int last)
{
	for (size_t i = 0; i < lines->len && y < last; i++, y++) {
		const struct top_line *line = &g_array_index(lines, struct top_line, i);

		draw_text(y, line->text, attributes(line->style));
	}
	return y;
}

static int draw_head(const struct top_screen *s, int last)
{
	GArray *lines = top_lines_new();
	int y;

	top_add_status(lines, s->top, &s->view, COLS);
	top_add_loops(lines, &s->view, COLS);
	/* However many loops there are, rows are to be seen too. */
	y = draw_lines(lines, 0, last / 2);
	g_array_free(lines, TRUE);
	return y + 1;
}

static GArray *arranged(const struct top_screen *s)
{
	return top_arrange(s->view.rows, s->sort, s->filter, s->frozen);
}

/* The marked row is always on the screen. */
static void scroll_to_selected(struct top_screen *s)
{
	s->selected = s->n_rows ? MIN(s->selected, s->n_rows - 1) : 0;
	if (s->selected < s->first)
		s->first = s->selected;
	if (s->selected >= s->first + s->room)
		s->first = s->selected + 1 - s->room;
	if (s->first + s->room > s->n_rows)
		s->first = s->n_rows > s->room ? s->n_rows - s->room : 0;
}

static void draw_row(const struct top_screen *s, int y, const struct top_line *line,
		     const struct top_row *row)
{
	chtype attr = attributes(line->style);

	if ((unsigned)line->row == s->selected)
		attr |= A_REVERSE;
	draw_text(y, line->text, attr);
	if (top_is_frozen(s->frozen, &row->key))
		addstr(" *");
}

static void draw_rows(struct top_screen *s, int y, int last)
{
	GArray *rows = arranged(s), *lines = top_lines_new();
	struct top_view view = s->view;

	view.rows = rows;
	top_add_rows(lines, &view, COLS);
	s->n_rows = rows->len;
	s->room = (unsigned)MAX(last - y - 1, 1);
	scroll_to_selected(s);
	if (y < last)
		draw_text(y, g_array_index(lines, struct top_line, 0).text, attributes(TOP_HEAD));
	for (unsigned i = s->first; i < s->n_rows && i < s->first + s->room; i++)
		draw_row(s, y + 1 + (int)(i - s->first),
			 &g_array_index(lines, struct top_line, i + 1),
			 &g_array_index(rows, struct top_row, i));
	g_array_free(lines, TRUE);
	g_array_free(rows, TRUE);
}

static void draw_help(const struct top_screen *s)
{
	char *text;

	if (s->typing)
		text = g_strdup_printf("show only: %s_   (Enter: done, Esc: all)", s->filter);
	else
		text = g_strdup_printf("q quit  s sort: %s  / filter%s%s  f freeze *  t %s  p %s",
				       top_sort_name(s->sort), s->filter[0] ? ": " : "", s->filter,
				       s->total ? "interval" : "total",
				       s->paused ? "PAUSED, go on" : "pause");
	if (g_utf8_strlen(text, -1) >= COLS) {
		char *cut = g_utf8_substring(text, 0, MAX(COLS - 1, 0));

		g_free(text);
		text = cut;
	}
	draw_text(LINES - 1, text, s->paused || s->typing ? A_BOLD : A_NORMAL);
	g_free(text);
}

static void draw(struct top_screen *s)
{
	int last = LINES - 1;

	erase();
	if (s->view.rows)
		draw_rows(s, draw_head(s, last), last);
	draw_help(s);
	refresh();
}

void top_screen_show(struct top_screen *s, struct top_view *view)
{
	if (s->paused) {
		top_view_clear(view);
		return;
	}
	top_view_clear(&s->view);
	s->view = *view;
	draw(s);
}

/* --- keys --- */

static void type_filter(struct top_screen *s, int key)
{
	size_t len = strlen(s->filter);

	if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		s->typing = false;
	} else if (key == ESCAPE) {
		s->filter[0] = 0;
		s->typing = false;
	} else if (key == KEY_BACKSPACE || key == 127 || key == '\b') {
		if (len)
			s->filter[len - 1] = 0;
	} else if (key < 128 && isprint(key) && len + 1 < sizeof(s->filter)) {
		s->filter[len] = (char)key;
		s->filter[len + 1] = 0;
	}
}

static void freeze_selected(struct top_screen *s)
{
	GArray *rows;

	if (!s->view.rows)
		return;
	rows = arranged(s);
	if (s->selected < rows->len)
		top_freeze(s->frozen, &g_array_index(rows, struct top_row, s->selected),
			   s->selected);
	g_array_free(rows, TRUE);
}

static void move_to(struct top_screen *s, int64_t row)
{
	s->selected = (unsigned)CLAMP(row, 0, s->n_rows ? (int64_t)s->n_rows - 1 : 0);
}

static void move_by_key(struct top_screen *s, int key)
{
	int64_t at = s->selected, page = s->room;

	switch (key) {
	case KEY_UP:
	case 'k':
		move_to(s, at - 1);
		break;
	case KEY_DOWN:
	case 'j':
		move_to(s, at + 1);
		break;
	case KEY_PPAGE:
		move_to(s, at - page);
		break;
	case KEY_NPAGE:
		move_to(s, at + page);
		break;
	case KEY_HOME:
		move_to(s, 0);
		break;
	case KEY_END:
		move_to(s, INT64_MAX);
		break;
	default:
		break;
	}
}

static void take_key(struct top_screen *s, int key)
{
	if (s->typing) {
		type_filter(s, key);
		return;
	}
	switch (key) {
	case 'q':
	case 'Q':
		s->quit = true;
		break;
	case 's':
	case '>':
		s->sort = (s->sort + 1) % TOP_SORTS;
		break;
	case 'S':
	case '<':
		s->sort = (s->sort + TOP_SORTS - 1) % TOP_SORTS;
		break;
	case '/':
		s->typing = true;
		s->filter[0] = 0;
		break;
	case ESCAPE:
		s->filter[0] = 0;
		break;
	case 'p':
	case ' ':
		s->paused = !s->paused;
		break;
	case 't':
		s->total = !s->total;
		break;
	case 'f':
		freeze_selected(s);
		break;
	default:
		move_by_key(s, key);
	}
}

bool top_screen_keys(struct top_screen *s)
{
	bool any = false;
	int key;

	while (!s->quit && (key = getch()) != ERR) {
		take_key(s, key);
		any = true;
	}
	if (any && !s->quit)
		draw(s);
	return s->quit;
}
