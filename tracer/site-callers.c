// SPDX-License-Identifier: MIT
/* See site-callers.h. */
#include <stdio.h>
#include <string.h>

#include "tracer/site-callers.h"
#include "tracer/site-code.h"

#define MAX_SITES  256 /* of one function; more are no longer few */
#define SHORT_JUMP 130 /* bytes that a jump with an offset of one byte may lie away */
#define RELR	   19  /* SHT_RELR: relocations without an entry each, which are not read here */

/* One image, looked at for one function: what its code would have to call. */
struct search {
	const struct image *img;
	struct site_callers *of;
	uint64_t targets[3]; /* the function, where it is this image's; its PLT entries */
	int n_targets;
	csh fast, cs; /* without details and with */
	bool refused;
};

/* --- relocations --- */

/* May the relocation put the function's address where somebody could call it from? */
static bool takes_address(const struct search *s, const GElf_Rela *r, Elf_Data *syms,
			  size_t strings)
{
	GElf_Sym sym;
	const char *name;

	if (GELF_R_TYPE(r->r_info) == R_X86_64_RELATIVE)
		return s->img == s->of->img && (uint64_t)r->r_addend == s->of->link;
	if (GELF_R_TYPE(r->r_info) == R_X86_64_JUMP_SLOT || !syms ||
	    !gelf_getsym(syms, GELF_R_SYM(r->r_info), &sym))
		return false;
	name = elf_strptr(s->img->elf, strings, sym.st_name);
	return name && !strcmp(name, s->of->name);
}

static void look_at_relocations(struct search *s)
{
	Elf_Scn *scn = NULL;

	while (!s->refused && (scn = elf_nextscn(s->img->elf, scn))) {
		GElf_Shdr sh, sym_sh = { 0 };
		Elf_Scn *symtab;
		Elf_Data *data, *syms;
		GElf_Rela r;

		if (!gelf_getshdr(scn, &sh) || !(sh.sh_flags & SHF_ALLOC))
			continue;
		s->refused = sh.sh_type == RELR && s->img == s->of->img;
		if (sh.sh_type != SHT_RELA || !(data = elf_getdata(scn, NULL)))
			continue;
		symtab = elf_getscn(s->img->elf, sh.sh_link);
		syms = symtab && gelf_getshdr(symtab, &sym_sh) ? elf_getdata(symtab, NULL) : NULL;
		for (int i = 0; !s->refused && gelf_getrela(data, i, &r); i++)
			s->refused = takes_address(s, &r, syms, sym_sh.sh_link);
	}
}

/* --- code --- */

static bool is_target(const struct search *s, uint64_t link)
{
	for (int i = 0; i < s->n_targets; i++)
		if (s->targets[i] == link)
			return true;
	return false;
}

static void add_site(struct search *s, const cs_insn *insn)
{
	struct site site = { .img = s->img,
			     .link = insn->address,
			     .emulated = true,
			     .of_call = true,
			     .stack_bytes = insn->id == X86_INS_CALL ? -8 : 0 };

	snprintf(site.name, sizeof(site.name), "%.63s", s->of->name);
	if (s->of->sites->len == MAX_SITES || image_file_offset(s->img, site.link, &site.offset))
		s->refused = true;
	else
		g_array_append_val(s->of->sites, site);
}

/* An instruction whose bytes may say the address: does it call, jump there, or take it? */
static void judge(struct search *s, const cs_insn *insn)
{
	const cs_x86 *x = &insn->detail->x86;

	for (int i = 0; i < x->op_count; i++) {
		const cs_x86_op *op = &x->operands[i];

		if (op->type == X86_OP_IMM && is_target(s, op->imm)) {
			if ((insn->id == X86_INS_CALL || insn->id == X86_INS_JMP) &&
			    insn->size == 5 && site_is_emulated(insn) && !site_is_forbidden(insn))
				add_site(s, insn);
			else
				s->refused = true;
		} else if (op->type == X86_OP_MEM && op->mem.base == X86_REG_RIP &&
			   is_target(s, insn->address + insn->size + op->mem.disp)) {
			s->refused = true;
		}
	}
}

/* The instruction that has the byte at @link among its own. */
static void judge_around(struct search *s, uint64_t link)
{
	const struct function *fn = image_function_at(s->img, link);
	uint64_t at = fn ? fn->start : 0;
	size_t size;
	const uint8_t *code = fn ? image_bytes(s->img, at, &size) : NULL;
	cs_insn *insn = code ? cs_malloc(s->fast) : NULL, *whole = NULL;
	bool found = false;

	if (code)
		size = MIN(size, fn->end - at);
	while (code && !found && cs_disasm_iter(s->fast, &code, &size, &at, insn))
		found = at > link;
	if (found && cs_disasm(s->cs, insn->bytes, insn->size, insn->address, 1, &whole) == 1)
		judge(s, whole);
	else
		s->refused = true; /* code that nobody can follow might well call it */
	cs_free(whole, whole ? 1 : 0);
	if (insn)
		cs_free(insn, 1);
}

/* May a distance of four bytes stand at @at: of a call, a jump or an operand relative to here? */
static bool may_be_distance(const uint8_t *code, size_t at)
{
	uint8_t before = at ? code[at - 1] : 0, opcode = at > 1 ? code[at - 2] : 0;

	return (before & 0xfe) == 0xe8 || (before & 0xc7) == 0x05 ||
	       (opcode == 0x0f && (before & 0xf0) == 0x80) || (opcode == 0xc7 && before == 0xf8);
}

/* All places where four bytes are the distance from behind them to a target, or one byte is. */
static void look_at_segment(struct search *s, uint64_t start, const uint8_t *code, size_t size)
{
	int32_t rel;

	for (size_t i = 0; i + sizeof(rel) <= size && !s->refused; i++) {
		memcpy(&rel, code + i, sizeof(rel));
		if (is_target(s, start + i + sizeof(rel) + (int64_t)rel) &&
		    may_be_distance(code, i))
			judge_around(s, start + i);
	}
	for (int k = 0; k < s->n_targets; k++) {
		uint64_t target = s->targets[k], from = target - SHORT_JUMP;

		for (uint64_t at = MAX(from, start + 1);
		     at < MIN(target + SHORT_JUMP, start + size) && !s->refused; at++) {
			uint8_t op = code[at - start - 1];
			bool jumps = op == 0xeb || (op & 0xf0) == 0x70 || (op & 0xfc) == 0xe0;

			if (jumps && at + 1 + (int64_t)(int8_t)code[at - start] == target &&
			    image_function_at(s->img, at))
				judge_around(s, at);
		}
	}
}

static void look_at_code(struct search *s)
{
	size_t n = 0;

	s->refused = elf_getphdrnum(s->img->elf, &n);
	for (size_t i = 0; i < n && !s->refused; i++) {
		const uint8_t *code;
		size_t size;
		GElf_Phdr ph;

		if (!gelf_getphdr(s->img->elf, i, &ph) || ph.p_type != PT_LOAD ||
		    !(ph.p_flags & PF_X))
			continue;
		code = image_bytes(s->img, ph.p_vaddr, &size);
		if (code)
			look_at_segment(s, ph.p_vaddr, code, MIN(size, ph.p_filesz));
		else
			s->refused = true;
	}
}

/* --- one image --- */

static void find_targets(struct search *s)
{
	GHashTableIter iter;
	void *link, *name;

	if (s->img == s->of->img)
		s->targets[s->n_targets++] = s->of->link;
	g_hash_table_iter_init(&iter, s->img->plt);
	while (g_hash_table_iter_next(&iter, &link, &name))
		if (!strcmp(name, s->of->name) && s->n_targets < (int)G_N_ELEMENTS(s->targets))
			s->targets[s->n_targets++] = *(uint64_t *)link;
}

static void look_at_image(const struct image *img, struct site_callers *of, csh fast, csh cs)
{
	struct search s = { .img = img, .of = of, .fast = fast, .cs = cs };
	GElf_Ehdr header;

	/* One that is not position-independent has addresses that no relocation tells of. */
	if (!gelf_getehdr(img->elf, &header) || header.e_type != ET_DYN)
		s.refused = true;
	else
		look_at_relocations(&s);
	find_targets(&s);
	if (!s.refused && s.n_targets)
		look_at_code(&s);
	if (!s.refused)
		return;
	if (s.refused)
		of->refused = img;
}

void site_find_callers(struct images *images, struct site_callers **wanted, size_t n)
{
	csh cs = code_decoder(), fast = 0;
	bool can = cs && cs_open(CS_ARCH_X86, CS_MODE_64, &fast) == CS_ERR_OK;
	const char **names = g_new0(const char *, n + 1);

	for (size_t i = 0; i < n; i++)
		names[i] = wanted[i]->name;
	images_open_importers(images, names);
	for (size_t i = 0; i < n; i++) {
		struct site_callers *of = wanted[i];
		const struct image *img;

		of->sites = of->sites ?: g_array_new(FALSE, FALSE, sizeof(struct site));
		if (!can)
			of->refused = of->img;
		while (!of->refused && (img = images_nth(images, of->looked))) {
			look_at_image(img, of, fast, cs);
			of->looked++;
		}
	}
	g_free(names);
	cs_close(&fast);
	cs_close(&cs);
}
