# trace/: what is generated from the table of events, and the library that writes and reads
# recordings.  $(TRACE_GEN) has to exist before anything that includes "trace/..." is compiled.
TRACE_GEN := $(addprefix $(BUILD)/trace/,loop_events.h loop_events.tsdl loop_table.c \
	loop_probes.h loop_probes.c loop_probes.notes probes.md probes.roff)
TRACE_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard trace/*.c) trace/loop_table.c)
# For the program that is traced; the library does not need it.
PROBES_OBJ := $(BUILD)/obj/trace/loop_probes.o

$(TRACE_GEN) &: trace/gen-probes.py trace/loop.probes $(wildcard trace/probegen/*.py trace/probegen/*.in)
	$(call say,GEN,$(BUILD)/trace)
	$(Q)$(PYTHON) -B trace/gen-probes.py trace/loop.probes --out $(BUILD)/trace

$(BUILD)/obj/trace/%.o: trace/%.c | $(TRACE_GEN)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/trace/%.o: $(BUILD)/trace/%.c $(TRACE_GEN)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libtrace.a: $(TRACE_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

-include $(TRACE_OBJ:.o=.d) $(PROBES_OBJ:.o=.d)
