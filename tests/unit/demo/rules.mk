# Unit tests of the demo loop, one program per file.
UNIT_DEMO_SRC := $(wildcard tests/unit/demo/test-*.c)
UNIT_DEMO_BIN := $(UNIT_DEMO_SRC:%.c=$(BUILD)/%)

$(BUILD)/tests/unit/demo/%: tests/unit/demo/%.c $(BUILD)/libdemoloop.a
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEMO_CFLAGS) -MMD -MP $< $(BUILD)/libdemoloop.a -o $@ \
		$(ALL_LDFLAGS) $$(pkg-config --libs $(DEMO_PKGS)) -lpthread

# Each says "# Start of ..." and "ok" lines as GLib prints them; the first failure ends it.
.PHONY: check-unit-demo
check-unit-demo: $(UNIT_DEMO_BIN) $(BUILD)/demo-qemu-loop ## unit tests of the demo loop
	$(Q)for t in $(UNIT_DEMO_BIN); do \
		DEMO_QEMU_LOOP=$(BUILD)/demo-qemu-loop $$t --tap -q || exit 1; \
	done

-include $(UNIT_DEMO_BIN:=.d)
