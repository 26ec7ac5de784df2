// SPDX-License-Identifier: MIT
/*
 * The functions of an image, as its .eh_frame proves them: one FDE is one contiguous piece of code
 * with a first and a last byte. elfutils takes the section apart; only the two encoded addresses of
 * each FDE are decoded here.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <string.h>

#include "tracer/image.h"

/* How a CIE says its FDEs write addresses: the 'R' of its augmentation; absolute without one. */
static uint8_t fde_encoding(const Dwarf_CIE *cie)
{
	const uint8_t *data = cie->augmentation_data;
	const uint8_t *end = data + cie->augmentation_data_size;

	if (cie->augmentation[0] != 'z')
		return DW_EH_PE_absptr;
	for (const char *p = cie->augmentation + 1; *p; p++) {
		if (data >= end && *p != 'S' && *p != 'B')
			return DW_EH_PE_omit;
		switch (*p) {
		case 'R':
			return *data;
		case 'L':
			data++;
			break;
		case 'P':
			/* The personality's pointer: its own encoding byte, then that many bytes.
			 */
			switch (*data++ & 0x07) {
			case DW_EH_PE_absptr:
			case DW_EH_PE_udata8:
				data += 8;
				break;
			case DW_EH_PE_udata4:
				data += 4;
				break;
			case DW_EH_PE_udata2:
				data += 2;
				break;
			default:
				return DW_EH_PE_omit;
			}
			break;
		case 'S':
		case 'B':
			break;
		default:
			return DW_EH_PE_omit;
		}
	}
	return DW_EH_PE_absptr;
}

/* Read one address of @encoding's width and sign at @*p, before @end. */
static bool read_encoded(uint8_t encoding, const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
	union {
		uint32_t u4;
		int32_t s4;
		uint64_t u8;
	} v;
	size_t size = (encoding & 0x07) == (DW_EH_PE_udata4 & 0x07) ? 4 : 8;

	if ((encoding & 0x07) == DW_EH_PE_udata2 || end - *p < (ptrdiff_t)size)
		return false;
	memcpy(&v, *p, size);
	*p += size;
	if (size == 8)
		*ret = v.u8;
	else
		*ret = encoding & DW_EH_PE_signed ? (uint64_t)(int64_t)v.s4 : v.u4;
	return true;
}

static int by_start(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static Elf_Data *section_data(Elf *elf, const char *name, uint64_t *ret_addr)
{
	Elf_Scn *scn = NULL;
	size_t strings;

	if (elf_getshdrstrndx(elf, &strings))
		return NULL;
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh;
		const char *scn_name;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type == SHT_NOBITS)
			continue;
		scn_name = elf_strptr(elf, strings, sh.sh_name);
		if (scn_name && !strcmp(scn_name, name)) {
			*ret_addr = sh.sh_addr;
			return elf_rawdata(scn, NULL);
		}
	}
	return NULL;
}

void image_load_functions(struct image *img)
{
	uint64_t section = 0;
	Elf_Data *data = section_data(img->elf, ".eh_frame", &section);
	const uint8_t *ident = (const uint8_t *)elf_getident(img->elf, NULL);
	Dwarf_Off offset = 0, next;
	Dwarf_Off cie_offset = (Dwarf_Off)-1;
	uint8_t encoding = DW_EH_PE_omit;
	Dwarf_CFI_Entry entry;

	while (data && !dwarf_next_cfi(ident, data, true, offset, &next, &entry)) {
		struct function fn;
		const uint8_t *p = entry.fde.start;
		uint64_t at, length;

		if (next <= offset)
			break;
		if (!dwarf_cfi_cie_p(&entry) && entry.fde.CIE_pointer != cie_offset) {
			Dwarf_CFI_Entry cie;
			Dwarf_Off unused;

			cie_offset = entry.fde.CIE_pointer;
			encoding = DW_EH_PE_omit;
			if (!dwarf_next_cfi(ident, data, true, cie_offset, &unused, &cie) &&
			    dwarf_cfi_cie_p(&cie))
				encoding = fde_encoding(&cie.cie);
		}
		offset = next;
		if (dwarf_cfi_cie_p(&entry) || encoding == DW_EH_PE_omit)
			continue;
		at = section + (uint64_t)(p - (const uint8_t *)data->d_buf);
		if (!read_encoded(encoding, &p, entry.fde.end, &fn.start) ||
		    !read_encoded(encoding & 0x07, &p, entry.fde.end, &length))
			continue;
		if ((encoding & 0x70) == DW_EH_PE_pcrel)
			fn.start += at;
		else if ((encoding & 0x70) != DW_EH_PE_absptr)
			continue;
		fn.end = fn.start + length;
		if (fn.end <= fn.start)
			continue;
		g_array_append_val(img->functions, fn);
	}
	g_array_sort(img->functions, by_start);
}
