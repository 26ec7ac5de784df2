/* SPDX-License-Identifier: MIT */
/*
 * An ELF file that a target runs: the program or one of its libraries.
 *
 * It knows where the file lies in the target, its symbols, and where functions start and end: an
 * .eh_frame FDE proves both, so that nothing is ever probed or called a function by guessing.
 * Addresses are "run" addresses (in the target) or "link" addresses (in the file); run = link +
 * bias.
 */
#ifndef TRACER_IMAGE_H
#define TRACER_IMAGE_H

#include <gelf.h>
#include <stdbool.h>
#include <stdint.h>

#include "tracer/target.h"

struct symbol {
	uint64_t link; /* address */
	uint64_t size;
	const char *name;
	bool function;
};

struct function {	     /* proven by an FDE */
	uint64_t start, end; /* link addresses */
};

struct image {
	char *path;	   /* as the target sees it */
	char *open_path;   /* as this process can open it */
	char *root;	   /* of a core: the root that its files are in; NULL: this system's */
	char *name;	   /* last part of path, safe to show */
	char build_id[41]; /* hexadecimal, "" if it has none */
	uint64_t bias;
	uint64_t start, end; /* run addresses of all its maps */
	int fd;
	Elf *elf;
	GArray *symbols; /* struct symbol, by address; of .symtab where there is one, and .dynsym */
	GArray *functions;	   /* struct function, by address */
	GHashTable *by_name;	   /* name -> struct symbol */
	GHashTable *plt;	   /* link address of a PLT entry -> imported name */
	struct image_debug *debug; /* what is known of it from other files (image-debug.c) */
};

/*
 * Open the image that @map (of @t) belongs to. Errors: -ENOENT (its file cannot be opened),
 * -ENOEXEC (not an ELF file we can read). The caller closes it.
 */
int image_open(struct target *t, const struct map *map, struct image **ret, struct failure *why);
void image_close(struct image *img);

/*
 * Open a file that no target has mapped yet, at bias 0; image_set_bias() tells where it came to
 * lie.
 */
int image_open_file(const char *path, struct image **ret, struct failure *why);
/* The program that a process runs, the same way, in whatever root its file lies. */
int image_open_exe(pid_t pid, struct image **ret, struct failure *why);
void image_set_bias(struct image *img, uint64_t bias);

/* The program itself, and a library by the start of its file name ("libc.so"). */
int image_open_program(struct target *t, struct image **ret, struct failure *why);
int image_open_library(struct target *t, const char *prefix, struct image **ret,
		       struct failure *why);

/* The symbol of that name, or NULL. */
const struct symbol *image_symbol(const struct image *img, const char *name);
/*
 * The symbol that @link lies in, or NULL: the file's own, else one of its .gnu_debugdata, of its
 * separate debug file, or of a debuginfod that the user has named.
 */
const struct symbol *image_symbol_at(const struct image *img, uint64_t link);
/* The function that an FDE says holds @link, or NULL. */
const struct function *image_function_at(const struct image *img, uint64_t link);
/* True if the run address @addr is where a function of this image starts. */
bool image_is_function(const struct image *img, uint64_t addr);
/* Is the run address inside the image? */
bool image_holds(const struct image *img, uint64_t addr);

/* The file's bytes at a link address: a pointer into the mapped file and how many follow, or NULL.
 */
const uint8_t *image_bytes(const struct image *img, uint64_t link, size_t *ret_len);
/* Offset in the file of a link address; -ENOENT if it is not in the file. */
int image_file_offset(const struct image *img, uint64_t link, uint64_t *ret);

/* --- image-build-id.c --- */

void image_load_build_id(struct image *img, Elf_Scn *notes);

/* A file that was rebuilt since the core was made would give wrong names and wrong functions. */
int image_check_build_id(struct target *t, const struct image *img, struct failure *why);
/* Say that a core's file is not there: returns -ENOENT. */
int image_explain_missing(const struct target *t, const char *path, struct failure *why);

/* --- image-debug.c --- */

struct image_debug *image_debug_new(void);
void image_debug_free(struct image_debug *debug);
const struct symbol *image_debug_symbol_at(const struct image *img, uint64_t link);

/*
 * The debug information of the image, wherever it is; or NULL. Its addresses plus *ret_bias are
 * link addresses. The image keeps it.
 */
struct Dwarf;
struct Dwarf *image_debug_dwarf(const struct image *img, int64_t *ret_bias);

/* What was wrong with a debug file that was found, and not used; NULL: nothing. */
const char *image_debug_refused(const struct image *img);

/* Read the symbols and imports of @img (image-sections.c), its FDEs (image-cfi.c). */
void image_load_sections(struct image *img);
void image_load_functions(struct image *img);

#endif
