/* SPDX-License-Identifier: MIT */
/*
 * Functions whose every byte is known: for the choice of sites (site_*) and for what code_walk()
 * says of values (walk_*). SAMPLE makes a function that an FDE proves. Labels with a trailing
 * _at are the instructions that the tests name; all symbols are local to the program.
 */
	.text

.macro SAMPLE name
	.p2align 4
	.globl \name
	.hidden \name
	.type \name, @function
\name:
	.cfi_startproc
.endm

.macro END name
	.cfi_endproc
	.size \name, . - \name
.endm

.macro AT name
	.globl \name
	.hidden \name
\name:
.endm

/* --- sites -------------------------------------------------------------------------------- */

SAMPLE site_push
	push %rbp
	mov %rsp, %rbp
	pop %rbp
	ret
END site_push

SAMPLE site_push_r12
	mov %rsp, %rax
	push %r12
	pop %r12
	ret
END site_push_r12

/* As libc's poll() begins: a test of a global, and a branch on it. */
SAMPLE site_poll
	cmpb $0, sample_global(%rip)
AT site_poll_at
	je 1f
	mov $1, %eax
	ret
1:	mov $2, %eax
	ret
END site_poll

SAMPLE site_endbr
	endbr64
AT site_endbr_at
	push %rbx
	pop %rbx
	ret
END site_endbr

/* The 5-byte nop is left alone; what follows is as good. */
SAMPLE site_nop5
	.byte 0x0f, 0x1f, 0x44, 0x00, 0x00
AT site_nop5_at
	push %rbx
	pop %rbx
	ret
END site_nop5

SAMPLE site_nop1
	nop
	ret
END site_nop1

/* A push with a size prefix is single-stepped by the kernel. */
SAMPLE site_push16
	pushw %ax
	popw %ax
	ret
END site_push16

SAMPLE site_ret
	ret
END site_ret

SAMPLE site_jmp
	jmp site_ret
END site_jmp

/* The first instruction is where a loop begins: it runs more than once a call. */
SAMPLE site_loop_start
1:	dec %edi
	jne 1b
	ret
END site_loop_start

/* Only the first instruction runs exactly once; the branch, though emulated, runs in each round. */
SAMPLE site_loop_early
	xor %eax, %eax
1:	inc %eax
	cmp %edi, %eax
	jne 1b
	ret
END site_loop_early

/* The second instruction changes the first argument: a probe after that would see another. */
SAMPLE site_overwrites
	xor %eax, %eax
	mov %rsi, %rdi
	push %rbx
	pop %rbx
	ret
END site_overwrites

/* The same by a part of the register. */
SAMPLE site_overwrites_byte
	mov $5, %dil
	push %rbx
	pop %rbx
	ret
END site_overwrites_byte

SAMPLE site_overwrites_word
	mov $5, %si
	push %rbx
	pop %rbx
	ret
END site_overwrites_word

SAMPLE site_overwrites_high
	mov $5, %dh
	push %rbx
	pop %rbx
	ret
END site_overwrites_high

/* The fourth argument is changed: for a probe that wants three the push is fine. */
SAMPLE site_fourth
	mov $5, %ecx
AT site_fourth_at
	push %rbx
	pop %rbx
	ret
END site_fourth

/* What a probe needs may lie behind a call that this function makes. */
SAMPLE site_call
	mov %rsp, %rax
	call site_ret
	push %rbx
	pop %rbx
	ret
END site_call

/* Behind the second instruction nobody knows where the return address lies. */
SAMPLE site_aligned
	mov %rsp, %rax
	and $-16, %rsp
	push %rbx
	pop %rbx
	mov %rax, %rsp
	ret
END site_aligned

/* Where calls come back to: resume_NAME_from is the return address, resume_NAME_at the site. */
SAMPLE resume_calls
	call site_ret
AT resume_test_from
	test %eax, %eax
AT resume_test_at
	je 1f
	call site_ret
AT resume_value_from
	mov $1, %eax
	jmp 1f
	call site_ret
AT resume_joined_from
	mov $2, %ecx
1:	mov $3, %ecx
AT resume_joined_at
	push %rcx
	call site_ret
AT resume_stack_from
	pop %rcx
	jmp 2f
2:	call *sample_global(%rip)
AT resume_indirect_from
	call site_ret
AT resume_last_from
	ret
END resume_calls

/* Each round makes the call, also those that come from elsewhere. */
SAMPLE resume_loop
	jmp 2f
1:	call site_ret
AT resume_loop_from
	inc %ecx
2:	cmp %ecx, %edi
AT resume_loop_at
	jne 1b
	ret
END resume_loop

/* Most rounds of the loop do not make the call. */
SAMPLE resume_rare
1:	test %esi, %esi
	je 2f
	call site_ret
AT resume_rare_from
	inc %ecx
2:	cmp %ecx, %edi
	jne 1b
	ret
END resume_rare

/* Where the jump by a table goes nobody knows: back, perhaps. */
SAMPLE resume_switch
	test %esi, %esi
	je 1f
	call site_ret
AT resume_switch_from
	inc %ecx
1:	cmp %ecx, %edi
	jne 2f
	ret
2:	jmp *%rdx
END resume_switch

/* Stack before the site: two words and a frame. */
SAMPLE site_stack
	mov %rdi, %rax
	sub $24, %rsp
	mov %rax, (%rsp)
AT site_stack_at
	push %rbx
	pop %rbx
	add $24, %rsp
	ret
END site_stack

/* A function that no FDE describes. */
	.p2align 4
	.globl site_no_fde
	.hidden site_no_fde
	.type site_no_fde, @function
site_no_fde:
	push %rbp
	pop %rbp
	ret
	.size site_no_fde, . - site_no_fde

/* --- callers --------------------------------------------------------------------------------
 * Functions whose address the tests must not take: callers_NAME_near lies 16 bytes before each.
 */
.macro CALLED name
	.p2align 4
AT \name\()_near
	.skip 16, 0x90
SAMPLE \name
	lock incl (%rdi)
	ret
END \name
.endm

.macro BRANCH opcode, target
	.byte \opcode
	.long \target - . - 4
.endm

CALLED callers_few

SAMPLE callers_of_few
	push %rbx
AT callers_few_call
	BRANCH 0xe8, callers_few
	/* Not a call: the same bytes in the middle of an instruction. */
	.byte 0x48, 0xb8, 0xe8
	.long callers_few - . - 4
	.byte 0, 0, 0
	pop %rbx
AT callers_few_jump
	BRANCH 0xe9, callers_few
END callers_of_few

CALLED callers_none

/* Whoever has the address may call it. */
CALLED callers_taken

SAMPLE callers_of_taken
	BRANCH 0xe8, callers_taken
	lea callers_taken(%rip), %rax
	ret
END callers_of_taken

CALLED callers_in_data

SAMPLE callers_of_in_data
	BRANCH 0xe8, callers_in_data
	ret
END callers_of_in_data

/* Taken or not: a probe on the jump cannot tell. */
CALLED callers_conditional

SAMPLE callers_of_conditional
	test %edi, %edi
	.byte 0x0f
	BRANCH 0x84, callers_conditional
	ret
END callers_of_conditional

/* From nearby, in two bytes. */
CALLED callers_short

SAMPLE callers_of_short
	.byte 0xeb, callers_short - . - 1
END callers_of_short

/* What no FDE proves may be code. */
CALLED callers_unproven

	BRANCH 0xe8, callers_unproven
	ret

/* --- values ------------------------------------------------------------------------------- */

SAMPLE walk_getter
	mov sample_global(%rip), %rax
	ret
END walk_getter

/* Built with -fcf-protection, as Debian builds from 13 on. */
SAMPLE walk_getter_endbr
	endbr64
	mov 0x40(%rdi), %rax
	ret
END walk_getter_endbr

/* No getter: what it loads is not the first that it does. */
SAMPLE walk_no_getter
	endbr64
	push %rbx
	mov sample_global(%rip), %rax
	pop %rbx
	ret
END walk_no_getter

SAMPLE walk_exchange
	xor %eax, %eax
	xchg %rax, 0xa8(%rdi)
	ret
END walk_exchange

SAMPLE walk_lea_add
	lea 8(%rdi), %rax
	add $24, %rax
	sub $8, %rax
	movl $7, (%rax)
	ret
END walk_lea_add

SAMPLE walk_field
	mov 0x90(%rdi), %rax
	cmpq $0, 0x68(%rax)
	ret
END walk_field

SAMPLE walk_calls
	push %rbx
	mov %rdi, %rbx
	lea 0xc4(%rdi), %rdi
	call getpid@PLT
	movb $1, (%rdi)
	movb $2, 3(%rbx)
	pop %rbx
	jmp site_ret
END walk_calls

/* Called, and the address taken: the linker makes an entry of 8 bytes in .plt.got. */
SAMPLE walk_plt_got
	push %rbx
	mov getppid@GOTPCREL(%rip), %rax
	mov getuid@GOTPCREL(%rip), %rax
	mov geteuid@GOTPCREL(%rip), %rax
	call getppid@PLT
	call getuid@PLT
	pop %rbx
	jmp geteuid@PLT
END walk_plt_got

SAMPLE walk_constants
	mov $0x123, %esi
	xor %edx, %edx
	lea sample_global(%rip), %rdi
	call getpid@PLT
	ret
END walk_constants

/* Two ways that disagree about rdi, and agree about rbx. */
SAMPLE walk_merge
	mov %rdi, %rbx
	test %esi, %esi
	je 1f
	mov %rdx, %rdi
1:	movb $1, (%rdi)
	movb $2, 5(%rbx)
	ret
END walk_merge

/* Nothing that was followed leads behind the jump. */
SAMPLE walk_unreached
	jmp 1f
	movb $1, (%rdi)
1:	movb $2, 6(%rdi)
	ret
END walk_unreached

/* Half of a pointer is not that pointer. */
SAMPLE walk_truncated
	mov %edi, %eax
	movb $1, (%rax)
	ret
END walk_truncated

SAMPLE walk_truncated_lea
	lea 4(%rdi), %eax
	movb $1, (%rax)
	ret
END walk_truncated_lea

SAMPLE walk_truncated_add
	add $4, %edi
	movb $1, (%rdi)
	ret
END walk_truncated_add

SAMPLE walk_byte_changed
	mov %rdi, %rax
	mov $5, %al
	movb $1, (%rax)
	ret
END walk_byte_changed

SAMPLE walk_high_byte_changed
	mov %rdi, %rax
	mov $5, %ah
	movb $1, (%rax)
	ret
END walk_high_byte_changed

SAMPLE walk_indexed
	movb $1, (%rdi,%rsi,8)
	movb $1, %fs:0x10
	ret
END walk_indexed

SAMPLE walk_string
	mov %rdi, %rax
	rep movsb
	movb $1, (%rdi)
	movb $2, 4(%rax)
	ret
END walk_string

	.section .data
	.p2align 3
	.quad callers_in_data
	.globl sample_global
	.hidden sample_global
	.type sample_global, @object
sample_global:
	.quad 0x1122334455667788
	.size sample_global, 8

	.section .note.GNU-stack, "", @progbits
