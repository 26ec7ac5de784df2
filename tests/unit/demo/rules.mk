# Unit tests of the demo loop, one program per file.
UNIT_DEMO_SRC := $(wildcard tests/unit/demo/test-*.c)
UNIT_DEMO_BIN := $(UNIT_DEMO_SRC:%.c=$(BUILD)/%)

$(BUILD)/tests/unit/demo/%: tests/unit/demo/%.c $(BUILD)/libdemoloop.a
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEMO_CFLAGS) -MMD -MP $< $(BUILD)/libdemoloop.a -o $@ \
		$(ALL_LDFLAGS) $$(pkg-config --libs $(DEMO_PKGS)) -lpthread

# A program that fails shows all it said.
.PHONY: check-unit-demo
check-unit-demo: $(UNIT_DEMO_BIN) $(BUILD)/demo-qemu-loop ## unit tests of the demo loop
	$(Q)for t in $(UNIT_DEMO_BIN); do \
		out=$$(DEMO_QEMU_LOOP=$(BUILD)/demo-qemu-loop $$t --tap 2>&1) || \
			{ echo "$$out"; echo "FAILED: $$t"; exit 1; }; \
		printf '  %-8s %s: %d ok\n' CHECK $$t $$(echo "$$out" | grep -c '^ok'); \
	done

-include $(UNIT_DEMO_BIN:=.d)
